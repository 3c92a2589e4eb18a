package whisper

import (
	"sync"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/stretchr/testify/require"
)

func TestNewNodeRefuses(t *testing.T) {
	for name, cfg := range map[string]Config{
		"message size":  {MaxMessageSize: MaxMessageSizeLimit + 1},
		"PoW":           {MinPoW: -1},
		"pool bytes":    {PoolBytes: -1},
		"pool number":   {PoolEnvelopes: -1},
		"peer bytes":    {PeerBytes: -1},
		"peer messages": {PeerMessages: -1},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := NewNode(cfg)
			require.Error(t, err)
		})
	}
}

func TestNodeDescribesItself(t *testing.T) {
	n := startNode(t, Config{MinPoW: 0.5, LightNode: true})
	require.Error(t, n.Start(), "a second time")
	require.Equal(t, NodeInfo{MinPoW: 0.5, MaxMessageSize: DefaultMaxMessageSize, Light: true}, n.Info())
	r := connectAs(t, n, status{minPoW: 2, bloom: collide.Bloom(), light: true}.encode())
	n.Trust(r.id)
	info := PeerInfo{ID: r.id, Version: ProtocolVersion, MinPoW: 2, Light: true, Trusted: true}
	seen, ok := n.Peer(r.id)
	require.True(t, ok)
	require.Equal(t, info, seen)
	require.Equal(t, []PeerInfo{info}, n.Peers())
	_, ok = n.Peer(enode.ID{})
	require.False(t, ok)

	ctx, cancel := contextDone(t)
	defer cancel()
	require.ErrorIs(t, n.WaitPeer(ctx, enode.ID{}), ErrNotConnected)
	require.ErrorIs(t, n.Post(t.Context(), &Envelope{TTL: 1}), ErrMalformed)
}

// TestEveryPeerGetsEveryEnvelopeOnce has peers send at once, each also what the
// others send.
func TestEveryPeerGetsEveryEnvelopeOnce(t *testing.T) {
	const peers, each = 8, 25
	a := newArchive()
	n := startNode(t, Config{Archiver: a})
	remotes := make([]*remote, peers)
	own := make([][]*Envelope, peers)
	for i := range remotes {
		remotes[i] = connect(t, n)
		for range each {
			own[i] = append(own[i], seal(t, Draft{Payload: []byte{byte(i)}}))
		}
	}
	var senders sync.WaitGroup
	for i, r := range remotes {
		senders.Go(func() {
			for j := range each {
				r.sendEnvelopes(own[i][j], own[(i+1)%peers][j])
			}
		})
	}
	senders.Wait()

	archived := make(map[common.Hash]int)
	for len(archived) < peers*each {
		for _, e := range <-a.batches {
			archived[e.Hash()]++
		}
	}
	require.Empty(t, a.batches)
	for hash, times := range archived {
		require.Equal(t, 1, times, "%x", hash)
	}
	last := seal(t, Draft{})
	require.NoError(t, n.Post(t.Context(), last))
	for i, r := range remotes {
		got := make(map[common.Hash]int)
		for got[last.Hash()] == 0 {
			for _, e := range r.nextEnvelopes() {
				got[e.Hash()]++
			}
		}
		for hash, times := range got {
			require.Equal(t, 1, times, "%x", hash)
		}
		for j := range peers {
			for _, e := range own[j] {
				if j != i && j != (i+1)%peers {
					require.Contains(t, got, e.Hash(), "what it did not send itself")
				}
			}
		}
	}
}

// TestSlowPeerHoldsUpNobody: one peer reads nothing at all.
func TestSlowPeerHoldsUpNobody(t *testing.T) {
	n := startNode(t, Config{})
	slow := dial(t, n)
	msg, err := slow.pipe.ReadMsg()
	require.NoError(t, err)
	require.NoError(t, msg.Discard())
	slow.send(StatusPacket, status{bloom: FullBloom()}.encode())
	require.NoError(t, n.WaitPeer(t.Context(), slow.id))

	source, sink := connect(t, n), connect(t, n)
	for range 100 {
		e := seal(t, Draft{})
		source.sendEnvelopes(e)
		sink.relays(e)
	}
}

// TestAcceptedEnvelopesOutliveTheirPacket: the buffer of a packet is used again
// for the next, so nothing that is kept may lie in it.
func TestAcceptedEnvelopesOutliveTheirPacket(t *testing.T) {
	a := newArchive()
	n := startNode(t, Config{Archiver: a})
	r := connect(t, n)
	var kept []*Envelope
	for i := range 10 {
		r.sendEnvelopes(seal(t, Draft{Payload: []byte{byte(i)}}))
		kept = append(kept, a.next(t))
	}
	for i, e := range kept {
		require.Equal(t, e.Hash(), keccak256(e.Raw()))
		m, err := e.OpenSymmetric(testKey)
		require.NoError(t, err)
		require.Equal(t, []byte{byte(i)}, m.Payload)
	}
}
