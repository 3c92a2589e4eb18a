package whisper

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/stretchr/testify/require"
)

// batches returns packets of fresh envelopes whose messages are padded to 256 bytes.
func batches(tb testing.TB, packets, perPacket int) [][]byte {
	data := make([]byte, 256+12+16) // what a symmetric message of 256 bytes takes
	expiry := uint32(time.Now().Unix()) + 600
	all := make([][]byte, packets)
	serial := 0
	for i := range all {
		envelopes := make([]*Envelope, perPacket)
		for j := range envelopes {
			serial++
			copy(data, fmt.Sprint(serial))
			envelopes[j] = craft(tb, expiry, 600, Topic{byte(serial), byte(serial >> 8)}, data)
		}
		all[i] = messages(tb, envelopes...)
	}
	return all
}

// discard is an Archiver that is always done.
type discard struct{}

func (discard) Archive(_ context.Context, _ []*Envelope, done func(error)) { done(nil) }

// BenchmarkIngest is one link on which packets of 256 envelopes arrive.
func BenchmarkIngest(b *testing.B) {
	const perPacket, packets = 256, 512
	for _, duplicates := range []bool{false, true} {
		b.Run(fmt.Sprintf("duplicates=%t", duplicates), func(b *testing.B) {
			input := batches(b, packets, perPacket)
			var r *remote
			link := func() {
				n := startNode(b, Config{MinPoW: 1e-9, Archiver: discard{}})
				r = connect(b, n)
			}
			link()
			if duplicates {
				for _, packet := range input {
					r.send(MessagesPacket, packet)
				}
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if i == packets {
					if i = 0; !duplicates {
						b.StopTimer()
						r.close()
						link()
						b.StartTimer()
					}
				}
				r.send(MessagesPacket, input[i])
				i++
			}
			b.ReportMetric(float64(b.N*perPacket)/b.Elapsed().Seconds(), "envelopes/s")
		})
	}
}

// BenchmarkRelayHop is the way of one envelope in from one link and out on another.
func BenchmarkRelayHop(b *testing.B) {
	n := startNode(b, Config{})
	source, sink := connect(b, n), connect(b, n)
	expiry := uint32(time.Now().Unix()) + 600
	input := make([][]byte, 1<<14)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if i%len(input) == 0 {
			b.StopTimer()
			for j := range input {
				input[j] = messages(b, craft(b, expiry, 600, Topic{}, fmt.Append(make([]byte, 256), i+j)))
			}
			b.StartTimer()
		}
		source.send(MessagesPacket, input[i%len(input)])
		<-sink.got
		i++
	}
}

// TestIngestAllocates bounds the allocations for an envelope from the packet to
// the archive: the Envelope, its bytes, and a share of the batch and the map.
// One more is allowed for the race detector, under which a sync.Pool forgets.
func TestIngestAllocates(t *testing.T) {
	const perPacket, rounds = 256, 20
	n := startNode(t, Config{MinPoW: 1e-9, Archiver: discard{}})
	ours, _ := p2p.MsgPipe()
	link := &pipeLink{ours, enode.ID{1}}
	p := newPeer(n, t.Context(), n.newSeat(link, time.Now()), status{bloom: FullBloom()})
	input := batches(t, rounds+1, perPacket)
	i := 0
	perEnvelope := testing.AllocsPerRun(rounds, func() {
		require.NoError(t, n.handleMessages(p, input[i]))
		i++
	}) / perPacket
	require.Equal(t, (rounds+1)*perPacket, n.Pool().Envelopes)
	require.LessOrEqual(t, perEnvelope, 3.5)

	duplicate := testing.AllocsPerRun(rounds, func() {
		require.NoError(t, n.handleMessages(p, input[0]))
	}) / perPacket
	require.LessOrEqual(t, duplicate, 2.0)
}
