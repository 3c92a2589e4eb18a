package whisper

import (
	"context"
	"crypto/rand"
	"io"
	"net"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// The node database of devp2p is goleveldb, one goroutine of which outlives
// Close by a second.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/syndtr/goleveldb/leveldb.(*DB).mpoolDrain"))
}

// archive is an Archiver that hands every batch to the test.
type archive struct {
	batches chan []*Envelope
	fail    error
}

func newArchive() *archive { return &archive{batches: make(chan []*Envelope, 4096)} }

func (a *archive) Archive(ctx context.Context, envs []*Envelope, done func(error)) {
	select {
	case a.batches <- envs:
		done(a.fail)
	case <-ctx.Done():
		done(ctx.Err())
	}
}

// next returns the single envelope of the next batch.
func (a *archive) next(t testing.TB) *Envelope {
	t.Helper()
	select {
	case batch := <-a.batches:
		require.Len(t, batch, 1)
		return batch[0]
	case <-time.After(10 * time.Second):
		require.FailNow(t, "nothing was archived")
		return nil
	}
}

func startNode(t testing.TB, cfg Config) *Node {
	t.Helper()
	n, err := NewNode(cfg)
	require.NoError(t, err)
	require.NoError(t, n.Start())
	t.Cleanup(n.Stop)
	return n
}

// packet is what a node wrote to a remote.
type packet struct {
	code    uint64
	payload []byte
}

// remote is the other end of a node's link, in the hands of the test: it may
// send whatever it likes.
type remote struct {
	t    testing.TB
	id   enode.ID
	pipe *p2p.MsgPipeRW
	got  chan packet // after the status; closed with the link
	run  chan error  // how the node ended the link
}

// pipeLink is the node's end of a link in memory.
type pipeLink struct {
	pipe *p2p.MsgPipeRW
	id   enode.ID
}

func (l *pipeLink) ID() enode.ID         { return l.id }
func (l *pipeLink) RemoteAddr() net.Addr { return &net.UnixAddr{} }
func (l *pipeLink) Disconnect(error)     { l.pipe.Close() }

func (l *pipeLink) Inbound() bool { return false }

func (l *pipeLink) ReadPacket() (Packet, error) {
	msg, err := l.pipe.ReadMsg()
	return Packet{msg.Code, msg.Size, msg.Payload}, err
}

func (l *pipeLink) WritePacket(p Packet) error {
	return l.pipe.WriteMsg(p2p.Msg{Code: p.Code, Size: p.Size, Payload: p.Payload})
}

// dial links a remote to the node without saying anything.
func dial(t testing.TB, n *Node) *remote {
	t.Helper()
	ours, theirs := p2p.MsgPipe()
	r := &remote{t: t, pipe: theirs, got: make(chan packet, 4096), run: make(chan error, 1)}
	rand.Read(r.id[:])
	go func() {
		r.run <- n.Run(&pipeLink{ours, r.id})
		ours.Close()
	}()
	t.Cleanup(r.close)
	return r
}

// connect links a remote that wants everything to the node.
func connect(t testing.TB, n *Node) *remote {
	t.Helper()
	return connectAs(t, n, status{bloom: FullBloom()}.encode())
}

// connectAs completes the handshake with the given status.
func connectAs(t testing.TB, n *Node, payload []byte) *remote {
	t.Helper()
	r := dial(t, n)
	msg, err := r.pipe.ReadMsg()
	require.NoError(t, err)
	require.EqualValues(t, StatusPacket, msg.Code)
	require.NoError(t, msg.Discard())
	r.send(StatusPacket, payload)
	require.NoError(t, n.WaitPeer(t.Context(), r.id))
	go r.read()
	return r
}

func (r *remote) read() {
	defer close(r.got)
	for {
		msg, err := r.pipe.ReadMsg()
		if err != nil {
			return
		}
		payload, err := io.ReadAll(msg.Payload)
		if err != nil {
			return
		}
		r.got <- packet{msg.Code, payload}
	}
}

func (r *remote) close() { r.pipe.Close() }

func (r *remote) send(code uint64, payload []byte) {
	r.t.Helper()
	require.NoError(r.t, writePacket(&pipeLink{pipe: r.pipe}, code, payload))
}

func (r *remote) sendEnvelopes(envelopes ...*Envelope) {
	r.t.Helper()
	r.send(MessagesPacket, messages(r.t, envelopes...))
}

// next returns the next packet the node wrote.
func (r *remote) next() packet {
	r.t.Helper()
	select {
	case p, ok := <-r.got:
		require.True(r.t, ok, "the link has ended")
		return p
	case <-time.After(10 * time.Second):
		require.FailNow(r.t, "the node wrote nothing")
		return packet{}
	}
}

// nextEnvelopes returns the payloads of the next packet of envelopes.
func (r *remote) nextEnvelopes() []*Envelope {
	r.t.Helper()
	p := r.next()
	require.EqualValues(r.t, MessagesPacket, p.code)
	envelopes, bad, err := DecodeEnvelopes(p.payload)
	require.NoError(r.t, err)
	require.Zero(r.t, bad)
	return envelopes
}

// relays fails the test unless the envelopes come next, alone and in order.
func (r *remote) relays(want ...*Envelope) {
	r.t.Helper()
	for len(want) > 0 {
		for _, e := range r.nextEnvelopes() {
			require.NotEmpty(r.t, want, "an envelope too many")
			require.Equal(r.t, want[0].Hash(), e.Hash())
			want = want[1:]
		}
	}
}

func messages(t testing.TB, envelopes ...*Envelope) []byte {
	t.Helper()
	raw := make([]rlp.RawValue, len(envelopes))
	for i, e := range envelopes {
		raw[i] = e.Raw()
	}
	return encode(t, raw)
}

var testKey = make([]byte, SymmetricKeySize)

func seal(t testing.TB, d Draft) *Envelope {
	t.Helper()
	if d.Key == nil && d.To == nil {
		d.Key = testKey
	}
	e, err := Seal(context.Background(), d)
	require.NoError(t, err)
	return e
}

// craft returns an envelope with any fields at all.
func craft(t testing.TB, expiry, ttl uint32, topic Topic, data []byte) *Envelope {
	t.Helper()
	e, err := DecodeEnvelope(encode(t, []any{expiry, ttl, topic[:], data, uint64(0)}))
	require.NoError(t, err)
	return e
}

// contextDone returns a context that has ended.
func contextDone(t testing.TB) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx, cancel
}

func metricValue(t testing.TB, m prometheus.Metric) float64 {
	t.Helper()
	var out dto.Metric
	require.NoError(t, m.Write(&out))
	return out.GetCounter().GetValue()
}
