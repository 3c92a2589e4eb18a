package shh

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/rpc"
	"github.com/stretchr/testify/require"

	"whisperpush/whisper"
)

// Each file of testdata is a conversation with a node that stands alone, at midnight of 1 January 2000: --> is
// sent, <-- is the exact answer. "$name" in an answer is a value to remember, or, if it is remembered already, to
// be equal to; "$_" is any value.
func TestConversations(t *testing.T) {
	files, err := filepath.Glob("testdata/*.js")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".js"), func(t *testing.T) {
			script, err := os.ReadFile(file)
			require.NoError(t, err)
			synctest.Test(t, func(t *testing.T) { converse(t, string(script)) })
		})
	}
}

// start serves an API over a pipe.
func start(t *testing.T) (*API, net.Conn) {
	node, err := whisper.NewNode(whisper.Config{MinPoW: whisper.DefaultMinPoW})
	require.NoError(t, err)
	require.NoError(t, node.Start())
	t.Cleanup(node.Stop)
	api := New(node, nil)
	t.Cleanup(api.Close)
	srv := rpc.NewServer()
	require.NoError(t, srv.RegisterName(Namespace, api))
	t.Cleanup(srv.Stop)
	ours, theirs := net.Pipe()
	go srv.ServeCodec(rpc.NewCodec(theirs), 0)
	t.Cleanup(func() { ours.Close() })
	return api, ours
}

func converse(t *testing.T, script string) {
	_, conn := start(t)
	answers := json.NewDecoder(conn)
	known := map[string]any{}
	var waiting []map[string]any
	// receive returns the next notification, or the next answer: one may overtake the other.
	receive := func(notification bool) map[string]any {
		for i := 0; ; i++ {
			if i == len(waiting) {
				var got map[string]any
				require.NoError(t, answers.Decode(&got))
				waiting = append(waiting, got)
			}
			if got := waiting[i]; (got["method"] != nil) == notification {
				waiting = slices.Delete(waiting, i, i+1)
				return got
			}
		}
	}
	variable := regexp.MustCompile(`"\$[a-zA-Z]+"`)
	for n, line := range strings.Split(script, "\n") {
		switch {
		case line == "" || strings.HasPrefix(line, "//"):
		case strings.HasPrefix(line, "--> "):
			synctest.Wait() // what the last request set off is done
			request := variable.ReplaceAllStringFunc(line[4:], func(name string) string {
				value, ok := known[strings.Trim(name, `"`)]
				require.True(t, ok, "line %d: %s is not known yet", n+1, name)
				text, err := json.Marshal(value)
				require.NoError(t, err)
				return string(text)
			})
			_, err := conn.Write([]byte(request + "\n"))
			require.NoError(t, err)
		case strings.HasPrefix(line, "<-- "):
			var want map[string]any
			require.NoError(t, json.Unmarshal([]byte(line[4:]), &want), "line %d", n+1)
			got := receive(want["method"] != nil)
			require.Equal(t, resolve(want, got, known), any(got), "line %d", n+1)
		default:
			t.Fatalf("line %d is neither a comment, nor sent, nor received", n+1)
		}
	}
}

// resolve puts the values of variables into want, learning from got those it does not know.
func resolve(want, got any, known map[string]any) any {
	switch want := want.(type) {
	case string:
		if !strings.HasPrefix(want, "$") {
			return want
		}
		if value, ok := known[want]; ok && want != "$_" {
			return value
		}
		known[want] = got
		return got
	case []any:
		got, _ := got.([]any)
		for i := range want {
			if i < len(got) {
				want[i] = resolve(want[i], got[i], known)
			}
		}
	case map[string]any:
		got, _ := got.(map[string]any)
		for key := range want {
			if value, ok := got[key]; ok {
				want[key] = resolve(want[key], value, known)
			}
		}
	}
	return want
}

// The 24 methods of geth, by name.
func TestEveryMethodIsServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, conn := start(t)
		answers := json.NewDecoder(conn)
		for _, method := range strings.Fields(`version info setMaxMessageSize setMinPoW setBloomFilter markTrustedPeer
			newKeyPair addPrivateKey deleteKeyPair hasKeyPair getPublicKey getPrivateKey newSymKey addSymKey
			generateSymKeyFromPassword hasSymKey getSymKey deleteSymKey makeLightClient cancelLightClient post
			getFilterMessages deleteMessageFilter newMessageFilter`) {
			_, err := conn.Write([]byte(`{"jsonrpc":"2.0","id":1,"method":"shh_` + method + `","params":[]}` + "\n"))
			require.NoError(t, err)
			var answer struct{ Error struct{ Code int } }
			require.NoError(t, answers.Decode(&answer))
			require.NotEqual(t, -32601, answer.Error.Code, "%s does not exist", method)
		}
	})
}

func TestIdleFilterIsRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, _ := start(t)
		key, err := api.NewSymKey(t.Context())
		require.NoError(t, err)
		criteria := Criteria{SymKeyID: key, Topics: []whisper.Topic{{1}}}
		id, err := api.NewMessageFilter(t.Context(), criteria)
		require.NoError(t, err)

		time.Sleep(filterIdle - time.Second)
		_, err = api.GetFilterMessages(t.Context(), id)
		require.NoError(t, err)
		time.Sleep(filterIdle - time.Second)
		_, err = api.GetFilterMessages(t.Context(), id)
		require.NoError(t, err, "a polled filter lives on")
		time.Sleep(filterIdle + time.Second)
		_, err = api.GetFilterMessages(t.Context(), id)
		require.ErrorIs(t, err, errNoSuchFilter)
	})
}

func TestFiltersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, _ := start(t)
		key, err := api.NewSymKey(t.Context())
		require.NoError(t, err)
		criteria := Criteria{SymKeyID: key, Topics: []whisper.Topic{{1}}}
		for range maxFilters {
			_, err := api.NewMessageFilter(t.Context(), criteria)
			require.NoError(t, err)
		}
		_, err = api.NewMessageFilter(t.Context(), criteria)
		require.ErrorIs(t, err, errTooManyFilters)
	})
}

func TestCloseEndsFilters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, _ := start(t)
		key, err := api.NewSymKey(t.Context())
		require.NoError(t, err)
		criteria := Criteria{SymKeyID: key, Topics: []whisper.Topic{{1}}}
		id, err := api.NewMessageFilter(t.Context(), criteria)
		require.NoError(t, err)
		api.Close()
		_, err = api.GetFilterMessages(t.Context(), id)
		require.ErrorIs(t, err, errNoSuchFilter)
		_, err = api.NewMessageFilter(t.Context(), criteria)
		require.ErrorIs(t, err, errClosed)
		api.Close()
	})
}
