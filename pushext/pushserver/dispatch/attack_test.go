package dispatch

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/measure"
	"whisperpush/pushext/pushserver/registration"
)

// Hosts that call all their addresses dead keep nobody else's from being believed,
// nor do they make one believed: what they say is about themselves.
func TestAttackHostsCallAllDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const hosts, each, honest = 2500, 5, 20
		p := &scripted{name: "webpush"}
		r := newRig(t, Delivery{}, hosted{p})
		for i := range hosts * each {
			r.device(registration.ID(1000+i), fmt.Sprintf("webpush %d.evil/%d", i%hosts, i))
		}
		for i := range honest {
			r.device(registration.ID(i+1), fmt.Sprintf("webpush push.example/%d", i))
		}
		r.start()
		defer r.stop()
		gone := "push.example/7"
		p.set(func(ctx context.Context, n pushext.Notification) pushext.Verdict {
			if n.Address.Token == gone || strings.Contains(n.Address.Token, ".evil/") {
				return deadToken(ctx, n)
			}
			return pushext.Verdict{Class: pushext.Delivered}
		})
		for range 3 {
			for i := range hosts * each {
				r.log.Archive(topicOf(registration.ID(1000 + i)))
			}
			for i := range honest {
				r.log.Archive(topicOf(registration.ID(i + 1)))
			}
			time.Sleep(10 * time.Minute)
		}
		state := func(id registration.ID) registration.State {
			reg, _ := r.dir.Get(id)
			return reg.State
		}
		for i := range honest {
			want := registration.Active
			if i == 7 {
				want = registration.Dead
			}
			require.Equal(t, want, state(registration.ID(i+1)), i)
		}
		doubted := 0
		for i := range hosts * each {
			require.Equal(t, registration.Active, state(registration.ID(1000+i)))
		}
		r.dispatcher.mu.Lock()
		doubted = r.dispatcher.doubted
		r.dispatcher.mu.Unlock()
		t.Logf("%d hosts call %d addresses dead: %d of them are remembered for it; of the %d devices of another host the dead one ends and the others are woken",
			hosts, hosts*each, doubted, honest)
		require.LessOrEqual(t, doubted, maxDoubted)
	})
}

// cables is a Linked provider with a lane for each connection, as package direct
// has: the token up to a slash. Those of connections that take nothing give up after
// two seconds.
type cables struct{ hosted }

func (cables) Heard(pushext.Address, pushext.Link) bool { return false }

// Connections that take nothing hold up themselves, however many registrations
// are rung over them.
func TestAttackStalledLinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const links, registrations, honest = 34, 5000, 50
		p := cables{hosted{&scripted{name: "direct"}}}
		r := newRig(t, Delivery{}, p, &scripted{name: "fcm"}, hosted{&scripted{name: "webhook"}})
		p.set(func(ctx context.Context, n pushext.Notification) pushext.Verdict {
			if strings.HasPrefix(n.Address.Token, "stalled") {
				select {
				case <-time.After(2 * time.Second):
					return pushext.Verdict{Class: pushext.Absent, Reason: "direct link broke"}
				case <-ctx.Done():
					return pushext.Verdict{Class: pushext.Retry, Reason: "direct timeout"}
				}
			}
			return pushext.Verdict{Class: pushext.Delivered}
		})
		for i := range registrations {
			r.device(registration.ID(1000+i), fmt.Sprintf("direct stalled%d/%d", i%links, i))
		}
		for i := range honest {
			r.device(registration.ID(i+1), fmt.Sprintf("direct link%d/x", i))
		}
		r.start()
		defer r.stop()
		for i := range registrations {
			r.log.Archive(topicOf(registration.ID(1000 + i)))
		}
		synctest.Wait()
		began := time.Now()
		for i := range honest {
			r.log.Archive(topicOf(registration.ID(i + 1)))
		}
		time.Sleep(measure.PromisedLatency)
		worst := time.Duration(0)
		for i := range honest {
			rung := p.to(fmt.Sprintf("link%d/x", i))
			require.NotEmpty(t, rung)
			worst = max(worst, rung[0].At.Sub(began))
		}
		t.Logf("%d registrations over %d links that take nothing: the slowest ring over another link came after %v", registrations, links, worst)
		require.LessOrEqual(t, worst, 2*time.Second)
	})
}
