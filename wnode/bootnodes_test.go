package wnode

import (
	"bytes"
	"log/slog"
	"net"
	"testing"

	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/stretchr/testify/require"
)

const someNode = "enode://6332792c4a00e3e4ee0926ed89e0d27ef985424d97b6a45bf0f23e51f0dcb5e66b875777506458aea7af6f9e4ffb69f43f3778ee73c81ed9d34c51c4b16b0b0f@"

// One bootnode that cannot help is left out and named; the others stay.
func TestUsableBootnodes(t *testing.T) {
	var out bytes.Buffer
	all := []*enode.Node{
		enode.MustParse(someNode + "127.0.0.1:3"),
		enode.MustParse(someNode + "127.0.0.1:4?discport=0"),
		enode.MustParse(someNode + "nowhere.invalid:5"),
	}
	usable, others := usableBootnodes(t.Context(), all, slog.New(slog.NewTextHandler(&out, nil)))
	require.Equal(t, all[:1], usable)
	require.Equal(t, all[1:], others)
	require.Contains(t, out.String(), "has discport=0: it is a peer and does not help to find others")
	require.Contains(t, out.String(), "cannot be resolved; correct it, or leave the node out")
}

func TestOwnIP(t *testing.T) {
	for addr, want := range map[string]string{"[::1]:3": "::1", "192.0.2.1:3": "192.0.2.1", ":3": "", "[::]:3": "", "0.0.0.0:3": "", "localhost:3": ""} {
		ip, ok := ownIP(addr)
		require.Equal(t, want != "", ok, addr)
		if ok {
			require.True(t, ip.Equal(net.ParseIP(want)), addr)
		}
	}
}
