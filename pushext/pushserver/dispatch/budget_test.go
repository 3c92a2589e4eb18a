package dispatch

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushwire"
)

// apple is a scripted provider with a quiet budget.
type apple struct{ *scripted }

func (apple) Quiet() pushext.Budget { return pushext.Budget{Burst: 2, Every: 30 * time.Minute} }

// kinds lists what was pushed.
func kinds(pushes []push) (of []pushwire.Kind) {
	for _, p := range pushes {
		of = append(of, p.Payload.Kind)
	}
	return of
}

func TestQuietBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &scripted{name: "apns"}
		other := &scripted{name: "fcm"}
		r := newRig(t, Delivery{}, apple{p}, other)
		topic := r.device(1, "apns token")
		r.device(2, "apns another")
		r.device(3, "fcm token")
		r.dir.edit(1, func(reg *registration.Registration) {
			reg.Routes = append(reg.Routes, registration.Route{Provider: "apns", Address: pushext.Address{Token: "new"}})
		})
		r.start()
		defer r.stop()
		began := time.Now()

		// A challenge and a dismissal fit.
		r.challenge(1, 1, [pushwire.CodeSize]byte{})
		time.Sleep(time.Minute)
		r.dispatcher.Dismiss(1, []common.Hash{{1}})
		synctest.Wait()
		require.Equal(t, []pushwire.Kind{pushwire.Challenge, pushwire.Dismiss}, kinds(p.all()))

		// Then dismissals wait and become one.
		for i := range 5 {
			time.Sleep(time.Minute)
			r.dispatcher.Dismiss(1, []common.Hash{{10 + byte(i)}})
		}
		synctest.Wait()
		require.Len(t, p.all(), 2)

		// What is to be seen does not wait, and neither does anybody else.
		hash := r.log.Archive(topic)
		r.dispatcher.Dismiss(2, []common.Hash{{2}})
		for i := range 10 {
			r.dispatcher.Dismiss(3, []common.Hash{{byte(i)}})
			synctest.Wait()
		}
		got := p.to("token")
		require.Len(t, got, 2)
		require.Equal(t, []common.Hash{hash}, got[1].Payload.Hashes)
		require.Equal(t, time.Now(), got[1].At)
		require.Zero(t, r.metric("late_total", "provider", "apns", "cause", causeQuiet))
		require.Len(t, p.to("another"), 1)
		require.Len(t, other.all(), 10, "without a quiet budget")

		// A fetch does not let it out either.
		require.NoError(t, r.box.Fetched(1, []common.Hash{hash}, false))
		synctest.Wait()
		require.Len(t, p.to("token"), 2)

		// A challenge, for which somebody waits, is sent at once, and counts.
		r.challenge(1, 1, [pushwire.CodeSize]byte{})
		synctest.Wait()
		require.Len(t, p.to("new"), 2)
		time.Sleep(time.Until(began.Add(30*time.Minute - 1)))
		require.Len(t, p.to("token"), 2)
		time.Sleep(2 * time.Hour)
		got = p.to("token")
		require.Len(t, got, 3)
		require.Equal(t, []common.Hash{{10}, {11}, {12}, {13}, {14}}, got[2].Payload.Hashes, "all in one")
		require.Equal(t, time.Hour, got[2].At.Sub(began).Round(time.Second), "one was spent for the second challenge")
	})
}

// TestQuietBudgetInAnyHour dismisses more often than a phone is to be woken for it.
func TestQuietBudgetInAnyHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &scripted{name: "apns"}
		r := newRig(t, Delivery{}, apple{p})
		r.device(1, "apns token")
		r.start()
		defer r.stop()
		for i := range 6 * 60 {
			r.dispatcher.Dismiss(1, []common.Hash{{byte(i), byte(i >> 8)}})
			time.Sleep(time.Minute)
		}
		got := p.all()
		require.GreaterOrEqual(t, len(got), 2*6, "two in an hour are sent")
		for i := range got[3:] {
			require.GreaterOrEqual(t, got[i+3].At.Sub(got[i].At), time.Hour, "three in an hour are not exceeded")
		}
	})
}

// TestDismissalReplacesNoWakeUp is for services that keep one notification.
func TestDismissalReplacesNoWakeUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &scripted{name: "apns"}
		r := newRig(t, Delivery{SilentAfter: -1, TTL: 100 * time.Hour}, apple{p})
		topic := r.device(1, "apns token")
		r.start()
		defer r.stop()
		a := r.log.Archive(topic)
		synctest.Wait()
		r.dispatcher.Dismiss(1, []common.Hash{{1}})
		time.Sleep(10 * time.Hour)
		require.Equal(t, []pushwire.Kind{pushwire.Messages}, kinds(p.all()), "it may wait for the device")
		require.NoError(t, r.box.Fetched(1, []common.Hash{a}, false))
		synctest.Wait()
		got := p.all()
		require.Equal(t, []pushwire.Kind{pushwire.Messages, pushwire.Dismiss}, kinds(got))
		require.Equal(t, time.Now(), got[1].At)
	})
}

// TestQuietBudgetForgets checks that devices cost memory only while their budget is not full.
func TestQuietBudgetForgets(t *testing.T) {
	now := time.Unix(1e9, 0)
	q := newQuieted(apple{})
	for i := range registration.ID(100 * sweepQuieted) {
		q.take(now.Add(time.Duration(i)*time.Second), i)
		require.LessOrEqual(t, len(q.spent), 3*1800, "of the last half hour, and as many again")
	}
	none := newQuieted(&scripted{})
	none.take(now, 1)
	require.Empty(t, none.spent)
	require.Zero(t, none.wait(now, 1))
}
