// Package conversation plays scripts of JSON-RPC against a server, line by line:
//
//	// a comment
//	--> {"jsonrpc":"2.0","id":1,"method":"shh_newSymKey","params":[]}
//	<-- {"jsonrpc":"2.0","id":1,"result":"$key"}
//	<== "$push"
//
// --> is sent, and <-- is the exact answer, or a notification, which has a method. A string "$name" in what is received
// is remembered, or must equal what was remembered under that name; in what is sent it stands for that value. "$_"
// matches any value. <== is something that arrives by another way than the connection, such as a push service.
package conversation

import (
	"encoding/json"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Player plays scripts. The zero value needs only a connection.
type Player struct {
	Known   map[string]any // values of names that are known from the start, including their dollar sign
	Settle  func()         // called before a line is sent; may be nil
	Deliver func() any     // what arrives by <==, as JSON values; may be nil if no script needs it
}

var variable = regexp.MustCompile(`"\$[a-zA-Z0-9]+"`)

// Play plays a script over a connection that carries whole JSON values.
func (p *Player) Play(t *testing.T, conn io.ReadWriter, script string) {
	t.Helper()
	known := map[string]any{}
	for name, value := range p.Known {
		known[name] = value
	}
	answers := json.NewDecoder(conn)
	var waiting []map[string]any
	// receive returns the next notification, or the next answer: either may overtake the other.
	receive := func(line int, notification bool) map[string]any {
		for i := 0; ; i++ {
			if i == len(waiting) {
				var got map[string]any
				require.NoError(t, answers.Decode(&got), "line %d: nothing comes; there is %v", line, waiting)
				waiting = append(waiting, got)
			}
			if got := waiting[i]; (got["method"] != nil) == notification {
				waiting = slices.Delete(waiting, i, i+1)
				return got
			}
		}
	}
	for n, line := range strings.Split(script, "\n") {
		switch {
		case line == "" || strings.HasPrefix(line, "//"):
		case strings.HasPrefix(line, "--> "):
			if p.Settle != nil {
				p.Settle()
			}
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
			got := receive(n+1, want["method"] != nil)
			require.Equal(t, resolve(want, got, known), any(got), "line %d", n+1)
		case strings.HasPrefix(line, "<== "):
			var want any
			require.NoError(t, json.Unmarshal([]byte(line[4:]), &want), "line %d", n+1)
			got := p.Deliver()
			require.Equal(t, resolve(want, got, known), got, "line %d", n+1)
		default:
			t.Fatalf("line %d is neither a comment, nor sent, nor received", n+1)
		}
	}
}

// resolve puts the values of variables into want, and learns from got those that it does not know.
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
