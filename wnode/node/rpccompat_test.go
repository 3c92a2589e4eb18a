package node

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/stretchr/testify/require"

	"whisperpush/testutil/genuinenode"
	"whisperpush/testutil/loopback"
)

// ourWords are the calls of the genuine client at whose errors only the text is ours: geth's would show how it is made.
func ourWords() map[string]bool {
	return map[string]bool{
		"shh_setMinPoW": true, "shh_setMaxMessageSize": true, "shh_setBloomFilter": true, "mark trusted peer": true,
		"post, wrong peer": true, "delete it again": true,
	}
}

// The genuine client of go-ethereum v1.9.20 gets from our JSON-RPC what it gets from a genuine node, call by call,
// over each transport.
func TestGenuineClient(t *testing.T) {
	t.Parallel()
	command, err := genuinenode.BuildSHHClient(t.Context())
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	call := func(args ...string) []string {
		out, err := exec.CommandContext(ctx, command, args...).Output()
		require.NoError(t, err)
		var lines []string
		for line := range strings.Lines(string(out)) {
			name, answer, _ := strings.Cut(strings.TrimSpace(line), ": ")
			if ourWords()[name] && strings.HasPrefix(answer, "error: ") {
				answer = "error"
			}
			lines = append(lines, name+": "+answer)
		}
		return lines
	}
	want := call()
	require.Greater(t, len(want), 60, "it made its calls")

	cfg := loopback.Config(t)
	cfg.RPC.WS.Enabled = true
	for transport, url := range map[string]func(*Node) string{
		"ipc": func(s *Node) string { return s.ipc },
		"ws":  func(s *Node) string { return s.http[0].URL() },
	} {
		t.Run(transport, func(t *testing.T) {
			s := run(t, cfg) // each its own, for settings are changed
			require.Equal(t, want, call(url(s)))
			s.Stop()
		})
	}
}

// The namespaces beside shh that programs made for geth use.
func TestNodeCalls(t *testing.T) {
	t.Parallel()
	other := run(t, loopback.Config(t))
	s := run(t, loopback.Config(t))
	client, err := rpc.DialContext(t.Context(), s.ipc)
	require.NoError(t, err)
	defer client.Close()
	call := func(result any, method string, args ...any) {
		t.Helper()
		require.NoError(t, client.CallContext(t.Context(), result, method, args...))
	}
	var text string
	var yes bool
	call(&text, "net_version")
	require.Equal(t, "1", text)
	call(&yes, "net_listening")
	require.True(t, yes)
	call(&text, "net_peerCount")
	require.Equal(t, "0x0", text)
	call(&text, "web3_sha3", "0x")
	require.Equal(t, "0xc5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470", text)

	url := other.link.Self().URLv4()
	call(&yes, "admin_addPeer", url)
	require.True(t, yes)
	require.NoError(t, s.whisper.WaitPeer(t.Context(), other.link.Self().ID()))
	var peers []*p2p.PeerInfo
	call(&peers, "admin_peers")
	require.Len(t, peers, 1)
	require.Equal(t, other.link.Self().ID().String(), peers[0].ID)
	require.Contains(t, peers[0].Protocols, "shh")
	call(&text, "net_peerCount")
	require.Equal(t, "0x1", text)
	call(&yes, "admin_removePeer", url)
	require.NoError(t, s.whisper.WaitGone(t.Context(), other.link.Self().ID()))
	require.ErrorContains(t, client.CallContext(t.Context(), &yes, "admin_addPeer", "x"), "give an enode URL")
}
