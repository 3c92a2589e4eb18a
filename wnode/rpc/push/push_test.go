package push_test

import (
	"encoding/json"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	geth "github.com/ethereum/go-ethereum/rpc"
	"github.com/stretchr/testify/require"

	"whisperpush/config"
	"whisperpush/pushext/client"
	"whisperpush/testutil/conversation"
	"whisperpush/testutil/pushnode"
	"whisperpush/whisper"
	"whisperpush/wnode/node"
	"whisperpush/wnode/rpc"
	"whisperpush/wnode/rpc/push"
)

func TestMain(m *testing.M) { pushnode.Main(m) }

// socket starts a node whose JSON-RPC socket is at the path.
func socket(t *testing.T) (n *pushnode.Node, path string) {
	t.Helper()
	n = pushnode.Start(t, func(c *config.Config) {
		c.RPC.IPCDisable, c.Push.Announce = false, true
		path = rpc.SocketPath(*c)
	})
	return n, path
}

func dial(t *testing.T, path string) net.Conn {
	t.Helper()
	conn, err := net.Dial("unix", path)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	return conn
}

// Each file of testdata is a conversation, as package conversation plays them, with a node of its own over its socket.
func TestConversations(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.js")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".js"), func(t *testing.T) {
			t.Parallel()
			script, err := os.ReadFile(file)
			require.NoError(t, err)
			n, path := socket(t)
			conn := dial(t, path)
			token := n.FCM.NewToken()
			if strings.Contains(string(script), "push_offers") {
				untilOffered(t, conn)
			}
			player := conversation.Player{
				Known: map[string]any{"$server": n.Enode(), "$pushKey": n.Key(), "$token": token},
				Deliver: func() any {
					data := map[string]any{}
					for name, value := range n.Push(t, token) {
						data[name] = value
					}
					return data
				},
			}
			player.Play(t, conn, string(script))
		})
	}
}

// untilOffered waits until the node has heard its own announcement.
func untilOffered(t *testing.T, conn net.Conn) {
	t.Helper()
	answers := json.NewDecoder(conn)
	require.Eventually(t, func() bool {
		_, err := conn.Write([]byte(`{"jsonrpc":"2.0","id":0,"method":"push_offers","params":[]}` + "\n"))
		require.NoError(t, err)
		var answer struct{ Result []any }
		require.NoError(t, answers.Decode(&answer))
		return len(answer.Result) > 0
	}, 30*time.Second, 50*time.Millisecond)
}

// call makes a call that succeeds.
func call[R any](t *testing.T, c *geth.Client, method string, args ...any) (result R) {
	t.Helper()
	require.NoError(t, c.CallContext(t.Context(), &result, method, args...), method)
	return result
}

// A device outlives the node: it is woken again when a program subscribes, for what came meanwhile too.
func TestDeviceOutlivesTheNode(t *testing.T) {
	t.Parallel()
	server, _ := socket(t)
	var cfg config.Config
	local := pushnode.Start(t, func(c *config.Config) {
		c.RPC.IPCDisable, c.Push.Enabled, c.Push.Provider, c.Door.Enabled = false, false, nil, false
		cfg = *c
	})
	chat := client.PasswordChat("family", whisper.TopicFor("family"), "kitchen")
	before, err := geth.DialContext(t.Context(), rpc.SocketPath(cfg))
	require.NoError(t, err)
	defer before.Close()
	require.ErrorContains(t, before.CallContext(t.Context(), nil, "push_newDevice", map[string]any{"name": "here"}), "push is off at this node")
	call[bool](t, before, "push_newDevice", map[string]any{"name": "desktop", "server": server.Enode(), "pushKey": server.Key()})
	call[any](t, before, "push_addChannels", "desktop", []any{map[string]any{"name": "family", "topic": chat.Topic, "password": "kitchen"}})
	state := call[push.State](t, before, "push_register", "desktop", map[string]any{"routes": []any{map[string]any{"provider": "direct", "direct": true}}})
	require.True(t, state.Active)
	local.Stop()

	server.Write(t, chat, "while it was away")
	again, err := node.Start(cfg, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(again.Stop)
	after, err := geth.DialContext(t.Context(), rpc.SocketPath(cfg))
	require.NoError(t, err)
	defer after.Close()
	events := make(chan push.Event, 10)
	sub, err := after.Subscribe(t.Context(), push.Namespace, events, "previews", "desktop")
	require.NoError(t, err)
	require.Equal(t, "while it was away", text(t, events))
	server.Write(t, chat, "and now")
	require.Equal(t, "and now", text(t, events))
	require.Len(t, call[push.Event](t, after, "push_history", "desktop").Previews, 2, "it has said of neither that it was shown")

	// Another program ends the device: the subscription brings nothing more.
	require.True(t, call[bool](t, after, "push_deleteDevice", "desktop"))
	sub.Unsubscribe()
	require.ErrorContains(t, after.CallContext(t.Context(), nil, "push_status", "desktop"), "there is no device of this name")
}

// text waits for an event with one preview.
func text(t *testing.T, events <-chan push.Event) string {
	t.Helper()
	select {
	case e := <-events:
		require.Len(t, e.Previews, 1)
		return e.Previews[0].Text
	case <-time.After(30 * time.Second):
		require.FailNow(t, "no event within 30 s")
		return ""
	}
}

func TestSubscriptionsAreBounded(t *testing.T) {
	t.Parallel()
	_, path := socket(t)
	c, err := geth.DialContext(t.Context(), path)
	require.NoError(t, err)
	defer c.Close()
	call[bool](t, c, "push_newDevice", map[string]any{"name": "a"})
	states := make(chan push.State, 1000)
	var subs []*geth.ClientSubscription
	for range 64 {
		sub, err := c.Subscribe(t.Context(), push.Namespace, states, "state", "a")
		require.NoError(t, err)
		subs = append(subs, sub)
	}
	_, err = c.Subscribe(t.Context(), push.Namespace, states, "state", "a")
	require.ErrorContains(t, err, "there are 64 subscriptions already")
	subs[0].Unsubscribe()
	require.Eventually(t, func() bool {
		_, err := c.Subscribe(t.Context(), push.Namespace, states, "state", "a")
		return err == nil
	}, 10*time.Second, 10*time.Millisecond, "its place is free")
}
