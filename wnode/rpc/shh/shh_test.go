package shh

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/rpc"
	"github.com/stretchr/testify/require"

	"whisperpush/testutil/conversation"
	"whisperpush/whisper"
)

// Each file of testdata is a conversation, as package conversation plays them, with a node that stands alone, at midnight
// of 1 January 2000.
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
	api, stop := New(node, nil)
	t.Cleanup(stop)
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
	player := conversation.Player{Settle: synctest.Wait} // what the last request set off is done
	player.Play(t, conn, script)
}

// The 24 methods of geth, by name, and none that would let a caller end what others wait for.
func TestEveryMethodIsServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, conn := start(t)
		answers := json.NewDecoder(conn)
		for _, method := range strings.Fields(`close version info setMaxMessageSize setMinPoW setBloomFilter markTrustedPeer
			newKeyPair addPrivateKey deleteKeyPair hasKeyPair getPublicKey getPrivateKey newSymKey addSymKey
			generateSymKeyFromPassword hasSymKey getSymKey deleteSymKey makeLightClient cancelLightClient post
			getFilterMessages deleteMessageFilter newMessageFilter`) {
			_, err := conn.Write([]byte(`{"jsonrpc":"2.0","id":1,"method":"shh_` + method + `","params":[]}` + "\n"))
			require.NoError(t, err)
			var answer struct{ Error struct{ Code int } }
			require.NoError(t, answers.Decode(&answer))
			require.Equal(t, method != "close", answer.Error.Code != -32601, method)
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
		api.close()
		_, err = api.GetFilterMessages(t.Context(), id)
		require.ErrorIs(t, err, errNoSuchFilter)
		_, err = api.NewMessageFilter(t.Context(), criteria)
		require.ErrorIs(t, err, errClosed)
		api.close()
	})
}
