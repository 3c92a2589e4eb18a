//go:build unix

package node

import (
	"io"
	"slices"
	"testing"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"

	"whisperpush/cluster"
	"whisperpush/config"
	"whisperpush/pushext/pushwire"
	"whisperpush/wnode/door"
)

// What devices ask through the door of one node is answered, whichever node has their shard, and every
// answer comes to its end; they are rung over their streams there.
func TestClusterThroughTheDoor(t *testing.T) {
	t.Parallel()
	nodes := newClusterOf(t, 2, config.Provider{Name: "direct", Type: "direct"})
	elsewhere := 0
	for range 12 {
		v := newVisitor(t, nodes[0])
		if !slices.Contains(owned(nodes[0]), cluster.ShardOf([33]byte(crypto.CompressPubkey(&v.key.PublicKey)))) {
			elsewhere++
		}
		private, public, err := pushwire.NewSealKey()
		require.NoError(t, err)
		stream := v.open(door.RequestPath, v.seal(&pushwire.Register{
			Version: 1, SealKey: public, Channels: []pushwire.Channel{{Topic: loopChat().Topic}},
			Routes: []pushwire.Route{{Provider: "direct", Address: crypto.CompressPubkey(&v.key.PublicKey)}},
		}))
		reply, _ := v.reply(stream)
		require.Equal(t, pushwire.Active, reply.State, reply.Text)
		v.ends(stream)
		ring := v.open(door.RingPath, v.seal(&pushwire.Status{}))
		v.reply(ring)

		// Several at a time, over connections that are used again: each gets its own answer.
		var streams []io.Reader
		for range 4 {
			streams = append(streams, v.open(door.RequestPath, v.seal(&pushwire.Status{})))
		}
		for _, stream := range streams {
			v.reply(stream)
			v.ends(stream)
		}
		nodes[1].post(t, "wherever it is archived")
		reply, _ = v.reply(ring)
		payload, err := pushwire.OpenPayload(reply.Body.(*pushwire.Ring).Body, private)
		require.NoError(t, err)
		stream = v.open(door.RequestPath, v.seal(&pushwire.Fetch{Hashes: payload.Hashes}))
		_, envelopes := v.reply(stream)
		require.NotEmpty(t, envelopes)
		v.ends(stream)
	}
	require.Positive(t, elsewhere, "every shard was at the node that was asked")
}
