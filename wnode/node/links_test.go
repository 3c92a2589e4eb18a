package node

import (
	"testing"

	"github.com/ethereum/go-ethereum/p2p"
	"github.com/stretchr/testify/require"
)

// TestLinkLimits: whatever room there is for the moment, the node dials as many as p2p.Server would by itself, and as
// many others may stay.
func TestLinkLimits(t *testing.T) {
	for most := range 2000 {
		plain := p2p.Server{Config: p2p.Config{MaxPeers: most}}
		l := newLinkLimits(most)
		ours := p2p.Server{Config: p2p.Config{MaxPeers: l.peers, DialRatio: l.dialRatio}}
		require.Equal(t, plain.MaxDialedConns(), ours.MaxDialedConns(), "of %d", most)
		require.Equal(t, plain.MaxInboundConns(), l.inbound, "of %d", most)
		if l.inbound > 0 {
			more := ours.MaxInboundConns() - l.inbound
			require.GreaterOrEqual(t, more, min(most, lobby), "of %d", most)
			require.LessOrEqual(t, more, min(most, lobby)+max(most/dialShare, 1), "of %d", most)
		} else {
			require.Equal(t, most, l.peers)
		}
	}
}
