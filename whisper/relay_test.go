package whisper

import (
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// collide is a topic two of whose bloom bits fall into one byte: the later bit
// replaces the earlier.
var collide = Topic{0x10, 0x17, 0x83, 0x00}

func TestRelayGivesEachPeerWhatItWants(t *testing.T) {
	n := startNode(t, Config{})
	source, all := connect(t, n), connect(t, n)
	topical := connectAs(t, n, status{bloom: collide.Bloom()}.encode())
	demanding := connectAs(t, n, status{minPoW: 5, bloom: FullBloom()}.encode())

	other := seal(t, Draft{Topic: Topic{1, 2, 3, 4}})
	theirs := seal(t, Draft{Topic: collide})
	worked := seal(t, Draft{Topic: Topic{1, 2, 3, 4}, PoW: 5, TTL: 20})
	source.sendEnvelopes(other, theirs, worked, other)
	all.relays(other, theirs, worked)
	topical.relays(theirs)
	demanding.relays(worked)

	own := seal(t, Draft{Topic: collide, PoW: 5, TTL: 20})
	require.NoError(t, n.Post(t.Context(), own))
	for _, r := range []*remote{source, all, topical, demanding} {
		r.relays(own)
	}
	require.ErrorIs(t, n.Post(t.Context(), own), ErrKnown)
}

func TestNewPeerIsOfferedThePool(t *testing.T) {
	n := startNode(t, Config{})
	witness := connect(t, n)
	soon, later := seal(t, Draft{TTL: 10, Topic: collide}), seal(t, Draft{TTL: 1e6, Topic: collide})
	other := seal(t, Draft{TTL: 100})
	for _, e := range []*Envelope{later, other, soon} {
		require.NoError(t, n.Post(t.Context(), e))
	}
	witness.relays(later, other, soon) // they are not new any more, for whoever comes now
	connect(t, n).relays(soon, other, later)
	connectAs(t, n, status{bloom: collide.Bloom()}.encode()).relays(soon, later)
}

// TestPeerThatWidensIsOfferedThePool: what was kept from a peer for its bloom
// filter or its minimum PoW is sent when it lowers them, and nothing twice.
func TestPeerThatWidensIsOfferedThePool(t *testing.T) {
	n := startNode(t, Config{})
	r := connectAs(t, n, status{minPoW: 1000, bloom: collide.Bloom()}.encode())
	cheap, other := seal(t, Draft{TTL: 100, Topic: collide}), seal(t, Draft{TTL: 200})
	require.NoError(t, n.Post(t.Context(), cheap))
	require.NoError(t, n.Post(t.Context(), other))
	r.send(PoWPacket, encode(t, math.Float64bits(0)))
	r.relays(cheap)
	full := FullBloom()
	r.send(BloomPacket, encode(t, full[:]))
	r.relays(other)
	require.True(t, n.Peers()[0].Full)
}

func TestLargePoolIsOfferedInPackets(t *testing.T) {
	n := startNode(t, Config{})
	data := make([]byte, 100<<10)
	now := uint32(time.Now().Unix())
	const count = 25
	for i := range uint32(count) {
		require.NoError(t, n.Post(t.Context(), craft(t, now+100+i, 100+i, Topic{}, data)))
	}
	r := connect(t, n)
	for got := 0; got < count; {
		p := r.next()
		require.LessOrEqual(t, len(p.payload), plausibleMaxPacket)
		envelopes, _, err := DecodeEnvelopes(p.payload)
		require.NoError(t, err)
		got += len(envelopes)
	}
}

// TestRelayNeverExceedsWhatPeersTake: a packet larger than the peer's maximum
// message size costs the link to a genuine node.
func TestRelayNeverExceedsWhatPeersTake(t *testing.T) {
	n := startNode(t, Config{})
	r := connect(t, n)
	now := uint32(time.Now().Unix())
	const largest = DefaultMaxMessageSize - EnvelopeHeaderSize
	require.NoError(t, n.Post(t.Context(), craft(t, now+50, 50, Topic{}, make([]byte, largest))))
	small := seal(t, Draft{})
	require.NoError(t, n.Post(t.Context(), small))
	r.relays(small)
}

func TestLightNodePassesOnlyItsOwn(t *testing.T) {
	a := newArchive()
	n := startNode(t, Config{LightNode: true, Archiver: a})
	source, other := connect(t, n), connect(t, n)
	source.sendEnvelopes(seal(t, Draft{TTL: 30}))
	a.next(t)
	own := seal(t, Draft{})
	require.NoError(t, n.Post(t.Context(), own))
	other.relays(own)
	source.relays(own)
	connect(t, n).relays(own)
}

func TestSettingsAreTold(t *testing.T) {
	n := startNode(t, Config{})
	r := connect(t, n)
	require.NoError(t, n.SetMinPoW(3))
	require.Equal(t, packet{PoWPacket, encode(t, math.Float64bits(3))}, r.next())
	bloom := collide.Bloom()
	n.SetBloom(bloom)
	require.Equal(t, packet{BloomPacket, encode(t, bloom[:])}, r.next())
	require.NoError(t, n.SetMaxMessageSize(2000))

	require.EqualValues(t, 3, n.MinPoW())
	require.Equal(t, bloom, n.Bloom())
	require.EqualValues(t, 2000, n.MaxMessageSize())
	require.Error(t, n.SetMinPoW(math.NaN()))
	require.Error(t, n.SetMinPoW(-1))
	require.Error(t, n.SetMaxMessageSize(0))
	require.Error(t, n.SetMaxMessageSize(MaxMessageSizeLimit+1))
}

func TestFormerSettingsAreHonouredForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newArchive()
		n := startNode(t, Config{Archiver: a})
		defer n.Stop()
		r := connect(t, n)
		n.SetBloom(collide.Bloom())
		require.NoError(t, n.SetMinPoW(1000))

		within := seal(t, Draft{Topic: Topic{1, 2, 3, 4}})
		r.sendEnvelopes(within)
		require.Equal(t, within.Hash(), a.next(t).Hash())

		time.Sleep(settingGrace)
		r.sendEnvelopes(seal(t, Draft{Topic: Topic{1, 2, 3, 4}}))
		r.sendEnvelopes(seal(t, Draft{Topic: collide}))
		synctest.Wait()
		require.Empty(t, a.batches)
		require.EqualValues(t, 1, metricValue(t, n.metrics.refused[ErrUnwanted]))
		require.EqualValues(t, 1, metricValue(t, n.metrics.refused[ErrLowPoW]))
		require.ErrorIs(t, n.Post(t.Context(), seal(t, Draft{})), ErrLowPoW)
	})
}

func TestPostRefuses(t *testing.T) {
	n := startNode(t, Config{MaxMessageSize: 1000, MinPoW: 10, PoolEnvelopes: 1})
	now := uint32(time.Now().Unix())
	for name, test := range map[string]struct {
		envelope *Envelope
		want     error
	}{
		"expired":  {craft(t, now-10, 10, Topic{}, nil), ErrExpired},
		"future":   {craft(t, now+100, 10, Topic{}, nil), ErrFuture},
		"lifetime": {craft(t, now, now+1, Topic{}, nil), ErrLifetime},
		"size":     {craft(t, now+50, 50, Topic{}, make([]byte, 1000)), ErrTooLarge},
		"pow":      {craft(t, now+50, 50, Topic{}, make([]byte, 500)), ErrLowPoW},
	} {
		t.Run(name, func(t *testing.T) {
			require.ErrorIs(t, n.Post(t.Context(), test.envelope), test.want)
		})
	}
	require.NoError(t, n.SetMinPoW(0))
	require.NoError(t, n.Post(t.Context(), craft(t, now+50, 50, Topic{}, nil)))
	require.ErrorIs(t, n.Post(t.Context(), craft(t, now+500, 500, Topic{}, nil)), ErrPoolFull)
}

func TestPostWaitsForTheArchive(t *testing.T) {
	a := newArchive()
	a.fail = errors.New("disk full")
	n := startNode(t, Config{Archiver: a})
	e := seal(t, Draft{})
	require.ErrorIs(t, n.Post(t.Context(), e), a.fail)
	require.Zero(t, n.Pool().Envelopes, "a failed write leaves no trace")

	full := startNode(t, Config{Archiver: &archive{batches: make(chan []*Envelope)}})
	ctx, cancel := contextDone(t)
	defer cancel()
	require.ErrorIs(t, full.Post(ctx, e), ctx.Err())
}

// TestArchiveHoldsUpTheLink: while the archive is full the peer's packets are
// not read, and nothing is lost.
func TestArchiveHoldsUpTheLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &archive{batches: make(chan []*Envelope)}
		n := startNode(t, Config{Archiver: a})
		defer n.Stop()
		r := connect(t, n)
		first, second := seal(t, Draft{}), seal(t, Draft{TTL: 51})
		r.sendEnvelopes(first)
		sent := make(chan struct{})
		go func() {
			r.sendEnvelopes(second)
			close(sent)
		}()
		synctest.Wait()
		select {
		case <-sent:
			require.FailNow(t, "the packet was read while the archive was full")
		default:
		}
		require.Equal(t, first.Hash(), a.next(t).Hash())
		require.Equal(t, second.Hash(), a.next(t).Hash())
		<-sent
	})
}

func TestBudgetHoldsUpAStrangerOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newArchive()
		n := startNode(t, Config{Archiver: a, PeerMessages: 2, PeerBytes: 1 << 20})
		defer n.Stop()
		stranger, friend := connect(t, n), connect(t, n)
		n.Trust(friend.id)
		flood := func(r *remote, ttl uint32) time.Duration {
			began := time.Now()
			for i := range uint32(6) {
				r.sendEnvelopes(seal(t, Draft{TTL: ttl + i}))
			}
			synctest.Wait()
			for range 6 {
				a.next(t)
			}
			return time.Since(began)
		}
		require.Zero(t, flood(friend, 50))
		require.Equal(t, 2*time.Second, flood(stranger, 100).Round(time.Second))
		require.NotZero(t, metricValue(t, n.metrics.throttled))
	})
}

func TestEnvelopesExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := startNode(t, Config{})
		defer n.Stop()
		require.NoError(t, n.Post(t.Context(), seal(t, Draft{TTL: 5})))
		require.NoError(t, n.Post(t.Context(), seal(t, Draft{TTL: 500})))
		time.Sleep(7 * time.Second)
		require.Equal(t, 1, n.Pool().Envelopes)
		time.Sleep(500 * time.Second)
		require.Equal(t, PoolInfo{}, n.Pool())
	})
}
