package registry

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"whisperpush/durable"
	"whisperpush/durable/faultstore"
	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/vault"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// agrees checks that what a registry has in memory is what it has on disk, and
// that the keys there are those of the records.
func (r *Registry) agrees(t require.TestingT) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := r.settled()
	var found tally
	keys := make(map[string]string)
	sources := make(map[[16]byte]holding)
	strangers := make(map[registration.ID]newcomer)
	channels := 0
	require.NoError(t, v.scan([]byte{PrefixRecord}, func(key, _ []byte) bool {
		id := registration.ID(binary.BigEndian.Uint64(key[1:]))
		require.Less(t, id, r.next)
		rec, err := v.read(id, true)
		require.NoError(t, err)
		require.NotNil(t, rec)
		found.count[rec.class()]++
		found.channels += len(rec.Channels)
		if rec.class() == classFresh {
			strangers[id] = rec.newcomer()
		}
		if rec.Live() {
			have := sources[rec.source]
			sources[rec.source] = holding{have.registrations + 1, have.channels + rec.provenChannels()}
		}
		for key, value := range r.keys(rec) {
			keys[key] = string(value)
		}
		for i := range rec.challenges {
			require.Less(t, rec.challenges[i].route, len(rec.Routes))
		}
		for i := range rec.Channels {
			hit := false
			r.index.Match(rec.Channels[i].Topic, time.Unix(1, 0), func(other registration.ID) { hit = hit || other == id })
			wanted := rec.Listens() && rec.Channels[i].Mode == registration.Every
			require.Equal(t, wanted && rec.Channels[i].Muted <= 1, hit)
			if wanted {
				channels++
			}
		}
		return true
	}))
	require.NoError(t, v.scan([]byte{prefixChallenged}, func(_, _ []byte) bool {
		found.challenged++
		return true
	}))
	require.Equal(t, found, r.tally)
	require.Equal(t, strangers, r.newcomers.byID)
	shares := make(map[[16]byte]int)
	for _, one := range strangers {
		if one.channels > 0 {
			shares[one.source] += one.channels
		}
	}
	require.Equal(t, shares, r.newcomers.shares)
	require.Equal(t, channels, r.index.Size())
	require.NoError(t, r.index.Verify())
	for _, prefix := range []byte{prefixKey, prefixAddress, prefixGroup, prefixHandle, prefixSource, prefixDue} {
		require.NoError(t, v.scan([]byte{prefix}, func(key, value []byte) bool {
			want, known := keys[string(key)]
			require.True(t, known, "key %q of no record", key)
			require.Equal(t, want, string(value))
			delete(keys, string(key))
			return true
		}))
	}
	require.Empty(t, keys, "not on disk")
	for _, source := range r.sources.Keys() {
		n, _ := r.sources.Peek(source)
		require.Equal(t, sources[source], n)
	}
}

// small is a registry on a disk in memory, with few of everything.
type small struct {
	*Registry
	t    require.TestingT
	disk *faultstore.Store
	post box
	now  time.Time
}

var smallLimits = registration.Limits{
	Unconfirmed: 6, UnconfirmedPerSource: 3, PerSource: 5, Registrations: 9, AllChannels: 36, PerGroup: 2, PerHandle: 2, PerAddress: 2,
	Lifetime: time.Hour, Tombstone: time.Hour, Tombstones: 3,
}

func newSmall(t require.TestingT, disk *faultstore.Store) *small {
	b := &small{t: t, disk: disk, post: box("post"), now: shelfNow}
	s, err := vault.Open("", shelfSecret, durable.Options{Storage: disk})
	require.NoError(t, err)
	providers := []pushext.Provider{b.post, linkedBox{box("direct")}}
	b.Registry, err = Open(s, Options{Limits: smallLimits.WithDefaults(), Providers: providers, Ends: noEnds{}, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	return b
}

// step is one thing that happens to a registry, drawn at random. It returns
// the error, and whether something was answered that has to last.
type step struct {
	what, who, token, version, source, topics int
}

func drawStep(t *rapid.T) step {
	n := func(label string, most int) int { return rapid.IntRange(0, most).Draw(t, label) }
	return step{n("what", 9), n("who", 11), n("token", 7), n("version", 40), n("source", 3), n("topics", 5)}
}

func (s step) key() [33]byte { return [33]byte{1, byte(s.who)} }

func (b *small) do(s step) error {
	key := s.key()
	channels := make([]pushwire.Channel, s.topics)
	for i := range channels {
		channels[i] = pushwire.Channel{Topic: whisper.Topic{byte(i), byte(s.who % 2)}, Mode: pushwire.Mode(i % 3)}
	}
	switch s.what {
	case 0, 1, 2, 3:
		g := &pushwire.Register{Version: uint64(s.version), Plain: true, Channels: channels}
		switch {
		case s.token == 0:
			g.Routes = []pushwire.Route{{Provider: "direct", Address: key[:]}}
		case s.token == 1:
			g.Routes = []pushwire.Route{{Provider: "direct", Address: key[:]}, boxed("0")}
		default:
			g.Routes = []pushwire.Route{boxed(fmt.Sprint(s.token)), boxed(fmt.Sprint(s.token % 3))}
			if s.token < 3 {
				g.Routes = g.Routes[:1]
			}
		}
		if s.topics == 4 {
			g.Group = []byte{byte(s.source)}
			g.Preferences = pushwire.Preferences{Handle: make([]byte, pushwire.HandleSize), Root: make([]byte, pushwire.RootSize)}
			g.Preferences.Root[0] = byte(s.who)
		}
		_, errands, err := b.Register(key, source(s.source), g, b.now)
		for _, e := range errands {
			class := []pushext.Class{pushext.Delivered, pushext.Delivered, pushext.Retry, pushext.TokenDead}[s.version%4]
			b.ChallengeOver(e, pushext.Verdict{Class: class, Reason: "post 404 gone"}, b.now)
		}
		return err
	case 4, 5:
		rec, err := b.Lookup(key)
		if err != nil || rec == nil || len(rec.challenges) == 0 {
			return err
		}
		sent := rec.challenges[s.version%len(rec.challenges)].code
		_, err = b.Confirm(key, func(code [pushwire.CodeSize]byte) bool { return code == sent }, b.now)
		return err
	case 6:
		_, err := b.Update(key, &pushwire.Channels{Version: uint64(s.version), Channels: channels}, b.now)
		return err
	case 7:
		_, err := b.Unregister(key, uint64(s.version), b.now)
		return err
	case 8:
		rec, err := b.Lookup(key)
		if err == nil && rec != nil {
			b.Kill(rec.ID, "post 404 gone", b.now.Add(time.Duration(s.version)*time.Second))
		}
		return err
	}
	b.now = b.now.Add(time.Duration(s.version*s.version) * time.Second)
	return b.Sweep(b.now)
}

// refusedOnly fails the test for an error that is not a refusal.
func refusedOnly(t require.TestingT, err error) {
	if _, refused := errors.AsType[*registration.Refusal](err); err != nil && !refused {
		require.NoError(t, err)
	}
}

// Whatever happens, memory and disk agree after it; and so does a registry that
// is opened again, after a power cut too. The limits hold.
func TestRegistryAgreesWithItsDisk(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newSmall(t, faultstore.New())
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			refusedOnly(t, b.do(drawStep(t)))
			b.agrees(t)
			require.LessOrEqual(t, b.count[classFresh], b.terms.Load().limits.Unconfirmed)
			require.LessOrEqual(t, b.count[classFresh]+b.count[classLive], b.terms.Load().limits.Registrations)
			require.LessOrEqual(t, b.channels, b.terms.Load().limits.AllChannels)
		}
		left, now := b.disk.Disk().Crash(rand.New(rand.NewPCG(1, 2))).Store("db"), b.now
		require.NoError(t, b.store.Close())
		before := b.tally
		b = newSmall(t, left)
		b.now = now
		b.agrees(t)
		require.Equal(t, before, b.tally, "all of it was answered")
		require.NoError(t, b.store.Close())
	})
}

// A write that fails changes nothing, for those that were decided on top of it
// neither; what is on disk after that is told when it is opened again.
func TestRegistryWritesFail(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.Custom(drawStep), 1, 30).Draw(rt, "steps")
		kinds := []faultstore.Kind{faultstore.Write, faultstore.Sync}
		fails := rapid.SliceOfN(rapid.IntRange(0, 3), len(steps), len(steps)).Draw(rt, "fails")
		synctest.Test(t, func(t *testing.T) {
			b := newSmall(t, faultstore.New())
			for i, s := range steps {
				if fails[i] > 0 {
					refusedOnly(t, b.do(s))
					b.agrees(t)
					continue
				}
				before := b.tally
				b.disk.Disk().SetFault(func(op faultstore.Op) error {
					if op.Kind == kinds[i%len(kinds)] {
						return errors.New("disk full")
					}
					return nil
				})
				_ = b.do(s)
				b.disk.Disk().SetFault(nil)
				require.Equal(t, before, b.tally)
				time.Sleep(time.Second) // until it may be opened again
				refusedOnly(t, b.do(step{what: 7}))
				b.agrees(t)
			}
			require.NoError(t, b.store.Close())
			before := b.tally
			b = newSmall(t, b.disk)
			b.agrees(t)
			require.Equal(t, before, b.tally)
			require.NoError(t, b.store.Close())
			time.Sleep(2 * time.Second) // goleveldb's pool lingers for one
		})
	})
}

// A power cut at every sync point of a run: what was answered is there.
func TestPowerCutAtEveryChange(t *testing.T) {
	for point := 1; ; point++ {
		b := newSmall(t, faultstore.New())
		rng := rand.New(rand.NewPCG(7, 7))
		base := b.disk.Disk().Syncs()
		var left *faultstore.Store
		b.disk.Disk().OnSync(func(n int) {
			if n-base == point {
				left = b.disk.Disk().Crash(rand.New(rand.NewPCG(1, uint64(point)))).Store("db")
			}
		})
		held := make(map[[33]byte]uint64) // versions that were answered
		var last step
		for range 60 {
			s := step{rng.IntN(10), rng.IntN(6), rng.IntN(8), rng.IntN(41), rng.IntN(4), rng.IntN(6)}
			err := b.do(s)
			refusedOnly(t, err)
			if left != nil {
				last = s
				break
			}
			for who := range 6 {
				key := step{who: who}.key()
				rec, err := b.Lookup(key)
				require.NoError(t, err)
				delete(held, key)
				if rec != nil {
					held[key] = rec.Version
				}
			}
		}
		b.disk.Disk().OnSync(nil)
		require.NoError(t, b.store.Close())
		if left == nil {
			require.Greater(t, point, 20, "the run has sync points")
			return
		}
		b = newSmall(t, left)
		b.agrees(t)
		for key, version := range held {
			rec, err := b.Lookup(key)
			require.NoError(t, err)
			if rec == nil || rec.Version != version {
				require.True(t, last.what == 9 || last.key() == key || rec == nil, "by the step that was cut, or made room for it")
			}
		}
		require.NoError(t, b.store.Close())
	}
}

// gated is a disk whose writes wait for the test.
func gated(disk *faultstore.Store) (release func(err error)) {
	gate := make(chan error)
	disk.Disk().SetFault(func(op faultstore.Op) error {
		if op.Kind == faultstore.Sync {
			return <-gate
		}
		return nil
	})
	return func(err error) { gate <- err }
}

// What is decided while a write goes on is written together, and was decided as
// if it had been written one by one.
func TestChangesAreWrittenTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newSmall(t, faultstore.New())
		base := b.disk.Disk().Syncs()
		release := gated(b.disk)
		var mu sync.Mutex
		codes := make(map[pushwire.Code]int)
		var clients sync.WaitGroup
		join := func(i int) {
			clients.Go(func() {
				_, errands, err := b.Register([33]byte{1, byte(i)}, source(i), &pushwire.Register{
					Version: 1, Plain: true, Group: []byte("group"), Routes: []pushwire.Route{boxed(fmt.Sprint(i))},
				}, shelfNow)
				b.release(errands)
				mu.Lock()
				defer mu.Unlock()
				codes[codeOf(t, err)]++
			})
		}
		join(0)
		synctest.Wait()
		for i := range 20 {
			join(1 + i)
		}
		synctest.Wait()
		release(nil)
		synctest.Wait()
		release(nil)
		clients.Wait()
		require.Equal(t, map[pushwire.Code]int{pushwire.OK: 2, pushwire.Limit: 19}, codes, "two of a group")
		require.Equal(t, 2, b.disk.Disk().Syncs()-base)
		b.agrees(t)
		b.disk.Disk().SetFault(nil)
		require.NoError(t, b.store.Close())
		time.Sleep(2 * time.Second) // goleveldb's pool lingers for one
	})
}

// If a write fails, so does all that was decided on top of it, and nothing of it
// is counted.
func TestChangesFailTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newSmall(t, faultstore.New())
		before, next := b.tally, b.next
		release := gated(b.disk)
		var failed sync.WaitGroup
		errs := make([]error, 5)
		for i := range errs {
			failed.Go(func() {
				_, _, errs[i] = b.Register([33]byte{1, byte(i)}, source(i%2), &pushwire.Register{
					Version: 1, Plain: true, Channels: ownChannels(i, i), Routes: []pushwire.Route{boxed(fmt.Sprint(i))},
				}, shelfNow)
			})
			synctest.Wait()
		}
		release(errors.New("EIO"))
		failed.Wait()
		for _, err := range errs {
			require.ErrorIs(t, err, durable.ErrWrite)
		}
		require.Equal(t, before, b.tally)
		require.Equal(t, next, b.next)
		require.Empty(t, b.newcomers.byID)
		require.Zero(t, b.codes.held(), "nothing is held for them")
		b.disk.Disk().SetFault(nil)
		time.Sleep(time.Minute)
		_, _, err := b.Register([33]byte{2}, "", &pushwire.Register{Version: 1, Plain: true, Routes: []pushwire.Route{boxed("x")}}, shelfNow)
		require.NoError(t, err)
		b.agrees(t)
		require.NoError(t, b.store.Close())
		time.Sleep(2 * time.Second)
	})
}

// A panic while a change is decided costs that change, and the lock is free.
func TestPanicWhileDeciding(t *testing.T) {
	b := newSmall(t, faultstore.New())
	defer b.store.Close()
	require.NoError(t, b.do(step{what: 0, who: 1, token: 2, version: 1}))
	before := b.tally
	require.Panics(t, func() {
		_ = b.apply(func(c *decision) error {
			rec, _ := c.lookup(step{who: 1}.key())
			c.put(edit{old: rec, reason: reasonEvicted})
			panic(strings.Repeat("a", 3))
		})
	})
	require.Equal(t, before, b.tally)
	b.agrees(t)
	require.NoError(t, b.do(step{what: 0, who: 2, token: 2, version: 1}))
	b.agrees(t)
}
