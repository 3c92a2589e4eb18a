package pushext

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func deadToken(context.Context, Notification) Verdict {
	return Verdict{Class: TokenDead, Reason: "fcm 404 UNREGISTERED"}
}

func TestDeadTokenEndsTheRegistrationIfTheProviderWorks(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := &scripted{name: "fcm"}
		r := newRig(t, Delivery{}, p)
		gone, fine := r.device(1, "fcm gone"), r.device(2, "fcm fine")
		r.start()
		defer r.stop()
		p.set(func(ctx context.Context, n Notification) Verdict {
			if n.Address.Token == "gone" {
				return deadToken(ctx, n)
			}
			return Verdict{Class: Delivered}
		})
		r.log.archive(fine)
		r.log.archive(gone)
		synctest.Wait()
		reg, _ := r.dir.get(1)
		require.Equal(t, confirmed, reg.state, "said once, without a time: not yet")
		time.Sleep(time.Second)
		r.log.archive(fine)
		time.Sleep(30 * time.Second)
		reg, _ = r.dir.get(1)
		require.Equal(t, dead, reg.state)
		require.Equal(t, "fcm 404 UNREGISTERED", reg.reason)
		require.Equal(t, 1.0, outcomes(r, outcomeDead, "fcm 404 UNREGISTERED"))
		n := len(p.to("gone"))
		time.Sleep(time.Hour)
		require.Len(t, p.to("gone"), n)
	})
}

func TestDeadVerdictWithATime(t *testing.T) {
	for name, tc := range map[string]struct {
		after time.Duration // of the verdict's time, since the registration
		want  state
	}{
		"died after it registered":             {time.Minute, dead},
		"died before it registered, once more": {-time.Minute, confirmed},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				p := &scripted{name: "apns"}
				r := newRig(t, Delivery{}, p)
				topic, fine := r.device(1, "apns token"), r.device(2, "apns fine")
				reg, _ := r.dir.get(1)
				at := reg.registered.Add(tc.after)
				r.start()
				defer r.stop()
				time.Sleep(time.Hour)
				p.set(func(_ context.Context, n Notification) Verdict {
					if n.Address.Token == "token" {
						return Verdict{Class: TokenDead, At: at, Reason: "apns 410"}
					}
					return Verdict{Class: Delivered}
				})
				r.log.archive(fine)
				synctest.Wait()
				r.log.archive(topic)
				synctest.Wait()
				reg, _ = r.dir.get(1)
				require.Equal(t, tc.want, reg.state)
				if tc.want == confirmed {
					r.log.archive(fine)
					time.Sleep(time.Hour)
					reg, _ = r.dir.get(1)
					require.Equal(t, confirmed, reg.state)
				}
			})
		})
	}
}

// The outage of FAULTS 28: a provider that worked calls every token dead.
func TestAnOutageRemovesNobody(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const devices = 40
		p := &scripted{name: "fcm"}
		r := newRig(t, Delivery{}, p)
		var topics [devices][4]byte
		for i := range topics {
			topics[i] = r.device(registrationID(i+1), fmt.Sprintf("fcm token-%d", i))
		}
		r.start()
		defer r.stop()
		ring := func() {
			for _, topic := range topics {
				r.log.archive(topic)
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
			reg, _ := r.dir.get(registrationID(i + 1))
			require.Equal(t, confirmed, reg.state)
			got := p.to(fmt.Sprintf("token-%d", i))
			require.Equal(t, Delivered, got[len(got)-1].Class, "all are reached again")
		}
		said := strings.Count(r.out.String(), "too many addresses dead")
		require.Positive(t, said)
		require.LessOrEqual(t, said, 5, "not for every device")
	})
}

// Half of the devices are called dead while the other half is served.
func TestAMassOfDeadVerdictsFreezesDeletion(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const devices = 60
		p := &scripted{name: "fcm"}
		r := newRig(t, Delivery{SilentAfter: -1}, p)
		var topics [devices][4]byte
		for i := range topics {
			topics[i] = r.device(registrationID(i+1), fmt.Sprintf("fcm %d-%d", i%2, i))
		}
		r.start()
		defer r.stop()
		p.set(func(ctx context.Context, n Notification) Verdict {
			if n.Address.Token[0] == '0' {
				return deadToken(ctx, n)
			}
			return Verdict{Class: Delivered}
		})
		for range 20 {
			for _, topic := range topics {
				r.log.archive(topic)
			}
			time.Sleep(time.Minute)
		}
		for i := range topics {
			reg, _ := r.dir.get(registrationID(i + 1))
			require.Equal(t, confirmed, reg.state)
		}
	})
}

func TestGateWindow(t *testing.T) {
	now := time.Unix(1e9, 0)
	var g gate
	require.False(t, g.working(now, now.Add(-time.Hour)))
	g.success(now, 1)
	require.True(t, g.working(now, now.Add(-time.Second)))
	require.False(t, g.working(now, now), "since the first verdict")
	require.False(t, g.working(now.Add(gateWindow), now.Add(-time.Second)))

	for i := range 2000 {
		g.success(now, registrationID(i))
	}
	for i := range gateFloor {
		g.verdict(now, registrationID(i))
		require.False(t, g.mass(now))
	}
	for i := range 10 {
		g.verdict(now, registrationID(100+i))
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
		g.verdict(now, registrationID(i))
	}
	require.True(t, g.mass(now), "the successes are too old")
	require.Len(t, g.dead, gateFloor+1)
	for i := range 2 * gateTracked {
		g.verdict(now, registrationID(i))
	}
	require.Len(t, g.dead, gateTracked)
}
