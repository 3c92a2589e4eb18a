package whisper

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

// inbox is a RequestHandler and a DirectHandler that hands over to the test.
type inbox struct {
	requests, completes chan []byte
	direct              chan *Envelope
}

func newInbox() *inbox {
	return &inbox{make(chan []byte, 100), make(chan []byte, 100), make(chan *Envelope, 100)}
}

func (i *inbox) HandleRequest(_ enode.ID, payload []byte)         { i.requests <- payload }
func (i *inbox) HandleRequestComplete(_ enode.ID, payload []byte) { i.completes <- payload }
func (i *inbox) HandleDirect(_ enode.ID, env *Envelope)           { i.direct <- env }

// stillLinked sends a good envelope and awaits it in the archive: the link is
// alive and everything before was handled.
func stillLinked(t testing.TB, r *remote, a *archive) {
	t.Helper()
	e := seal(t, Draft{})
	r.sendEnvelopes(e)
	require.Equal(t, e.Hash(), a.next(t).Hash())
}

func TestBadPacketsKeepTheLink(t *testing.T) {
	a := newArchive()
	n := startNode(t, Config{Archiver: a, MinPoW: 0, Requests: newInbox(), Direct: newInbox()})
	r := connect(t, n)
	good := seal(t, Draft{})
	list := messages(t, good)
	for name, p := range map[string]packet{
		"second status":            {StatusPacket, status{}.encode()},
		"status-go 11":             {11, make([]byte, 32)},
		"status-go 12":             {12, []byte{0xc0}},
		"status-go 20":             {20, []byte{0xc0}},
		"status-go 123":            {123, []byte{0xc0}},
		"status-go 124":            {124, []byte{0xc0}},
		"unknown":                  {77, []byte("whatever")},
		"empty messages":           {MessagesPacket, nil},
		"messages, no list":        {MessagesPacket, []byte{0x01}},
		"messages, cut short":      {MessagesPacket, list[:len(list)-1]},
		"messages and more":        {MessagesPacket, append(bytes.Clone(list), 1)},
		"messages, bad elements":   {MessagesPacket, encode(t, []any{"a", []any{}, uint64(7)})},
		"messages, size of 2^63":   {MessagesPacket, []byte{0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
		"PoW empty":                {PoWPacket, nil},
		"PoW infinite":             {PoWPacket, encode(t, math.Float64bits(math.Inf(1)))},
		"PoW not a number":         {PoWPacket, encode(t, math.Float64bits(math.NaN()))},
		"PoW negative":             {PoWPacket, encode(t, math.Float64bits(-1))},
		"PoW too long":             {PoWPacket, make([]byte, 1000)},
		"bloom of 63 bytes":        {BloomPacket, encode(t, make([]byte, 63))},
		"bloom of 65 bytes":        {BloomPacket, encode(t, make([]byte, 65))},
		"bloom a list":             {BloomPacket, []byte{0xc0}},
		"bloom oversized":          {BloomPacket, make([]byte, maxSettingPacket+1)},
		"end mark, a list":         {RequestCompletePacket, []byte{0xc0}},
		"end mark oversized":       {RequestCompletePacket, make([]byte, maxRequestCompletePacket+1)},
		"request oversized":        {RequestPacket, make([]byte, DefaultMaxMessageSize+envelopeOverhead+1)},
		"direct, not trusted":      {DirectPacket, good.Raw()},
		"direct, garbage":          {DirectPacket, []byte("garbage")},
		"messages beyond any size": {MessagesPacket, make([]byte, maxMessagesPacket+1)},
	} {
		t.Run(name, func(t *testing.T) {
			r.send(p.code, p.payload)
			stillLinked(t, r, a)
			w := n.Peers()[0]
			require.Zero(t, w.MinPoW)
			require.True(t, w.Full)
		})
	}
}

// TestGenuinePacketsReceived sends what was sent to the genuine node, where it
// kept the link and where it did not: ours keeps it always.
func TestGenuinePacketsReceived(t *testing.T) {
	a := newArchive()
	n := startNode(t, Config{Archiver: a})
	r := connect(t, n)
	for _, c := range vectors[struct {
		Name    string
		Code    uint64
		Payload hexutil.Bytes
		Kept    bool
	}](t, "packets-received.json") {
		t.Run(c.Name, func(t *testing.T) {
			r.send(c.Code, c.Payload)
			r.send(PoWPacket, encode(t, uint64(0)))
			full := FullBloom()
			r.send(BloomPacket, encode(t, full[:]))
			stillLinked(t, r, a)
		})
	}
}

func TestOneBadEnvelopeCostsItselfOnly(t *testing.T) {
	a := newArchive()
	n := startNode(t, Config{Archiver: a})
	r := connect(t, n)
	first, second := seal(t, Draft{}), seal(t, Draft{})
	r.send(MessagesPacket, encode(t, []any{
		rlp.RawValue(first.Raw()), "no envelope", []any{"1", "2", "3"}, rlp.RawValue(second.Raw()), rlp.RawValue(first.Raw()),
	}))
	batch := <-a.batches
	require.Len(t, batch, 2)
	require.Equal(t, first.Hash(), batch[0].Hash())
	require.Equal(t, second.Hash(), batch[1].Hash())
	require.EqualValues(t, 2, metricValue(t, n.metrics.refused[ErrMalformed]))
	require.EqualValues(t, 1, metricValue(t, n.metrics.refused[ErrKnown]))
}

func TestRequestsAndAnswers(t *testing.T) {
	in := newInbox()
	n := startNode(t, Config{Requests: in, Direct: in})
	r := connect(t, n)
	e := seal(t, Draft{})

	r.send(RequestPacket, e.Raw())
	require.Equal(t, e.Raw(), <-in.requests)
	r.send(RequestCompletePacket, encode(t, []byte("end")))
	require.Equal(t, []byte("end"), <-in.completes)

	require.NoError(t, n.SendRequest(t.Context(), r.id, e))
	require.Equal(t, packet{RequestPacket, e.Raw()}, r.next())
	require.NoError(t, n.SendRequestComplete(t.Context(), r.id, []byte("end")))
	require.Equal(t, packet{RequestCompletePacket, encode(t, []byte("end"))}, r.next())
	require.NoError(t, n.SendDirect(t.Context(), r.id, e, e))
	require.Equal(t, packet{DirectPacket, e.Raw()}, r.next())
	require.Equal(t, packet{DirectPacket, e.Raw()}, r.next())
	require.ErrorIs(t, n.SendDirect(t.Context(), enode.ID{1}, e), ErrNotConnected)

	large := craft(t, 2, 1, Topic{}, make([]byte, 50<<10))
	require.NoError(t, n.SendDirectBatch(t.Context(), r.id, []*Envelope{large, large, large}))
	require.Equal(t, packet{DirectPacket, messages(t, large, large)}, r.next())
	require.Equal(t, packet{DirectPacket, messages(t, large)}, r.next())

	n.Trust(r.id)
	r.send(DirectPacket, e.Raw())
	require.Equal(t, e.Hash(), (<-in.direct).Hash())
	r.send(DirectPacket, messages(t, e, large))
	require.Equal(t, e.Hash(), (<-in.direct).Hash())
	require.Equal(t, large.Hash(), (<-in.direct).Hash())
	n.Distrust(r.id)
	r.send(DirectPacket, e.Raw())
	r.send(RequestCompletePacket, encode(t, []byte("again")))
	require.Equal(t, []byte("again"), <-in.completes)
	require.Empty(t, in.direct)
}

// syncInbox also takes what mailservers of status-go say to each other.
type syncInbox struct {
	*inbox
	syncs chan []byte
}

func (i syncInbox) HandleSyncResponse(_ enode.ID, payload []byte) { i.syncs <- payload }

// An answer to a sync request reaches a node that understands it, from a trusted peer
// only.
func TestSyncPackets(t *testing.T) {
	in := syncInbox{newInbox(), make(chan []byte, 100)}
	n := startNode(t, Config{Direct: in})
	r := connect(t, n)
	require.NoError(t, n.SendSyncRequest(t.Context(), r.id, []byte{0xc0}))
	require.Equal(t, packet{SyncRequestPacket, []byte{0xc0}}, r.next())
	r.send(SyncResponsePacket, []byte{0xc0})
	r.send(RequestCompletePacket, encode(t, []byte("a stranger's was handled")))
	<-in.completes
	require.Empty(t, in.syncs)
	n.Trust(r.id)
	r.send(SyncResponsePacket, []byte{0xc1, 1})
	require.Equal(t, []byte{0xc1, 1}, <-in.syncs)

	plain := newInbox()
	n = startNode(t, Config{Direct: plain})
	r = connect(t, n)
	n.Trust(r.id)
	r.send(SyncResponsePacket, []byte{0xc0}) // unknown to it
	r.send(RequestCompletePacket, encode(t, []byte("the link stands")))
	require.Equal(t, []byte("the link stands"), <-plain.completes)
}

func TestSendEndsWithTheLinkAndTheContext(t *testing.T) {
	n := startNode(t, Config{})
	r := dial(t, n)
	msg, err := r.pipe.ReadMsg()
	require.NoError(t, err)
	require.NoError(t, msg.Discard())
	r.send(StatusPacket, status{}.encode())
	require.NoError(t, n.WaitPeer(t.Context(), r.id)) // and never read again

	ctx, cancel := contextDone(t)
	defer cancel()
	require.ErrorIs(t, n.SendRequest(ctx, r.id, seal(t, Draft{})), ctx.Err())
	sent := make(chan error)
	go func() { sent <- n.SendRequest(t.Context(), r.id, seal(t, Draft{})) }()
	r.close()
	require.ErrorIs(t, <-sent, ErrNotConnected)
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	a := newArchive()
	n := startNode(t, Config{Archiver: a, Registerer: registry})
	r := connect(t, n)
	stillLinked(t, r, a)
	r.send(77, []byte("x"))
	stillLinked(t, r, a)

	families, err := registry.Gather()
	require.NoError(t, err)
	got := make(map[string]float64)
	for _, f := range families {
		require.True(t, strings.HasPrefix(f.GetName(), "whisperpush_whisper_"), f.GetName())
		for _, m := range f.GetMetric() {
			name := strings.TrimPrefix(f.GetName(), "whisperpush_whisper_")
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	require.EqualValues(t, 2, got["envelopes_accepted_total"])
	require.EqualValues(t, 2, got["packets_total in messages"])
	require.EqualValues(t, 1, got["packets_total in other"])
	require.EqualValues(t, 2, got["pool_envelopes"])
	require.EqualValues(t, 1, got["peers"])
}

// FuzzPackets sends any bytes in any packet to a node with everything switched
// on: it must keep the link, and still take a good envelope.
func FuzzPackets(f *testing.F) {
	e := seal(f, Draft{})
	bloom := e.Topic.Bloom()
	f.Add(uint64(StatusPacket), status{bloom: bloom}.encode())
	f.Add(uint64(MessagesPacket), messages(f, e, e))
	f.Add(uint64(PoWPacket), encode(f, math.Float64bits(0.2)))
	f.Add(uint64(BloomPacket), encode(f, bloom[:]))
	f.Add(uint64(RequestCompletePacket), encode(f, make([]byte, 100)))
	f.Add(uint64(RequestPacket), e.Raw())
	f.Add(uint64(DirectPacket), e.Raw())
	f.Add(uint64(DirectPacket), messages(f, e, e))
	f.Add(uint64(SyncResponsePacket), encode(f, []any{[]any{}, []byte{}, true, ""}))

	f.Fuzz(func(t *testing.T, code uint64, payload []byte) {
		a, in := newArchive(), syncInbox{newInbox(), make(chan []byte, 100)}
		n := startNode(t, Config{Archiver: a, Requests: in, Direct: in})
		_, err := n.Subscribe(Filter{Key: testKey, AllowDirect: true}, 1)
		require.NoError(t, err)
		r := connect(t, n)
		n.Trust(r.id)
		r.send(code, payload)
		good := seal(t, Draft{Payload: []byte("good")})
		r.sendEnvelopes(good)
		for {
			select {
			case batch := <-a.batches:
				if batch[0].Hash() == good.Hash() {
					return
				}
			case <-time.After(10 * time.Second):
				require.FailNow(t, "the link is lost")
			}
		}
	})
}

// TestPacketOfManyEnvelopes is handled in batches, and what comes before an
// element that cannot be read is kept.
func TestPacketOfManyEnvelopes(t *testing.T) {
	const count = 2*decodeBatch + 10
	a := newArchive()
	n := startNode(t, Config{Archiver: a})
	r := connect(t, n)
	expiry := uint32(time.Now().Unix()) + 50
	envelopes := make([]*Envelope, count)
	var content []byte
	for i := range envelopes {
		envelopes[i] = craft(t, expiry, 50, Topic{}, []byte{byte(i), byte(i >> 8)})
		content = append(content, envelopes[i].Raw()...)
	}
	content = append(content, 0xf8) // a list whose length is missing
	r.send(MessagesPacket, append(rlpListHead(len(content)), content...))
	for i := 0; i < count; {
		batch := <-a.batches
		require.LessOrEqual(t, len(batch), decodeBatch)
		for _, e := range batch {
			require.Equal(t, envelopes[i].Hash(), e.Hash())
			i++
		}
	}
	stillLinked(t, r, a)
}
