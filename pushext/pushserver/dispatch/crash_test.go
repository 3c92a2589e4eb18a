package dispatch

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

	"whisperpush/durable"
	"whisperpush/durable/faultstore"
	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/measure"
	"whisperpush/pushext/pushserver/outbox"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/vault"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// cut takes the provider away from a rig that crashed: what it still does in
// its last moments did not happen. It is throttled.
type cut struct {
	*scripted
	off atomic.Bool
}

func (*cut) Collapsible() pushext.Budget { return throttle }

func (c *cut) Push(ctx context.Context, n pushext.Notification) pushext.Verdict {
	if c.off.Load() {
		return pushext.Verdict{Class: pushext.Retry, Reason: "off"}
	}
	return c.scripted.Push(ctx, n)
}

// crashed is the rig of a program that starts over after a power cut, with the
// archive, the devices and the provider as they are.
func (r *rig) crashed(disk *faultstore.Store, p pushext.Provider) *rig {
	next := newRig(r.t, r.cfg, p)
	next.log, next.dir, next.disk = r.log, r.dir, disk
	return next
}

// oracle checks what a provider got against what was archived.
type oracle struct {
	crashes  int
	archived map[string][]common.Hash // by token
	fetched  map[common.Hash]bool
}

func (o *oracle) check(t require.TestingT, p *scripted) {
	for token, hashes := range o.archived {
		numbers := make(map[uint64][]common.Hash)
		covered := make(map[common.Hash]bool)
		collapse, repeated := "", 0
		for _, push := range p.to(token) {
			if push.Payload.Kind != pushwire.Messages {
				continue
			}
			if before, used := numbers[push.Payload.Seq]; used {
				require.Equal(t, before, push.Payload.Hashes, "a number is used once")
			}
			numbers[push.Payload.Seq] = push.Payload.Hashes
			if collapse == "" {
				collapse = push.CollapseID
			}
			require.Equal(t, collapse, push.CollapseID)
			require.NotEmpty(t, push.CollapseID)
			if push.Class == pushext.Delivered {
				if covered[push.Payload.Hashes[0]] { // the newest: so nothing in it is new
					repeated++
					require.False(t, push.Unreplaced, "a repetition goes out with the collapse id")
				}
				for _, h := range push.Payload.Hashes {
					covered[h] = true
				}
			}
		}
		for _, h := range hashes {
			require.True(t, o.fetched[h] || covered[h], "neither fetched nor woken for")
		}
		require.LessOrEqual(t, repeated, o.crashes, "more than one repetition a crash")
	}
}

// A power cut at every sync point of a run, each followed by a restart: every
// match is pushed, and at most once more.
func TestPowerCutAtEverySyncPoint(t *testing.T) {
	for point := 1; ; point++ {
		reached := false
		synctest.Test(t, func(t *testing.T) { reached = crashAt(t, point) })
		if !reached {
			require.Greater(t, point, 10, "the run has sync points")
			return
		}
	}
}

func crashAt(t *testing.T, point int) (reached bool) {
	const devices = 3
	p := &cut{scripted: &scripted{name: "fcm"}}
	fails := 0
	p.set(func(context.Context, pushext.Notification) pushext.Verdict {
		if fails++; fails%5 == 0 {
			return pushext.Verdict{Class: pushext.Retry, Reason: "fcm 500"}
		}
		return pushext.Verdict{Class: pushext.Delivered}
	})
	p.set(serial(p.answer))
	r := newRig(t, Delivery{}, p)
	store := r.disk.(*faultstore.Store)
	o := &oracle{crashes: 1, archived: make(map[string][]common.Hash), fetched: make(map[common.Hash]bool)}
	var topics [devices][4]byte
	for i := range topics {
		topics[i] = r.device(registration.ID(i+1), fmt.Sprintf("fcm token-%d", i+1))
	}
	r.start()
	var left *faultstore.Store
	base := store.Disk().Syncs()
	store.Disk().OnSync(func(n int) {
		if n-base == point {
			p.off.Store(true)
			left = store.Disk().Crash(rand.New(rand.NewPCG(1, uint64(point)))).Store("db")
		}
	})
	act := func(r *rig, round int) {
		i := round % devices
		token := fmt.Sprintf("token-%d", i+1)
		o.archived[token] = append(o.archived[token], r.log.Archive(topics[i]))
		if round%4 == 3 {
			synctest.Wait()
			got := o.archived[token]
			if r.box.Fetched(registration.ID(i+1), got, false) == nil {
				for _, h := range got {
					o.fetched[h] = true
				}
			}
		}
		time.Sleep(15 * time.Millisecond)
	}
	round := 0
	for ; round < 20 && !p.off.Load(); round++ {
		act(r, round)
	}
	store.Disk().OnSync(nil) // or the point is reached while the rest waits
	synctest.Wait()
	reached = p.off.Load()
	if !reached {
		time.Sleep(time.Minute)
		o.check(t, p.scripted)
		r.stop()
		return false
	}
	r.stop()
	next := &cut{scripted: p.scripted}
	after := r.crashed(left, next)
	after.start()
	for ; round < 25; round++ {
		act(after, round)
	}
	time.Sleep(10 * time.Minute)
	o.check(t, p.scripted)
	after.stop()
	return true
}

// serial lets an answer be called by one attempt at a time.
func serial(answer func(context.Context, pushext.Notification) pushext.Verdict) func(context.Context, pushext.Notification) pushext.Verdict {
	gate := make(chan struct{}, 1)
	return func(ctx context.Context, n pushext.Notification) pushext.Verdict {
		gate <- struct{}{}
		defer func() { <-gate }()
		return answer(ctx, n)
	}
}

// powerCut ends a rig at once, and returns one that starts over.
func (r *rig) powerCut(p *cut, seed uint64) *rig {
	r.t.Helper()
	left := r.disk.(*faultstore.Store).Disk().Crash(rand.New(rand.NewPCG(1, seed))).Store("db")
	p.off.Store(true)
	r.stop()
	p.off.Store(false)
	return r.crashed(left, p)
}

// Two wake-ups were accepted in the moment before a crash, and neither is on
// disk: one goes out after it, with the collapse id even if those before had none.
func TestACrashRepeatsOneWakeupADevice(t *testing.T) {
	for _, spent := range []int{0, 20} {
		synctest.Test(t, func(t *testing.T) {
			p := &cut{scripted: &scripted{name: "fcm"}}
			r := newRig(t, Delivery{Budget: pushext.Budget{Burst: 100}}, p)
			topic := r.device(1, "fcm token-1")
			r.start()
			for range spent {
				h := r.log.Archive(topic)
				time.Sleep(time.Second)
				require.NoError(t, r.box.Fetched(1, []common.Hash{h}, false))
			}
			time.Sleep(time.Second)
			a := r.log.Archive(topic)
			time.Sleep(untilCommit / 4)
			b := r.log.Archive(topic)
			synctest.Wait()
			got := p.all()[spent:]
			require.Len(t, got, 2)
			require.Equal(t, spent > 0, got[0].Unreplaced)
			r = r.powerCut(p, 1)
			r.start()
			time.Sleep(time.Hour)
			got = p.all()[spent+2:]
			require.Len(t, got, 1, "one repetition")
			require.Equal(t, []common.Hash{b, a}, got[0].Payload.Hashes)
			require.False(t, got[0].Unreplaced)
			r.stop()
		})
	}
}

// An archive that cannot be read holds up what is to be sent for a moment only.
func TestStartDoesNotWaitForAnArchiveThatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &scripted{name: "fcm"}
		p.always(pushext.Verdict{Class: pushext.Retry, Reason: "fcm 503"})
		r := newRig(t, Delivery{}, p)
		topic := r.device(1, "fcm token-1")
		r.start()
		a := r.log.Archive(topic)
		time.Sleep(time.Second)
		r.stop()
		p.set(nil)
		n := len(p.all())
		b := r.log.Archive(topic)
		r.log.Break(errors.New("input/output error"))
		begin := time.Now()
		r.start()
		time.Sleep(catchingUp)
		synctest.Wait()
		got := p.all()
		require.Len(t, got, n+1)
		require.Equal(t, []common.Hash{a}, got[n].Payload.Hashes)
		require.Equal(t, begin.Add(catchingUp), got[n].At)
		require.Less(t, catchingUp, measure.PromisedLatency)
		r.log.Break(nil)
		time.Sleep(time.Minute)
		require.Equal(t, []common.Hash{b, a}, p.all()[n+1].Payload.Hashes)
		r.stop()
	})
}

// A device that was woken and has not fetched is woken through its next route,
// whatever the program does meanwhile, and not through the one before.
func TestLadderGoesOnAfterARestart(t *testing.T) {
	for _, how := range []string{"stop", "power cut"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				first, second := &cut{scripted: &scripted{name: "up"}}, &scripted{name: "fcm"}
				third := &scripted{name: "pushy"}
				r := newRig(t, Delivery{}, first, second, third)
				topic := r.device(1, "up a", "fcm b", "pushy c")
				single := r.device(2, "up d")
				again := func() {
					if how == "stop" {
						r.stop()
					} else {
						r = r.powerCut(first, 1)
						r.providers = []pushext.Provider{first, second, third}
					}
					r.start()
				}
				r.start()
				a := r.log.Archive(topic)
				r.log.Archive(single)
				time.Sleep(10 * time.Second)
				again()
				begin := time.Now()
				time.Sleep(40 * time.Second)
				require.Len(t, second.all(), 1)
				require.Equal(t, begin.Add(30*time.Second), second.all()[0].At)
				require.Equal(t, []common.Hash{a}, second.all()[0].Payload.Hashes)
				again()
				second.always(pushext.Verdict{Class: pushext.Retry, Reason: "503"})
				third.always(pushext.Verdict{Class: pushext.Retry, Reason: "503"})
				time.Sleep(time.Hour)
				require.Len(t, second.all(), 1, "it was accepted there")
				require.Len(t, third.all(), sideAttempts, "another route accepted it")
				third.set(nil)
				again()
				time.Sleep(time.Hour)
				require.Len(t, third.all(), sideAttempts+1)
				again()
				time.Sleep(time.Hour)
				require.Len(t, first.all(), 2, "one for each device")
				require.Len(t, third.all(), sideAttempts+1, "the ladder ends")

				// What was fetched is not repeated.
				second.set(nil)
				b := r.log.Archive(topic)
				time.Sleep(time.Second)
				require.NoError(t, r.box.Fetched(1, []common.Hash{a, b}, false))
				time.Sleep(time.Second)
				again()
				time.Sleep(time.Hour)
				require.Len(t, second.all(), 1)
				r.stop()
			})
		})
	}
}

// A clean stop and start repeats nothing, skips no number and goes on where it
// left off.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &scripted{name: "fcm"}
		r := newRig(t, Delivery{}, p)
		topic := r.device(1, "fcm token-1")
		old := r.log.Archive(topic) // before push was ever on
		r.start()
		a := r.log.Archive(topic)
		synctest.Wait()
		r.stop()
		b := r.log.Archive(topic) // while it is off
		r.start()
		synctest.Wait()
		got := p.all()
		require.Len(t, got, 2)
		require.Equal(t, pushwire.Payload{Kind: pushwire.Messages, Seq: 1, Hashes: []common.Hash{a}}, got[0].Payload)
		require.Equal(t, pushwire.Payload{Kind: pushwire.Messages, Seq: 2, Hashes: []common.Hash{b, a}}, got[1].Payload)
		require.NotContains(t, got[1].Payload.Hashes, old)

		p.always(pushext.Verdict{Class: pushext.Retry, Reason: "fcm 503"})
		c := r.log.Archive(topic)
		synctest.Wait()
		r.stop()
		p.set(nil)
		r.start()
		synctest.Wait()
		got = p.all()
		require.Len(t, got, 4, "what was pending is sent at once")
		require.Equal(t, []common.Hash{c, b, a}, got[3].Payload.Hashes)
		require.Equal(t, uint64(4), got[3].Payload.Seq)
		r.stop()
	})
}

// A device's first wake-up does not wait for its numbers to be reserved. A number is
// used once all the same: after a crash the first block begins later, after a clean
// stop it does not.
func TestFirstNumbersNeedNoDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &cut{scripted: &scripted{name: "fcm"}}
		r := newRig(t, Delivery{}, p)
		var topics [4]whisper.Topic
		for i := range topics {
			topics[i] = r.device(registration.ID(i), fmt.Sprintf("fcm token-%d", i))
		}
		wake := func(i int) uint64 {
			t.Helper()
			r.log.Archive(topics[i])
			synctest.Wait()
			got := p.to(fmt.Sprintf("token-%d", i))
			require.NotEmpty(t, got, "woken at once")
			return got[len(got)-1].Payload.Seq
		}
		r.start()
		syncs := r.disk.(*faultstore.Store).Disk().Syncs()
		require.Equal(t, uint64(1), wake(0))
		require.Equal(t, syncs, r.disk.(*faultstore.Store).Disk().Syncs(), "without a sync")
		r = r.powerCut(p, 1)

		r.start()
		require.Equal(t, uint64(reservedEach+1), wake(1), "the crashed run might have given it the numbers before")
		time.Sleep(time.Second)
		got := p.to("token-0")
		require.Len(t, got, 2)
		require.Equal(t, uint64(reservedEach+1), got[1].Payload.Seq, "and this one it gave some")
		r.stop()

		r.start()
		require.Equal(t, uint64(reservedEach+1), wake(2), "a clean stop gave the others none")
		require.Equal(t, uint64(reservedEach+2), wake(1))
		r.stop()
		_, err := r.boxOf(3)
		require.ErrorIs(t, err, durable.ErrNotFound, "who was never woken has no record")
	})
}

// boxOf reads the record of a device while the rig is stopped.
func (r *rig) boxOf(id registration.ID) ([]byte, error) {
	s, err := vault.Open("", testKey, durable.Options{Storage: r.disk})
	require.NoError(r.t, err)
	defer func() {
		require.NoError(r.t, s.Close())
		time.Sleep(2 * time.Second) // goleveldb's pool lingers for one
	}()
	return s.Get(outbox.Key(id))
}

// The disk fails: pushes go on, nothing is lost, and once it works again all
// is written.
func TestDiskFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &scripted{name: "fcm"}
		r := newRig(t, Delivery{}, p)
		topic := r.device(1, "fcm token-1")
		disk := r.disk.(*faultstore.Store).Disk()
		r.start()
		a := r.log.Archive(topic)
		time.Sleep(time.Second)
		broken := errors.New("no space left on device")
		disk.SetFault(func(op faultstore.Op) error {
			if op.Kind == faultstore.Write || op.Kind == faultstore.Sync {
				return broken
			}
			return nil
		})
		b := r.log.Archive(topic)
		time.Sleep(time.Minute)
		require.Equal(t, []common.Hash{b, a}, p.all()[1].Payload.Hashes, "a full disk does not stop wake-ups")
		require.Positive(t, r.metric("write_failures_total"))
		disk.SetFault(nil)
		time.Sleep(time.Minute)
		require.NoError(t, r.box.Fetched(1, []common.Hash{a}, false))
		r.stop()
		r.start()
		s, err := r.box.Status(1)
		require.NoError(t, err)
		require.Contains(t, s.Accepted, "fcm")
		require.NotZero(t, s.Fetched)
		s.Accepted, s.Fetched = nil, time.Time{}
		require.Equal(t, outbox.Status{Seq: 2, Unread: 1}, s)
		time.Sleep(time.Minute)
		require.Len(t, p.all(), 2)
		r.stop()
	})
}

// A stop is bounded even if a provider hangs.
func TestStopIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &scripted{name: "fcm"}
		p.set(func(ctx context.Context, _ pushext.Notification) pushext.Verdict {
			<-ctx.Done()
			return pushext.Verdict{Class: pushext.Retry, Reason: "fcm timeout"}
		})
		r := newRig(t, Delivery{AttemptTimeout: time.Hour}, p)
		topic := r.device(1, "fcm token-1")
		r.start()
		r.log.Archive(topic)
		synctest.Wait()
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
		defer cancel()
		r.cancel()
		r.wg.Wait()
		r.dispatcher.Stop(ctx)
		r.halt()
		r.writer.Wait()
		require.Equal(t, 8*time.Second, time.Since(begin))
		require.NoError(t, r.store.Close())
		time.Sleep(2 * time.Second)

		p.set(nil)
		r.start()
		time.Sleep(time.Minute)
		require.Len(t, p.all(), 2)
		r.stop()
	})
}
