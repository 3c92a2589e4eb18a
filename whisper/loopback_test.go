package whisper_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/stretchr/testify/require"

	"whisperpush/testutil/network"
	"whisperpush/whisper"
)

// dialRaw links a bare p2p.Server to the node and returns the link, on which
// packets that the node writes are read and dropped.
func dialRaw(tb testing.TB, n *network.Peer) p2p.MsgWriter {
	tb.Helper()
	links := make(chan p2p.MsgWriter, 1)
	run := func(_ *p2p.Peer, rw p2p.MsgReadWriter) error {
		if err := p2p.Send(rw, whisper.StatusPacket, []any{uint64(whisper.ProtocolVersion)}); err != nil {
			return err
		}
		links <- rw
		for {
			msg, err := rw.ReadMsg()
			if err != nil {
				return err
			}
			if _, err := io.Copy(io.Discard, msg.Payload); err != nil {
				return err
			}
		}
	}
	server := &p2p.Server{Config: p2p.Config{
		PrivateKey: key(tb), MaxPeers: 1, NoDiscovery: true,
		Protocols: []p2p.Protocol{{Name: whisper.ProtocolName, Version: whisper.ProtocolVersion, Length: whisper.ProtocolLength, Run: run}},
	}}
	require.NoError(tb, server.Start())
	tb.Cleanup(server.Stop)
	server.AddPeer(n.Enode)
	return <-links
}

// counter is an Archiver that tells when it has seen so many envelopes.
type counter struct {
	left int
	done chan struct{}
}

func (c *counter) Archive(_ context.Context, envs []*whisper.Envelope, done func(error)) {
	done(nil)
	if c.left -= len(envs); c.left == 0 {
		close(c.done)
	}
}

// BenchmarkIngestRLPx is BenchmarkIngest over a real link: encrypted,
// compressed, on the loopback.
func BenchmarkIngestRLPx(b *testing.B) {
	const perPacket, packets = 256, 400
	data := make([]byte, 256+12+16)
	topic := make([]byte, whisper.TopicSize)
	expiry := uint32(time.Now().Unix()) + 600
	input := make([][]byte, packets)
	for i := range input {
		list := make([][]any, perPacket)
		for j := range list {
			data := slices.Clone(data)
			binary.BigEndian.PutUint32(data, uint32(i*perPacket+j))
			list[j] = []any{expiry, uint32(600), topic, data, uint64(0)}
		}
		var err error
		input[i], err = rlp.EncodeToBytes(list)
		require.NoError(b, err)
	}
	for b.Loop() {
		b.StopTimer()
		archived := &counter{packets * perPacket, make(chan struct{})}
		n := network.Start(b, network.Options{Whisper: whisper.Config{MinPoW: 1e-9, Archiver: archived}})
		rw := dialRaw(b, n)
		b.StartTimer()
		for _, payload := range input {
			require.NoError(b, p2p.Send(rw, whisper.MessagesPacket, rlp.RawValue(payload)))
		}
		<-archived.done
	}
	b.ReportMetric(float64(b.N*packets*perPacket)/b.Elapsed().Seconds(), "envelopes/s")
}

// BenchmarkHopRLPx is the time from Post on one node until the subscriber of the
// next node has the message, over a real link.
func BenchmarkHopRLPx(b *testing.B) {
	from := network.Start(b, network.Options{})
	to := network.Start(b, network.Options{})
	network.Connect(b, from, to)
	sub, err := to.Node.Subscribe(whisper.Filter{Key: interopKey}, 1)
	require.NoError(b, err)
	var took []time.Duration
	i := 0
	for b.Loop() {
		b.StopTimer()
		i++
		e, err := whisper.Seal(b.Context(), whisper.Draft{Key: interopKey, Payload: fmt.Append(nil, i)})
		require.NoError(b, err)
		b.StartTimer()
		began := time.Now()
		require.NoError(b, from.Node.Post(b.Context(), e))
		<-sub.C()
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}
