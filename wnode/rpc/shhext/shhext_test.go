package shhext_test

import (
	"net"
	"os"
	"testing"
	"time"

	geth "github.com/ethereum/go-ethereum/rpc"
	"github.com/stretchr/testify/require"

	"whisperpush/config"
	"whisperpush/testutil/conversation"
	"whisperpush/testutil/pushnode"
	"whisperpush/wnode/rpc"
	"whisperpush/wnode/rpc/shhext"
)

func TestMain(m *testing.M) { pushnode.Main(m) }

func start(t *testing.T) (n *pushnode.Node, socket string) {
	t.Helper()
	n = pushnode.Start(t, func(c *config.Config) {
		c.RPC.IPCDisable = false
		socket = rpc.SocketPath(*c)
	})
	return n, socket
}

// The conversation is played with a node that is its own mailserver.
func TestConversation(t *testing.T) {
	t.Parallel()
	script, err := os.ReadFile("testdata/request.js")
	require.NoError(t, err)
	n, socket := start(t)
	conn, err := net.Dial("unix", socket)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	player := conversation.Player{Known: map[string]any{"$server": n.Enode()}}
	player.Play(t, conn, string(script))
}

// Requests that are under way, subscriptions and topics are bounded; what is under way ends with the node.
func TestBounds(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, and says nothing
	require.NoError(t, err)
	t.Cleanup(func() { silent.Close() })
	n, socket := start(t)
	c, err := geth.DialContext(t.Context(), socket)
	require.NoError(t, err)
	defer c.Close()
	_, port, err := net.SplitHostPort(silent.Addr().String())
	require.NoError(t, err)
	peer := "enode://" + n.Enode()[len("enode://"):len("enode://")+128] + "@127.0.0.1:" + port
	ask := func() error {
		return c.CallContext(t.Context(), nil, "shhext_requestMessages", map[string]any{"mailServerPeer": peer, "timeout": 300})
	}
	for range 8 {
		require.NoError(t, ask())
	}
	require.ErrorContains(t, ask(), "8 mailservers are being asked already")

	events := make(chan shhext.Event, 1)
	for range 64 {
		_, err := c.Subscribe(t.Context(), shhext.Namespace, events, "events")
		require.NoError(t, err)
	}
	_, err = c.Subscribe(t.Context(), shhext.Namespace, events, "events")
	require.ErrorContains(t, err, "there are 64 subscriptions already")

	many := make([]string, 257)
	for i := range many {
		many[i] = "0x01020304"
	}
	err = c.CallContext(t.Context(), nil, "shhext_requestMessages", map[string]any{"mailServerPeer": peer, "topics": many})
	require.ErrorContains(t, err, "at most 256")
	n.Stop() // which waits for them
}
