package dispatch

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/registration"
)

func deadToken(context.Context, pushext.Notification) pushext.Verdict {
	return pushext.Verdict{Class: pushext.TokenDead, Reason: "fcm 404 UNREGISTERED"}
}

func TestDeadTokenEndsTheRegistrationIfTheProviderWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &scripted{name: "fcm"}
		r := newRig(t, Delivery{}, p)
		gone, fine := r.device(1, "fcm gone"), r.device(2, "fcm fine")
		r.start()
		defer r.stop()
		p.set(func(ctx context.Context, n pushext.Notification) pushext.Verdict {
			if n.Address.Token == "gone" {
				return deadToken(ctx, n)
			}
			return pushext.Verdict{Class: pushext.Delivered}
		})
		r.log.Archive(fine)
		r.log.Archive(gone)
		synctest.Wait()
		reg, _ := r.dir.Get(1)
		require.Equal(t, registration.Active, reg.State, "said once, without a time: not yet")
		time.Sleep(time.Second)
		r.log.Archive(fine)
		time.Sleep(30 * time.Second)
		reg, _ = r.dir.Get(1)
		require.Equal(t, registration.Dead, reg.State)
		require.Equal(t, "fcm 404 UNREGISTERED", reg.Reason)
		require.Equal(t, 1.0, outcomes(r, "dead", "fcm 404 UNREGISTERED"))
		n := len(p.to("gone"))
		time.Sleep(time.Hour)
		require.Len(t, p.to("gone"), n)
	})
}

func TestDeadVerdictWithATime(t *testing.T) {
	for name, tc := range map[string]struct {
		after time.Duration // of the verdict's time, since the registration
		want  registration.State
	}{
		"died after it registered":             {time.Minute, registration.Dead},
		"died before it registered, once more": {-time.Minute, registration.Active},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &scripted{name: "apns"}
				r := newRig(t, Delivery{}, p)
				topic, fine := r.device(1, "apns token"), r.device(2, "apns fine")
				reg, _ := r.dir.Get(1)
				at := reg.Registered.Add(tc.after)
				r.start()
				defer r.stop()
				time.Sleep(time.Hour)
				p.set(func(_ context.Context, n pushext.Notification) pushext.Verdict {
					if n.Address.Token == "token" {
						return pushext.Verdict{Class: pushext.TokenDead, At: at, Reason: "apns 410"}
					}
					return pushext.Verdict{Class: pushext.Delivered}
				})
				r.log.Archive(fine)
				synctest.Wait()
				r.log.Archive(topic)
				synctest.Wait()
				reg, _ = r.dir.Get(1)
				require.Equal(t, tc.want, reg.State)
				if tc.want == registration.Active {
					r.log.Archive(fine)
					time.Sleep(time.Hour)
					reg, _ = r.dir.Get(1)
					require.Equal(t, registration.Active, reg.State)
				}
			})
		})
	}
}

// The outage of FAULTS 28: a provider that worked calls every token dead.
func TestAnOutageRemovesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const devices = 40
		p := &scripted{name: "fcm"}
		r := newRig(t, Delivery{}, p)
		var topics [devices][4]byte
		for i := range topics {
			topics[i] = r.device(registration.ID(i+1), fmt.Sprintf("fcm token-%d", i))
		}
		r.start()
		defer r.stop()
		ring := func() {
			for _, topic := range topics {
				r.log.Archive(topic)
			}
			time.Sleep(time.Minute)
		}
		ring()
		require.Len(t, p.all(), devices)
		p.set(deadToken)
		for range 40 {
			ring()
		}
		p.set(nil)
		for range 70 {
			ring()
		}
		for i := range topics {
			reg, _ := r.dir.Get(registration.ID(i + 1))
			require.Equal(t, registration.Active, reg.State)
			got := p.to(fmt.Sprintf("token-%d", i))
			require.Equal(t, pushext.Delivered, got[len(got)-1].Class, "all are reached again")
		}
		said := strings.Count(r.out.String(), "too many addresses dead")
		require.Positive(t, said)
		require.LessOrEqual(t, said, 5, "not for every device")
	})
}

// Half of the devices are called dead while the other half is served.
func TestAMassOfDeadVerdictsFreezesDeletion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const devices = 60
		p := &scripted{name: "fcm"}
		r := newRig(t, Delivery{SilentAfter: -1}, p)
		var topics [devices][4]byte
		for i := range topics {
			topics[i] = r.device(registration.ID(i+1), fmt.Sprintf("fcm %d-%d", i%2, i))
		}
		r.start()
		defer r.stop()
		p.set(func(ctx context.Context, n pushext.Notification) pushext.Verdict {
			if n.Address.Token[0] == '0' {
				return deadToken(ctx, n)
			}
			return pushext.Verdict{Class: pushext.Delivered}
		})
		for range 20 {
			for _, topic := range topics {
				r.log.Archive(topic)
			}
			time.Sleep(time.Minute)
		}
		for i := range topics {
			reg, _ := r.dir.Get(registration.ID(i + 1))
			require.Equal(t, registration.Active, reg.State)
		}
	})
}

// A host that calls all its addresses dead is not believed because another host
// works: its devices stay until it works again for somebody.
func TestOneHostSaysNothingOfAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const devices = 6
		p := &scripted{name: "webpush"}
		r := newRig(t, Delivery{SilentAfter: -1, Budget: pushext.Budget{Burst: 1000}}, hosted{p})
		var topics [devices][4]byte
		for i := range topics {
			topics[i] = r.device(registration.ID(i+1), fmt.Sprintf("webpush a/%d", i))
		}
		fine := r.device(100, "webpush b/1")
		r.start()
		defer r.stop()
		states := func() (dead int) {
			for i := range topics {
				if reg, _ := r.dir.Get(registration.ID(i + 1)); reg.State != registration.Active {
					dead++
				}
			}
			return dead
		}
		down := func(tokens ...string) {
			p.set(func(ctx context.Context, n pushext.Notification) pushext.Verdict {
				if slices.ContainsFunc(tokens, func(t string) bool { return strings.HasPrefix(n.Address.Token, t) }) {
					return deadToken(ctx, n)
				}
				return pushext.Verdict{Class: pushext.Delivered}
			})
		}
		ring := func(topics ...[4]byte) {
			for _, topic := range append(topics, fine) {
				r.log.Archive(topic)
			}
			time.Sleep(time.Minute)
		}
		ring(topics[:]...)
		down("a/")
		for range 24 * 60 {
			ring(topics[:]...)
		}
		require.Zero(t, states())
		tried := len(p.to("a/0"))
		require.Less(t, tried, 24+15, "hardly more than once an hour")
		require.Positive(t, r.metric("dead_verdicts_held_total", "provider", "webpush", "cause", "no_success"))

		down("a/0", "a/1") // it works again, for the others
		for range 3 * 60 {
			ring(topics[:]...)
		}
		require.Equal(t, 2, states(), "and is believed of those that it still calls dead")
		for i := range topics[2:] {
			got := p.to(fmt.Sprintf("a/%d", i+2))
			require.Equal(t, pushext.Delivered, got[len(got)-1].Class, "all others are reached")
		}
	})
}

// While no verdict is believed all routes of a device are tried, and not the last
// one alone.
func TestDoubtedRoutesAreAllTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := &scripted{name: "fcm"}, &scripted{name: "webpush"}
		r := newRig(t, Delivery{}, first, second)
		topic := r.device(1, "fcm token", "webpush token")
		r.start()
		defer r.stop()
		first.set(deadToken)
		second.set(deadToken)
		r.log.Archive(topic)
		time.Sleep(6 * time.Hour)
		for _, p := range []*scripted{first, second} {
			require.Greater(t, len(p.all()), 9)
			require.Less(t, len(p.all()), 20, "ever more seldom")
		}
		first.set(nil)
		before := len(second.all())
		time.Sleep(time.Hour)
		got := first.all()
		require.Equal(t, pushext.Delivered, got[len(got)-1].Class)
		time.Sleep(10 * time.Hour)
		require.Len(t, first.all(), len(got), "once")
		require.LessOrEqual(t, len(second.all()), before+1, "the ladder's step")
	})
}

// A host with a single device is never believed: its registration ends by its lifetime.
func TestOnlyDeviceOfAHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &scripted{name: "webpush"}
		r := newRig(t, Delivery{SilentAfter: -1}, hosted{p})
		topic, fine := r.device(1, "webpush a/1"), r.device(2, "webpush b/1")
		r.start()
		defer r.stop()
		r.log.Archive(topic)
		synctest.Wait()
		p.set(func(ctx context.Context, n pushext.Notification) pushext.Verdict {
			if n.Address.Token == "a/1" {
				return deadToken(ctx, n)
			}
			return pushext.Verdict{Class: pushext.Delivered}
		})
		const days = 10
		for range days * 24 * 6 {
			r.log.Archive(topic)
			r.log.Archive(fine)
			time.Sleep(10 * time.Minute)
		}
		reg, _ := r.dir.Get(1)
		require.Equal(t, registration.Active, reg.State)
		require.Less(t, len(p.to("a/1")), days*24*5/4+15)
	})
}

// What lanes are kept for is forgotten after its time, and earlier if very many are.
func TestIdleLanesAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &scripted{name: "webhook"}
		r := newRig(t, Delivery{}, hosted{p})
		r.start()
		defer r.stop()
		r.dispatcher.mu.Lock()
		r.dispatcher.idle = maxIdleLanes - 2
		r.dispatcher.mu.Unlock()
		for i := range 5 {
			r.log.Archive(r.device(registration.ID(i+1), fmt.Sprintf("webhook %d/x", i)))
			synctest.Wait()
		}
		require.Len(t, p.all(), 5)
		require.Equal(t, 2.0, r.metric("lanes"))
		time.Sleep(gateWindow)
		synctest.Wait()
		require.Zero(t, r.metric("lanes"))
		r.dispatcher.mu.Lock()
		require.Equal(t, maxIdleLanes-2, r.dispatcher.idle)
		r.dispatcher.mu.Unlock()
	})
}

func TestGateWindow(t *testing.T) {
	now := time.Unix(1e9, 0)
	doubted := 0
	g := gate{doubted: &doubted}
	require.False(t, g.working(now, now.Add(-time.Hour)))
	g.success(now, 1)
	require.True(t, g.working(now, now.Add(-time.Second)))
	require.False(t, g.working(now, now), "since the first verdict")
	require.False(t, g.working(now.Add(gateWindow), now.Add(-time.Second)))

	for i := range 2000 {
		g.success(now, registration.ID(i))
	}
	for i := range gateFloor {
		g.verdict(now, registration.ID(i))
		require.False(t, g.mass(now))
	}
	for i := range 10 {
		g.verdict(now, registration.ID(100+i))
	}
	require.False(t, g.mass(now), "20 of 2021 are not more than 1 %%")
	g.verdict(now, 999)
	g.verdict(now, 998)
	require.True(t, g.mass(now))
	g.success(now, 999)
	g.success(now, 998)
	require.False(t, g.mass(now), "they live")
	now = now.Add(2 * gateWindow)
	for i := range gateFloor + 1 {
		g.verdict(now, registration.ID(i))
	}
	require.True(t, g.mass(now), "the successes are too old")
	require.Len(t, g.dead, gateFloor+1)
	for i := range 2 * gateTracked {
		g.verdict(now, registration.ID(i))
	}
	require.Len(t, g.dead, gateTracked)
	require.Equal(t, gateTracked, doubted)

	// All gates together.
	doubted = maxDoubted
	other := gate{doubted: &doubted}
	other.verdict(now, 1)
	require.Empty(t, other.dead)
	require.True(t, other.mass(now))
	g.close()
	require.Equal(t, maxDoubted-gateTracked, doubted)
	require.False(t, other.mass(now))
	other.verdict(now, 1)
	require.Len(t, other.dead, 1)
	other.success(now, 1)
	require.Equal(t, maxDoubted-gateTracked, doubted)
}
