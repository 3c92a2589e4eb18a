package pushserver

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"whisperpush/durable"
	"whisperpush/durable/faultstore"
	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/outbox"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushwire"
	"whisperpush/testutil/memlog"
	"whisperpush/whisper"
)

// devices lists the registrations that the outbox has a record of.
func (b *bed) devices() (ids []registration.ID) {
	it := b.ext.store.Scan(outbox.Prefix)
	defer it.Release()
	for it.Next() {
		require.NotEmpty(b.t, it.Value())
		ids = append(ids, registration.ID(it.Key()[8]))
	}
	return ids
}

// slow is a provider whose answer comes when the test says so.
type slow struct {
	*postbox
	hold func()
}

func (s slow) Push(ctx context.Context, n pushext.Notification) pushext.Verdict {
	s.hold()
	return s.postbox.Push(ctx, n)
}

// A wake-up that is accepted after its registration ended leaves nothing behind.
func TestAttemptOutlivesItsRegistration(t *testing.T) {
	var held chan struct{}
	p := slow{&postbox{name: "slow", dead: map[string]bool{}}, func() {
		if held != nil {
			<-held
		}
	}}
	bedTest(t, Limits{}, func(b *bed) {
		bob := b.phone("bob")
		g := bob.registration(topicA)
		g.Routes = []pushwire.Route{{Provider: "slow", Address: []byte("bob")}}
		require.Equal(t, pushwire.OK, bob.ask(g).Code)
		challenge, err := pushwire.OpenPayload(p.take("bob")[0].Body, bob.private)
		require.NoError(t, err)
		require.Equal(t, pushwire.Active, bob.ask(&pushwire.Confirm{Code: [16]byte(challenge.Code)}).State)
		held = make(chan struct{})
		b.envelope(topicA)
		bob.version++
		require.Equal(t, pushwire.OK, bob.ask(&pushwire.Unregister{Version: bob.version}).Code)
		time.Sleep(time.Second)
		close(held)
		time.Sleep(time.Second)
		require.Empty(t, b.devices())
	}, func(c *Config) { c.Providers = append(c.Providers, p) })
}

// What the outbox has of a registration that is not there is found out: when it
// is to be woken, or when the outbox is looked through.
func TestDeviceWithoutRegistration(t *testing.T) {
	bedTest(t, Limits{}, func(b *bed) {
		bob := b.phone("bob")
		bob.join(bob.registration(topicA))
		const waiting, idle = registration.ID(77), registration.ID(78)
		now := time.Now()
		require.NoError(t, b.ext.outbox.Match(t.Context(), []outbox.Match{{ID: waiting, Hash: memlog.Hash(1), At: now}, {ID: idle, Hash: memlog.Hash(2), At: now}}, 0, now))
		time.Sleep(time.Second)
		require.Empty(t, b.devices(), "both were to be woken")

		// As a crash may leave one: accepted, not fetched, as bob's is.
		b.envelope(topicA)
		time.Sleep(time.Second)
		ids := b.devices()
		require.Len(t, ids, 1)
		accepted, err := b.ext.store.Get(outbox.Key(ids[0]))
		require.NoError(t, err)
		var batch durable.Batch
		batch.Put(outbox.Key(idle), accepted)
		require.NoError(t, b.ext.store.Write(&batch))
		require.Equal(t, []registration.ID{ids[0], idle}, b.devices())
		time.Sleep(4 * time.Hour)
		require.Equal(t, ids, b.devices())
	})
}

// A power cut at every sync point while registrations come, are woken and end:
// no wake-ups stay behind for one that ended, and one that is there is woken for all.
func TestPowerCutWhileRegistrationsEnd(t *testing.T) {
	for point := 1; ; point++ {
		reached := false
		synctest.Test(t, func(t *testing.T) { reached = endAt(t, point) })
		if !reached {
			require.Greater(t, point, 8, "the run has sync points")
			return
		}
	}
}

func endAt(t *testing.T, point int) (reached bool) {
	b := newBed(t, Limits{})
	var cut atomic.Pointer[faultstore.Store] // the disk as the power cut leaves it
	base := b.disk.Disk().Syncs()
	b.disk.Disk().OnSync(func(n int) {
		if n-base == point {
			cut.Store(b.disk.Disk().Crash(rand.New(rand.NewPCG(2, uint64(point)))).Store("db"))
		}
	})
	bob, carol := b.phone("bob"), b.phone("carol")
	acked := false // bob's end was answered before the cut
	for _, p := range []*phone{bob, carol} {
		if cut.Load() == nil {
			p.join(p.registration(topicA))
		}
	}
	for range 8 {
		if cut.Load() == nil {
			b.envelope(topicA)
			time.Sleep(7 * time.Millisecond)
		}
	}
	if cut.Load() == nil {
		bob.version++
		require.Equal(t, pushwire.OK, bob.ask(&pushwire.Unregister{Version: bob.version}).Code)
		acked = cut.Load() == nil
	}
	var last *whisper.Envelope
	for range 8 {
		if cut.Load() == nil {
			last = b.envelope(topicA)
			time.Sleep(7 * time.Millisecond)
		}
	}
	b.disk.Disk().OnSync(nil)
	b.stop()
	left := cut.Load()
	if left == nil {
		return false
	}
	b.disk, b.cfg.storage = left, left
	b.cfg.Registerer = prometheus.NewRegistry()
	b.post.take("bob")
	b.start()
	time.Sleep(time.Minute)
	synctest.Wait()
	for _, id := range b.devices() {
		require.False(t, b.ext.registry.Absent(id), "no wake-ups for nobody")
	}
	if acked {
		require.Empty(t, b.post.take("bob"), "an end that was answered holds")
	}
	if rec, err := b.ext.registry.Lookup(keyOf(carol)); err == nil && rec != nil && rec.State == registration.Active && last != nil {
		told := false
		for _, p := range carol.payloads() {
			for _, h := range p.Hashes {
				told = told || h == last.Hash()
			}
		}
		require.True(t, told, "who is there is woken for all")
	}
	b.stop()
	return true
}
