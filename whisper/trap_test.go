package whisper

import (
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/stretchr/testify/require"
)

// The traps are the faults of the genuine node that ours must not share.

// TestTrap3LifetimesAtTheEdges sends TTL 0, TTL beyond the expiry and expiries
// at both ends of 32 bits.
func TestTrap3LifetimesAtTheEdges(t *testing.T) {
	a := newArchive()
	n := startNode(t, Config{Archiver: a})
	r := connect(t, n)
	now := uint32(time.Now().Unix())
	for name, test := range map[string]struct {
		expiry, ttl uint32
		taken       bool
	}{
		"TTL 0":                         {now + 5, 0, true},
		"TTL beyond the expiry":         {now + 50, now + 51, false},
		"largest TTL":                   {now + 50, math.MaxUint32, false},
		"sent at the epoch":             {now + 50, now + 50, true},
		"both zero":                     {0, 0, false},
		"largest expiry":                {math.MaxUint32, math.MaxUint32 - now, true},
		"largest expiry, in the future": {math.MaxUint32, 1, false},
		"largest expiry and TTL":        {math.MaxUint32, math.MaxUint32, true},
		"expiry 1":                      {1, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			e := craft(t, test.expiry, test.ttl, Topic{}, []byte(name))
			r.sendEnvelopes(e)
			if test.taken {
				require.Equal(t, e.Hash(), a.next(t).Hash())
			}
			stillLinked(t, r, a)
		})
	}
	require.False(t, math.IsInf(craft(t, now, 0, Topic{}, nil).PoW(time.Now()), 0), "TTL 0 is no infinite work")
}

// TestTrap4FailedWriteIsRepaired: a write that failed leaves the hash unknown,
// so that another peer's copy is archived.
func TestTrap4FailedWriteIsRepaired(t *testing.T) {
	a := newArchive()
	a.fail = errors.New("disk full")
	n := startNode(t, Config{Archiver: a})
	first, second := connect(t, n), connect(t, n)
	e := seal(t, Draft{})
	first.sendEnvelopes(e)
	require.Equal(t, e.Hash(), a.next(t).Hash())
	first.send(77, nil) // the archive's answer was taken once the next packet is read
	require.Zero(t, n.Pool().Envelopes)
	a.fail = nil
	second.sendEnvelopes(e)
	require.Equal(t, e.Hash(), a.next(t).Hash())
	second.send(77, nil)
	require.Equal(t, 1, n.Pool().Envelopes)
	require.EqualValues(t, 1, metricValue(t, n.metrics.archiveFailed))
}

// TestTrap6SkewedClockKeepsTheLink: envelopes too old or from the future cost
// themselves, not the link of the peer who passed them on.
func TestTrap6SkewedClockKeepsTheLink(t *testing.T) {
	a := newArchive()
	n := startNode(t, Config{Archiver: a})
	r := connect(t, n)
	now := uint32(time.Now().Unix())
	for _, skew := range []int{-3600, -60, -21, -20, 60, 3600, 1 << 30} {
		sent := uint32(int(now) + skew)
		e := craft(t, sent+1, 1, Topic{}, []byte("skewed"))
		r.sendEnvelopes(e)
		stillLinked(t, r, a)
	}
	require.EqualValues(t, 4, metricValue(t, n.metrics.refused[ErrExpired]))
	require.EqualValues(t, 3, metricValue(t, n.metrics.refused[ErrFuture]))
	require.Len(t, n.Peers(), 1)
}

// TestTrap6GenuineAcceptance accepts what the genuine node accepts and refuses
// what it refuses, at the cost of the envelope in place of the link.
func TestTrap6GenuineAcceptance(t *testing.T) {
	for _, c := range vectors[struct {
		Name           string
		ExpiryOffset   int64
		TTL            uint32
		TTLIsExpiry    bool
		Topic          Topic
		DataLength     int
		MaxMessageSize uint32
		MinPoW         float64
		Sealed         float64
		Bloom          *hexutil.Bytes
		Verdict        string
	}](t, "acceptance.json") {
		t.Run(c.Name, func(t *testing.T) {
			switch c.Name {
			case "ttl 0, infinite PoW passes any minimum",
				"PoW 0.3 where 5 is the minimum: 0.2 is tolerated until it is first changed",
				"outside the first bloom, just set: none before, all tolerated":
				c.Verdict = "refused" // by a node that was configured so from the start
			}
			synctest.Test(t, func(t *testing.T) { // a clock that stands still
				a := newArchive()
				cfg := Config{Archiver: a, MaxMessageSize: c.MaxMessageSize, MinPoW: c.MinPoW}
				if c.Bloom != nil {
					bloom := Bloom(*c.Bloom)
					cfg.Bloom = &bloom
				}
				n := startNode(t, cfg)
				defer n.Stop()
				r := connect(t, n)
				expiry := uint32(time.Now().Unix() + c.ExpiryOffset)
				if c.TTLIsExpiry {
					c.TTL = expiry
				}
				e := craft(t, expiry, c.TTL, c.Topic, make([]byte, c.DataLength))
				if c.Sealed > 0 {
					work := e.appendWork(nil)
					require.NoError(t, e.mine(t.Context(), work, c.Sealed))
					e.encode(work)
				}
				r.sendEnvelopes(e)
				synctest.Wait()
				require.Equal(t, c.Verdict == "pooled", len(a.batches) == 1)
				require.Len(t, n.Peers(), 1)
			})
		})
	}
}

// TestTrap7RelayDoesNotWait: an envelope is handed on when it arrives. The clock
// of the bubble stands still as long as anyone works, so any wait would show.
func TestTrap7RelayDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := startNode(t, Config{})
		defer n.Stop()
		source, sink := connect(t, n), connect(t, n)
		began := time.Now()
		for i := range uint32(100) {
			e := seal(t, Draft{TTL: 50 + i})
			source.sendEnvelopes(e)
			sink.relays(e)
		}
		require.Zero(t, time.Since(began))
	})
}

// TestTrap8DirectMessagesAreChecked: a trusted peer's direct message is bounded
// in size, goes only to subscriptions that allow it and whose topic, key and
// sender match, and is neither pooled nor relayed nor archived.
func TestTrap8DirectMessagesAreChecked(t *testing.T) {
	a, in := newArchive(), newInbox()
	n := startNode(t, Config{Archiver: a, Direct: in, MaxMessageSize: 2000})
	topic := TopicFor("chat")
	allowed, err := n.Subscribe(Filter{Key: testKey, Topics: []Topic{topic}, AllowDirect: true}, 10)
	require.NoError(t, err)
	networkOnly, err := n.Subscribe(Filter{Key: testKey}, 10)
	require.NoError(t, err)
	r, bystander := connect(t, n), connect(t, n)

	old := func(topic Topic) *Envelope {
		return seal(t, Draft{Topic: topic, Now: time.Now().Add(-time.Hour), Payload: []byte("archived")})
	}
	right := old(topic)
	r.send(DirectPacket, right.Raw())
	r.send(77, nil) // the first was thrown away once the next packet is read
	require.EqualValues(t, 1, metricValue(t, n.metrics.badPackets.WithLabelValues("direct")), "not trusted yet")

	n.Trust(r.id)
	r.send(DirectPacket, craft(t, 2, 1, topic, make([]byte, 2000)).Raw()) // too large
	r.send(DirectPacket, old(TopicFor("another")).Raw())
	r.send(DirectPacket, right.Raw())
	m := <-allowed.C()
	require.Equal(t, right.Hash(), m.Envelope.Hash())
	require.True(t, m.Direct)
	require.Len(t, in.direct, 2)
	require.EqualValues(t, 1, metricValue(t, n.metrics.refused[ErrTooLarge]))

	last := seal(t, Draft{Topic: topic})
	r.sendEnvelopes(last)
	require.Equal(t, last.Hash(), a.next(t).Hash())
	require.Equal(t, last.Hash(), (<-networkOnly.C()).Envelope.Hash())
	require.Equal(t, last.Hash(), (<-allowed.C()).Envelope.Hash())
	bystander.relays(last)
	require.Equal(t, 1, n.Pool().Envelopes)
}
