package dispatch

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushwire"
)

// window is when something is to happen: not before the first, not after the
// second. nil is never.
type window []time.Duration

func at(d time.Duration) window { return window{d, d} }

// about is a pause with the jitter of backoff.
func about(d time.Duration) window { return window{d * 3 / 4, d} }

func (w window) check(t *testing.T, since time.Time, pushes []push, what string) {
	t.Helper()
	if w == nil {
		require.Empty(t, pushes, "%s: never", what)
		return
	}
	require.NotEmpty(t, pushes, "%s: after %v", what, w[0])
	after := pushes[0].At.Sub(since)
	require.GreaterOrEqual(t, after, w[0], what)
	require.LessOrEqual(t, after, w[1], what)
}

// TestVerdicts is what each verdict about a wake-up does to the registration, to
// its job and to the lane that it shares with others. The provider delivers to a
// neighbour, a minute later says the verdict to the device, and is asked to wake
// the neighbour again one second after that.
func TestVerdicts(t *testing.T) {
	const second = time.Second
	for name, row := range map[string]struct {
		class  pushext.Class
		scope  pushext.Scope
		at     time.Duration // of Verdict.At, after the attempt; 0 is that it is not said
		always bool          // it is said of this device whenever it is tried
		alone  bool          // the neighbour is not there: nobody else is served

		state registration.State
		again window // the device's next attempt, after the first
		lane  window // the neighbour's, after the first
		lost  string // why the match ends without a wake-up
	}{
		"delivered": {class: pushext.Delivered, lane: at(second)},

		// Of this device alone, while nobody else fails.
		"retry":                       {class: pushext.Retry, again: about(second), lane: at(second)},
		"retry at a time":             {class: pushext.Retry, at: 37 * second, again: at(37 * second), lane: at(second)},
		"retry at a time that passed": {class: pushext.Retry, at: -time.Hour, again: about(second), lane: at(second)},
		"retry in ten days":           {class: pushext.Retry, at: 240 * time.Hour, again: at(maxPause), lane: at(second)},

		"retry_at":                                   {class: pushext.RetryAt, at: 37 * second, again: at(37 * second), lane: at(second)},
		"retry_at without a time":                    {class: pushext.RetryAt, again: about(second), lane: at(second)},
		"retry_at a time that passed":                {class: pushext.RetryAt, at: -time.Hour, again: about(second), lane: at(second)},
		"retry_at in ten days":                       {class: pushext.RetryAt, at: 240 * time.Hour, again: at(maxPause), lane: at(second)},
		"retry_at always":                            {class: pushext.RetryAt, at: 37 * second, always: true, again: at(37 * second), lane: at(second)},
		"provider_broken, as it says of this device": {class: pushext.ProviderBroken, scope: pushext.ScopeAddress, always: true, again: about(second), lane: at(second)},

		// Of the provider, which has one lane.
		"retry_at, of the host":               {class: pushext.RetryAt, scope: pushext.ScopeHost, at: 37 * second, again: at(37 * second), lane: at(37 * second)},
		"retry_at, of all":                    {class: pushext.RetryAt, scope: pushext.ScopeProvider, at: 37 * second, again: at(37 * second), lane: at(37 * second)},
		"retry_at without a time, of all":     {class: pushext.RetryAt, scope: pushext.ScopeProvider, again: about(second), lane: window{second, second}},
		"retry_at a time that passed, of all": {class: pushext.RetryAt, scope: pushext.ScopeProvider, at: -time.Hour, again: about(second), lane: at(second)},
		"retry_at now, of all":                {class: pushext.RetryAt, scope: pushext.ScopeProvider, at: 1, again: window{0, second}, lane: at(second)},
		"retry_at in ten days, of all":        {class: pushext.RetryAt, scope: pushext.ScopeProvider, at: 240 * time.Hour, again: at(maxPause), lane: at(maxPause)},
		"provider_broken":                     {class: pushext.ProviderBroken, again: about(second), lane: at(second)},

		// Said of all, and true of this device alone: others get their turn.
		"retry_at, of all, for this device always": {class: pushext.RetryAt, scope: pushext.ScopeProvider, at: 37 * second, always: true, again: at(37 * second), lane: at(74 * second)},
		"provider_broken, for this device always":  {class: pushext.ProviderBroken, always: true, again: about(second), lane: window{second, 7 * second}},

		"message_bad": {class: pushext.MessageBad, lane: at(second), lost: "the verdict"},

		"absent": {class: pushext.Absent, again: at(absentPause), lane: at(second)},

		// Only this ends a registration, and only if it is said twice or with a
		// time after the registration, while the provider serves others.
		"token_dead, once":                                 {class: pushext.TokenDead, again: about(30 * second), lane: at(second)},
		"token_dead, twice":                                {class: pushext.TokenDead, always: true, state: registration.Dead, lost: "the verdict", again: about(30 * second), lane: at(second)},
		"token_dead, twice, nobody served":                 {class: pushext.TokenDead, always: true, alone: true, again: about(30 * second)},
		"token_dead, since a time":                         {class: pushext.TokenDead, at: -second, state: registration.Dead, lost: "the verdict", lane: at(second)},
		"token_dead, since a time, nobody served":          {class: pushext.TokenDead, at: -second, alone: true, again: about(30 * second)},
		"token_dead, since before it registered":           {class: pushext.TokenDead, at: -time.Hour, again: about(30 * second), lane: at(second)},
		"token_dead, since before it registered, repeated": {class: pushext.TokenDead, at: -time.Hour, always: true, again: about(30 * second), lane: at(second)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if row.state == registration.Waiting {
					row.state = registration.Active
				}
				p := &scripted{name: "fcm"}
				r := newRig(t, Delivery{}, p)
				device, neighbour := r.device(1, "fcm token"), r.device(2, "fcm neighbour")
				r.start()
				defer r.stop()
				if !row.alone {
					r.log.Archive(neighbour)
				}
				time.Sleep(time.Minute)

				p.set(func(_ context.Context, n pushext.Notification) pushext.Verdict {
					if n.Address.Token != "token" || len(p.to("token")) > 0 && !row.always {
						return pushext.Verdict{Class: pushext.Delivered}
					}
					v := pushext.Verdict{Class: row.class, Scope: row.scope, Reason: "the verdict"}
					if row.at != 0 {
						v.At = time.Now().Add(row.at)
					}
					return v
				})
				began := time.Now()
				r.log.Archive(device)
				time.Sleep(second)
				if !row.alone {
					r.log.Archive(neighbour)
				}
				time.Sleep(8 * time.Hour)

				reg, _ := r.dir.Get(1)
				require.Equal(t, row.state, reg.State)
				got := p.to("token")
				at(0).check(t, began, got, "the device")
				row.again.check(t, began, got[1:], "the device again")
				if !row.alone {
					row.lane.check(t, began, p.to("neighbour")[1:], "the neighbour")
				}
				if reg.State == registration.Dead {
					require.Equal(t, "the verdict", reg.Reason)
					require.Equal(t, 1.0, outcomes(r, "dead", "the verdict"))
					require.LessOrEqual(t, len(got), 2, "and never again")
				}
				s, err := r.box.Status(1)
				require.NoError(t, err)
				require.Equal(t, row.lost, s.Reason)
				require.Less(t, len(got), 1000, "no verdict makes a loop")
			})
		})
	}
}

// TestScopes is how far a verdict of one host's device reaches where users name the
// hosts: to another device of the host, and to one of another host. said is how
// many devices of the host were told the same.
func TestScopes(t *testing.T) {
	const second, minute, never = time.Second, time.Minute, 240 * time.Hour
	for name, row := range map[string]struct {
		verdict          pushext.Verdict
		after            time.Duration // of Verdict.At
		said             int
		neighbour, else_ window
	}{
		"one device throttled":         {pushext.Verdict{Class: pushext.RetryAt}, 37 * second, 1, at(0), at(0)},
		"one device's host, it says":   {pushext.Verdict{Class: pushext.RetryAt, Scope: pushext.ScopeHost}, never, 1, at(0), at(0)},
		"five devices throttled":       {pushext.Verdict{Class: pushext.RetryAt}, 37 * second, breakerThreshold, at(37 * second), at(0)},
		"five devices of a host":       {pushext.Verdict{Class: pushext.RetryAt, Scope: pushext.ScopeHost}, 37 * second, breakerThreshold, at(37 * second), at(0)},
		"five, for ten days":           {pushext.Verdict{Class: pushext.RetryAt, Scope: pushext.ScopeHost}, never, breakerThreshold, at(minute), at(0)},
		"five, without a time":         {pushext.Verdict{Class: pushext.RetryAt}, 0, breakerThreshold, about(second), at(0)},
		"five failed":                  {pushext.Verdict{Class: pushext.Retry}, 0, breakerThreshold, about(second), at(0)},
		"broken, one host":             {pushext.Verdict{Class: pushext.ProviderBroken}, 0, 1, about(second), at(0)},
		"broken, this device":          {pushext.Verdict{Class: pushext.ProviderBroken, Scope: pushext.ScopeAddress}, 0, 1, at(0), at(0)},
		"broken, the provider":         {pushext.Verdict{Class: pushext.ProviderBroken, Scope: pushext.ScopeProvider}, 0, 1, about(second), about(second)},
		"throttled, the provider":      {pushext.Verdict{Class: pushext.RetryAt, Scope: pushext.ScopeProvider}, 37 * second, 1, at(37 * second), at(37 * second)},
		"dead, whatever scope it says": {pushext.Verdict{Class: pushext.TokenDead, Scope: pushext.ScopeProvider}, 0, 1, at(0), at(0)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := hosted{&scripted{name: "webhook"}}
				r := newRig(t, Delivery{}, p)
				neighbour, other := r.device(1, "webhook a/neighbour"), r.device(2, "webhook b/other")
				r.start()
				defer r.stop()
				row.verdict.Reason = "the verdict"
				if row.after != 0 {
					row.verdict.At = time.Now().Add(row.after)
				}
				p.always(row.verdict)
				for i := range row.said {
					r.log.Archive(r.device(registration.ID(10+i), fmt.Sprintf("webhook a/%d", i)))
					synctest.Wait()
				}
				require.Len(t, p.all(), row.said)
				p.set(nil)
				began := time.Now()
				r.log.Archive(neighbour)
				r.log.Archive(other)
				time.Sleep(time.Hour)
				row.neighbour.check(t, began, p.to("a/neighbour"), "of the same host")
				row.else_.check(t, began, p.to("b/other"), "of another host")
			})
		})
	}
}

// A success in between says that it is not the lane.
func TestThrottledDevicesAmongOthersPauseNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &scripted{name: "fcm"}
		r := newRig(t, Delivery{}, p)
		fine := r.device(1, "fcm fine")
		r.start()
		defer r.stop()
		p.set(func(_ context.Context, n pushext.Notification) pushext.Verdict {
			if n.Address.Token != "fine" {
				return pushext.Verdict{Class: pushext.RetryAt, At: time.Now().Add(time.Hour), Reason: "fcm 429"}
			}
			return pushext.Verdict{Class: pushext.Delivered}
		})
		for i := range 10 * breakerThreshold {
			r.log.Archive(r.device(registration.ID(10+i), "fcm throttled"))
			synctest.Wait()
			if i%(breakerThreshold-1) == 0 {
				before := len(p.to("fine"))
				require.NoError(t, r.box.Renewed(1))
				r.log.Archive(fine)
				synctest.Wait()
				require.Len(t, p.to("fine"), before+1)
			}
		}
	})
}

// TestFiveFailuresPauseALane shows how a lane without a word about pauses gets one.
func TestFiveFailuresPauseALane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &scripted{name: "fcm"}
		r := newRig(t, Delivery{}, p)
		var failing [breakerThreshold][4]byte
		for i := range failing {
			failing[i] = r.device(registration.ID(10+i), "fcm failing")
		}
		neighbour := r.device(1, "fcm neighbour")
		r.start()
		defer r.stop()
		p.always(pushext.Verdict{Class: pushext.Retry, Reason: "fcm 503"})
		for i, topic := range failing {
			r.log.Archive(topic)
			synctest.Wait()
			require.Len(t, p.all(), i+1)
		}
		began := time.Now()
		p.set(nil)
		r.log.Archive(neighbour)
		time.Sleep(time.Minute)
		about(time.Second).check(t, began, p.to("neighbour"), "the neighbour")
	})
}

// TestVerdictsOfAChallenge is what each verdict about a challenge does: to a
// registration that has nothing else, and to one that is reached otherwise.
func TestVerdictsOfAChallenge(t *testing.T) {
	for name, row := range map[string]struct {
		verdict pushext.Verdict
		tries   int
		alone   registration.State // of a registration that has only this route
		frozen  registration.State // of that, while the mass-deletion gate is frozen
	}{
		"delivered":       {pushext.Verdict{Class: pushext.Delivered}, 1, registration.Waiting, registration.Waiting},
		"retry":           {pushext.Verdict{Class: pushext.Retry}, sideAttempts, registration.Waiting, registration.Waiting},
		"retry_at":        {pushext.Verdict{Class: pushext.RetryAt}, sideAttempts, registration.Waiting, registration.Waiting},
		"provider_broken": {pushext.Verdict{Class: pushext.ProviderBroken}, sideAttempts, registration.Waiting, registration.Waiting},
		"message_bad":     {pushext.Verdict{Class: pushext.MessageBad}, 1, registration.Waiting, registration.Waiting},
		"absent":          {pushext.Verdict{Class: pushext.Absent}, 1, registration.Waiting, registration.Waiting},
		"token_dead":      {pushext.Verdict{Class: pushext.TokenDead}, 1, registration.Dead, registration.Waiting},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				row.verdict.Reason = "the verdict"
				p, other := &scripted{name: "fcm"}, &scripted{name: "pushy"}
				r := newRig(t, Delivery{}, p, other)
				r.device(1, "fcm alone")
				r.dir.edit(1, func(reg *registration.Registration) { reg.State, reg.Routes[0].Proven = registration.Waiting, false })
				reached := r.device(2, "pushy token", "fcm second")
				r.dir.edit(2, func(reg *registration.Registration) { reg.Routes[1].Proven = false })
				r.device(3, "fcm frozen")
				r.dir.edit(3, func(reg *registration.Registration) { reg.State, reg.Routes[0].Proven = registration.Waiting, false })
				r.start()
				defer r.stop()
				p.always(row.verdict)
				code := [pushwire.CodeSize]byte{}
				r.challenge(1, 0, code)
				r.challenge(2, 1, code)
				time.Sleep(time.Hour)
				require.Len(t, p.to("alone"), row.tries)
				require.Len(t, p.to("second"), row.tries)
				reg, _ := r.dir.Get(1)
				require.Equal(t, row.alone, reg.State)
				reg, _ = r.dir.Get(2)
				require.Equal(t, registration.Active, reg.State, "another route is proven")
				r.log.Archive(reached)
				synctest.Wait()
				require.Len(t, other.to("token"), 1)

				r.dispatcher.mu.Lock()
				gate := &r.dispatcher.lanes[registration.Lane{Provider: "fcm"}].gate
				require.Empty(t, gate.dead, "a stranger's address is none that worked")
				for id := range registration.ID(gateFloor + 1) {
					gate.verdict(time.Now(), 100+id)
				}
				gate.frozen = true
				r.dispatcher.mu.Unlock()
				r.challenge(3, 0, code)
				time.Sleep(time.Minute)
				reg, _ = r.dir.Get(3)
				require.Equal(t, row.frozen, reg.State)
			})
		})
	}
}
