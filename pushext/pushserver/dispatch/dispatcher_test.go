package dispatch

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/outbox"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushwire"
	"whisperpush/testutil/memlog"
)

func TestMatchIsPushedAtOnceWithEverythingUnfetched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &scripted{name: "fcm"}
		r := newRig(t, Delivery{}, p)
		topic := r.device(1, "fcm token-1")
		r.start()
		defer r.stop()

		begin := time.Now()
		a := r.log.Archive(topic)
		r.log.Archive(r.device(2, "fcm token-2")) // another device's
		synctest.Wait()
		time.Sleep(time.Second)
		b := r.log.Archive(topic)
		synctest.Wait()

		got := p.to("token-1")
		require.Len(t, got, 2)
		require.Equal(t, pushwire.Payload{Kind: pushwire.Messages, Seq: 1, Hashes: []common.Hash{a}}, got[0].Payload)
		require.Equal(t, pushwire.Payload{Kind: pushwire.Messages, Seq: 2, Hashes: []common.Hash{b, a}}, got[1].Payload)
		require.Equal(t, begin, got[0].At, "no polling on the way")
		require.Equal(t, got[0].CollapseID, got[1].CollapseID)
		require.False(t, got[0].Unreplaced, "few were sent with the collapse id")
		require.False(t, got[1].Unreplaced)
		require.NotEqual(t, got[0].ID, got[1].ID)
		require.True(t, got[0].Urgent)
		require.Len(t, p.to("token-2"), 1)

		// The fetch is the receipt.
		require.NoError(t, r.box.Fetched(1, []common.Hash{a, b}, false))
		c := r.log.Archive(topic)
		synctest.Wait()
		got = p.to("token-1")
		require.Len(t, got, 3)
		require.Equal(t, pushwire.Payload{Kind: pushwire.Messages, Seq: 3, Hashes: []common.Hash{c}}, got[2].Payload)
		require.False(t, got[2].Unreplaced)
		require.Equal(t, 2.0, outcomes(r, "fetched", "fetch"))
	})
}

// throttle is what a throttled provider allows.
var throttle = pushext.Budget{Burst: 16, Every: 3 * time.Minute}

// throttled is a scripted provider whose service delays what is collapsible.
type throttled struct{ *scripted }

func (throttled) Collapsible() pushext.Budget { return throttle }

// A service delays what is collapsible beyond a number and one in 3 minutes: a device that
// fetches is sent the rest without the id, and one that does not with it, for
// there is something to replace.
func TestCollapsibleIsSpentBeforeAnythingGoesWithoutTheID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &scripted{name: "fcm"}
		r := newRig(t, Delivery{Budget: pushext.Budget{Burst: 100}}, throttled{p})
		topic := r.device(1, "fcm token-1")
		r.start()
		wake := func(fetch bool) bool {
			h := r.log.Archive(topic)
			time.Sleep(time.Second)
			if fetch {
				require.NoError(t, r.box.Fetched(1, []common.Hash{h}, false))
			}
			got := p.all()
			return got[len(got)-1].Unreplaced
		}
		for i := range throttle.Burst {
			require.False(t, wake(true), i)
		}
		require.True(t, wake(true))
		r.stop()
		r.start() // the count survives
		time.Sleep(time.Second)
		require.True(t, wake(true))
		time.Sleep(3 * time.Minute)
		require.False(t, wake(true), "one more")
		for i := range 5 {
			require.True(t, wake(false), i)
		}
		require.False(t, wake(true), "those before wait at the service, as far as we know")
		require.NoError(t, r.box.Renewed(1))
		time.Sleep(time.Hour)
		for i := range throttle.Burst {
			require.False(t, wake(true), i)
		}
		require.True(t, wake(true))
		r.stop()
	})
}

func TestNoPushForWhatWasFetchedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &scripted{name: "fcm"}
		r := newRig(t, Delivery{}, p)
		topic := r.device(1, "fcm token-1")
		r.start()
		defer r.stop()

		p.always(pushext.Verdict{Class: pushext.Retry, Reason: "fcm 503"})
		a := r.log.Archive(topic)
		synctest.Wait()
		require.Len(t, p.all(), 1)
		require.NoError(t, r.box.Fetched(1, []common.Hash{a}, false))
		time.Sleep(time.Hour)
		require.Len(t, p.all(), 1)

		// Seen before it was matched: the sender's own message.
		next := memlog.Hash(r.log.Last() + 1)
		_, err := r.box.Seen(1, nil, []common.Hash{next})
		require.NoError(t, err)
		require.Equal(t, next, r.log.Archive(topic))
		time.Sleep(time.Hour)
		require.Len(t, p.all(), 1)
		require.Equal(t, 1.0, outcomes(r, "seen", "before_match"))
	})
}

func TestBackoffAndSequence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &scripted{name: "fcm"}
		r := newRig(t, Delivery{}, p)
		topic := r.device(1, "fcm token-1")
		r.start()
		defer r.stop()

		p.set(func(context.Context, pushext.Notification) pushext.Verdict {
			if len(p.all()) < 7 {
				return pushext.Verdict{Class: pushext.Retry, Reason: "fcm 503"}
			}
			return pushext.Verdict{Class: pushext.Delivered}
		})
		r.log.Archive(topic)
		time.Sleep(time.Hour)
		got := p.all()
		require.Len(t, got, 8)
		for i, pause := range []time.Duration{1, 2, 4, 4, 8, 16, 32} {
			pause *= time.Second
			gap := got[i+1].At.Sub(got[i].At)
			require.LessOrEqual(t, gap, pause, "attempt %d", i+1)
			require.GreaterOrEqual(t, gap, pause*3/4, "attempt %d", i+1)
			require.Equal(t, got[0].Payload, got[i+1].Payload, "same content, same number")
			require.Equal(t, got[0].ID, got[i+1].ID)
		}
		require.Equal(t, pushext.Delivered, got[7].Class)
		require.Equal(t, 1.0, r.metric("late_total", "provider", "fcm", "cause", causeProvider))
	})
}

func TestRetryAtPausesTheLaneUntilThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &scripted{name: "fcm"}
		other := &scripted{name: "pushy"}
		r := newRig(t, Delivery{}, p, other)
		one, two, three := r.device(1, "fcm token-1"), r.device(2, "fcm token-2"), r.device(3, "pushy token-3")
		r.start()
		defer r.stop()

		at := time.Now().Add(37 * time.Second)
		p.always(pushext.Verdict{Class: pushext.RetryAt, Scope: pushext.ScopeProvider, At: at, Reason: "fcm 429"})
		r.log.Archive(one)
		synctest.Wait()
		r.log.Archive(two)
		r.log.Archive(three)
		p.set(nil)
		synctest.Wait()
		require.Len(t, p.all(), 1)
		require.Len(t, other.all(), 1, "another provider goes on")
		time.Sleep(36 * time.Second)
		require.Len(t, p.all(), 1)
		time.Sleep(2 * time.Second)
		got := p.all()
		require.Len(t, got, 3)
		require.Equal(t, at, got[1].At)
	})
}

func TestBrokenProviderPausesItsLaneAndIsProbed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &scripted{name: "fcm"}
		r := newRig(t, Delivery{}, p)
		var topics [20][4]byte
		for i := range topics {
			topics[i] = r.device(registration.ID(i+1), fmt.Sprintf("fcm token-%d", i+1))
		}
		r.start()
		defer r.stop()

		p.always(pushext.Verdict{Class: pushext.ProviderBroken, Reason: "fcm 401"})
		r.log.Archive(topics[0])
		synctest.Wait()
		for _, topic := range topics[1:] {
			r.log.Archive(topic)
		}
		time.Sleep(10 * time.Minute)
		got := p.all()
		require.Greater(t, len(got), 10)
		require.Less(t, len(got), 25, "one probe at a time, with growing pauses")
		p.set(nil)
		time.Sleep(time.Minute)
		delivered := make(map[string]int)
		for _, one := range p.all() {
			if one.Class == pushext.Delivered {
				delivered[one.Address.Token]++
			}
		}
		require.Len(t, delivered, 20)
		for token, n := range delivered {
			require.Equal(t, 1, n, token)
		}
	})
}

func TestOneHangingLaneHoldsBackNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hooks := &scripted{name: "webhook"}
		p := &scripted{name: "fcm"}
		hooks.set(func(ctx context.Context, n pushext.Notification) pushext.Verdict {
			if len(n.Address.Token) > 4 && n.Address.Token[:4] == "hang" {
				<-ctx.Done()
				return pushext.Verdict{Class: pushext.Retry, Reason: "webhook timeout"}
			}
			return pushext.Verdict{Class: pushext.Delivered}
		})
		r := newRig(t, Delivery{}, hosted{hooks}, p)
		var hanging [][4]byte
		for i := range 100 {
			hanging = append(hanging, r.device(registration.ID(100+i), fmt.Sprintf("webhook hang/%d", i)))
		}
		fine, fcm := r.device(1, "webhook fine/1"), r.device(2, "fcm token")
		r.start()
		defer r.stop()
		for _, topic := range hanging {
			r.log.Archive(topic)
		}
		synctest.Wait()
		for range 10 {
			begin := time.Now()
			a, b := r.log.Archive(fine), r.log.Archive(fcm)
			synctest.Wait()
			got := hooks.to("fine/1")
			require.Equal(t, []common.Hash{a}, got[len(got)-1].Payload.Hashes)
			require.Equal(t, begin, got[len(got)-1].At)
			got = p.all()
			require.Equal(t, begin, got[len(got)-1].At)
			require.NoError(t, r.box.Fetched(1, []common.Hash{a}, false))
			require.NoError(t, r.box.Fetched(2, []common.Hash{b}, false))
			time.Sleep(13 * time.Second)
		}
	})
}

func TestCoalescing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &scripted{name: "fcm"}
		p.set(func(context.Context, pushext.Notification) pushext.Verdict {
			time.Sleep(time.Second)
			return pushext.Verdict{Class: pushext.Delivered}
		})
		r := newRig(t, Delivery{}, p)
		topic := r.device(1, "fcm token-1")
		r.start()
		defer r.stop()
		var hashes []common.Hash
		for range 10 {
			hashes = append([]common.Hash{r.log.Archive(topic)}, hashes...)
			synctest.Wait()
		}
		time.Sleep(10 * time.Second)
		got := p.all()
		require.Len(t, got, 2, "the first, and one more for all that came while it was in flight")
		require.Equal(t, hashes, got[1].Payload.Hashes)
		require.Equal(t, 1, p.worst)
	})
}

func TestMoreThanFit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &scripted{name: "fcm"}
		r := newRig(t, Delivery{SilentAfter: -1, Budget: pushext.Budget{Burst: 1000}}, p)
		topic := r.device(1, "fcm token-1")
		r.start()
		defer r.stop()
		var last common.Hash
		for range remembered + 10 {
			last = r.log.Archive(topic)
			synctest.Wait()
		}
		got := p.all()
		require.Len(t, got, remembered+10)
		require.False(t, got[pushwire.MaxHashes-1].Payload.More)
		require.True(t, got[pushwire.MaxHashes].Payload.More)
		end := got[len(got)-1].Payload
		require.Len(t, end.Hashes, pushwire.MaxHashes)
		require.Equal(t, last, end.Hashes[0])
		require.Equal(t, uint64(remembered+10), end.Seq)
		require.Equal(t, 10.0, outcomes(r, "overflow", "overflow"))
	})
}

func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &scripted{name: "fcm"}
		r := newRig(t, Delivery{SilentAfter: -1, Budget: pushext.Budget{Burst: 20, Every: 3 * time.Minute}}, p)
		topic := r.device(1, "fcm token-1")
		r.start()
		defer r.stop()
		for range 60 { // a minute of one a second
			r.log.Archive(topic)
			time.Sleep(time.Second)
		}
		require.Len(t, p.all(), 20)
		time.Sleep(3 * time.Minute)
		got := p.all()
		require.Len(t, got, 21, "the rest in one")
		require.True(t, got[20].Payload.More)
		require.Equal(t, 3*time.Minute, got[20].At.Sub(got[0].At).Round(time.Second))
	})
}

func TestSilenceUntilASignOfLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &scripted{name: "fcm"}
		r := newRig(t, Delivery{SilentAfter: 5, TTL: 10 * time.Hour}, p)
		topic := r.device(1, "fcm token-1")
		r.start()
		defer r.stop()
		for range 10 {
			r.log.Archive(topic)
			time.Sleep(time.Minute)
		}
		require.Len(t, p.all(), 5)
		s, err := r.box.Status(1)
		require.NoError(t, err)
		require.True(t, s.Silenced)
		require.Equal(t, 5, s.Pending)

		require.NoError(t, r.box.Renewed(1))
		synctest.Wait()
		got := p.all()
		require.Len(t, got, 6)
		require.Len(t, got[5].Payload.Hashes, 10)

		require.NoError(t, r.box.Fetched(1, got[5].Payload.Hashes, false))
		r.log.Archive(topic)
		synctest.Wait()
		require.Len(t, p.all(), 7)
	})
}

func TestMessageBadEndsWithItsReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &scripted{name: "fcm"}
		r := newRig(t, Delivery{}, p)
		topic := r.device(1, "fcm token-1")
		r.start()
		defer r.stop()
		p.always(pushext.Verdict{Class: pushext.MessageBad, Reason: "fcm 400 payload"})
		r.log.Archive(topic)
		time.Sleep(time.Hour)
		require.Len(t, p.all(), 1)
		require.Equal(t, 1.0, outcomes(r, "undeliverable", "fcm 400 payload"))
		s, err := r.box.Status(1)
		require.NoError(t, err)
		require.Equal(t, outbox.Status{Seq: 1, Lost: 1, Reason: "fcm 400 payload"}, s)
		p.set(nil)
		r.log.Archive(topic)
		synctest.Wait()
		got := p.all()
		require.Len(t, got, 2)
		require.True(t, got[1].Payload.More, "the device is told that there was more")
	})
}

func TestProviderPanicIsARetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &scripted{name: "fcm"}
		r := newRig(t, Delivery{}, p)
		topic := r.device(1, "fcm token-1")
		r.start()
		defer r.stop()
		p.set(func(_ context.Context, n pushext.Notification) pushext.Verdict { panic(n.Address.Token) })
		r.log.Archive(topic)
		synctest.Wait()
		p.set(nil)
		time.Sleep(2 * time.Second)
		require.Len(t, p.all(), 1)
		require.NotContains(t, r.out.String(), "token-1")
	})
}

func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &scripted{name: "fcm"}
		r := newRig(t, Delivery{TTL: time.Hour}, p)
		one, two := r.device(1, "fcm token-1"), r.device(2, "fcm token-2")
		r.start()
		defer r.stop()
		p.set(func(_ context.Context, n pushext.Notification) pushext.Verdict {
			if n.Address.Token == "token-1" {
				return pushext.Verdict{Class: pushext.Delivered}
			}
			return pushext.Verdict{Class: pushext.Retry, Reason: "fcm 500"}
		})
		r.log.Archive(one)
		r.log.Archive(two)
		time.Sleep(time.Hour + time.Minute)
		require.NoError(t, r.box.Sweep(t.Context(), time.Now(), r.dir.Absent))
		require.Equal(t, 1.0, outcomes(r, "expired", "unfetched"))
		require.Equal(t, 1.0, outcomes(r, "expired", "unsent"))
		n := len(p.to("token-2"))
		time.Sleep(time.Hour)
		require.LessOrEqual(t, len(p.to("token-2")), n, "no push for what expired")
	})
}

func TestChallengeIsSentOnceAndAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &scripted{name: "fcm"}
		r := newRig(t, Delivery{}, p)
		topic := r.device(1, "fcm token-1")
		r.dir.edit(1, func(reg *registration.Registration) { reg.State, reg.Routes[0].Proven = registration.Waiting, false })
		r.start()
		defer r.stop()
		code := [pushwire.CodeSize]byte{9}
		r.challenge(1, 0, code)
		r.log.Archive(topic)
		// Even if something matched, as for one that proves a new address:
		require.NoError(t, r.box.Match(t.Context(), []outbox.Match{{ID: 1, Hash: memlog.Hash(77), At: time.Now()}}, 0, time.Now()))
		time.Sleep(time.Hour)
		got := p.all()
		require.Len(t, got, 1)
		require.Equal(t, pushwire.Payload{Kind: pushwire.Challenge, Hashes: got[0].Payload.Hashes, Code: code[:], Server: make([]byte, 33), Account: make([]byte, 33)}, got[0].Payload)
		require.False(t, got[0].Visible)

		// What matched waits for the proof.
		r.dir.edit(1, func(reg *registration.Registration) { reg.State, reg.Routes[0].Proven = registration.Active, true })
		require.NoError(t, r.box.Renewed(1))
		synctest.Wait()
		require.Equal(t, []common.Hash{memlog.Hash(77)}, p.all()[1].Payload.Hashes)
	})
}

func TestChallengeIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &scripted{name: "fcm"}
		r := newRig(t, Delivery{}, p)
		r.device(1, "fcm token-1")
		r.dir.edit(1, func(reg *registration.Registration) { reg.State, reg.Routes[0].Proven = registration.Waiting, false })
		r.start()
		defer r.stop()
		p.always(pushext.Verdict{Class: pushext.Retry, Reason: "fcm 500"})
		r.challenge(1, 0, [pushwire.CodeSize]byte{})
		time.Sleep(time.Hour)
		got := p.all()
		require.Len(t, got, sideAttempts)
		require.Equal(t, got[0].ID, got[2].ID, "a repetition can be told")
		require.Equal(t, []pushext.Class{pushext.Retry}, r.dir.ended(), "told once")

		// One that waits while its device registers another address goes nowhere.
		r.challenge(1, 0, [pushwire.CodeSize]byte{1})
		synctest.Wait()
		r.dir.edit(1, func(reg *registration.Registration) {
			reg.Routes = []registration.Route{{Provider: "fcm", Address: pushext.Address{Token: "token-2"}}}
		})
		p.set(nil)
		time.Sleep(time.Hour)
		require.Len(t, p.to("token-1"), sideAttempts+1)
		require.Empty(t, p.to("token-2"))
		require.Equal(t, []pushext.Class{pushext.Retry, pushext.Retry}, r.dir.ended())
	})
}

func TestSeenDismissesOnTheOthersOfAGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &scripted{name: "fcm"}
		r := newRig(t, Delivery{}, p)
		r.device(1, "fcm phone")
		r.device(2, "fcm desktop")
		r.device(3, "fcm tablet")
		r.start()
		defer r.stop()
		a := memlog.Hash(1000)
		all := []outbox.Match{{ID: 1, Hash: a, At: time.Now()}, {ID: 2, Hash: a, At: time.Now()}, {ID: 3, Hash: a, At: time.Now()}}
		p.set(func(_ context.Context, n pushext.Notification) pushext.Verdict {
			if n.Address.Token == "tablet" {
				return pushext.Verdict{Class: pushext.Retry, Reason: "fcm 500"}
			}
			return pushext.Verdict{Class: pushext.Delivered}
		})
		require.NoError(t, r.box.Match(t.Context(), all, 1, time.Now()))
		synctest.Wait()
		require.NoError(t, r.box.Fetched(1, []common.Hash{a}, true))
		p.set(nil)

		shown, err := r.box.Seen(2, []registration.ID{1, 2, 3}, []common.Hash{a})
		require.NoError(t, err)
		require.Equal(t, map[registration.ID][]common.Hash{1: {a}}, shown, "the phone fetched it, the tablet was never woken")
		for id, hashes := range shown {
			r.dispatcher.Dismiss(id, hashes)
		}
		time.Sleep(time.Minute)
		got := p.to("phone")
		require.Len(t, got, 2)
		require.Equal(t, pushwire.Dismiss, got[1].Payload.Kind)
		require.Equal(t, []common.Hash{a}, got[1].Payload.Hashes)
		require.False(t, got[1].Urgent)
		require.NotEqual(t, got[0].CollapseID, got[1].CollapseID, "it must not replace a wake-up that waits")
		require.Len(t, p.to("tablet"), 1, "cancelled")
		shown, err = r.box.Seen(2, []registration.ID{1, 2, 3}, []common.Hash{a})
		require.NoError(t, err)
		require.Empty(t, shown, "once")
	})
}
