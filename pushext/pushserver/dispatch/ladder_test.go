package dispatch

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/testutil/memlog"
)

// ladderRig has a device with three routes.
func ladderRig(t *testing.T, cfg Delivery) (r *rig, topic [4]byte, first, second, third *scripted) {
	first, second, third = &scripted{name: "up"}, &scripted{name: "fcm"}, &scripted{name: "pushy"}
	r = newRig(t, cfg, first, second, third)
	return r, r.device(1, "up a", "fcm b", "pushy c"), first, second, third
}

func TestLadderClimbsWithTheSameNumberWhenNoFetchComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, topic, first, second, third := ladderRig(t, Delivery{})
		r.start()
		defer r.stop()
		begin := time.Now()
		a := r.log.Archive(topic)
		time.Sleep(time.Hour)
		for i, p := range []*scripted{first, second, third} {
			got := p.all()
			require.Len(t, got, 1)
			require.Equal(t, begin.Add(time.Duration(i)*30*time.Second), got[0].At)
			require.Equal(t, first.all()[0].Payload, got[0].Payload)
			require.Equal(t, i == 0, first.all()[0].ID == got[0].ID, "an id is one service's")
		}
		// The next message begins at the first route again.
		r.log.Archive(topic)
		synctest.Wait()
		require.Len(t, first.all(), 2)
		require.Len(t, third.all(), 1)

		// A fetch stops the climb.
		require.NoError(t, r.box.Fetched(1, []common.Hash{a}, false))
		require.NoError(t, r.box.Fetched(1, []common.Hash{memlog.Hash(2)}, false))
		time.Sleep(time.Hour)
		require.Len(t, second.all(), 1)
		r.log.Archive(topic)
		synctest.Wait()
		require.Len(t, first.all(), 3)
	})
}

// A message whose wake-up was lost while a fetch of earlier ones was on its way
// still climbs.
func TestLadderGoesOnForWhatAFetchLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, topic, first, second, third := ladderRig(t, Delivery{})
		r.start()
		defer r.stop()
		a := r.log.Archive(topic)
		time.Sleep(time.Second)
		b := r.log.Archive(topic)
		time.Sleep(time.Second)
		require.Len(t, first.all(), 2)
		require.NoError(t, r.box.Fetched(1, []common.Hash{a}, false))
		calmed := time.Now()
		time.Sleep(40 * time.Second)
		got := second.all()
		require.Len(t, got, 1)
		require.Equal(t, calmed.Add(30*time.Second), got[0].At)
		require.Equal(t, []common.Hash{b}, got[0].Payload.Hashes)

		// Also when the server starts over in between.
		r.stop()
		r.start()
		time.Sleep(time.Minute)
		require.Len(t, third.all(), 1)
		require.NoError(t, r.box.Fetched(1, []common.Hash{b}, false))
		time.Sleep(time.Hour)
		require.Len(t, first.all(), 2)
		require.Len(t, second.all(), 1)
		require.Len(t, third.all(), 1)
	})
}

func TestLadderPassesABrokenProviderAndADeadRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, topic, first, second, third := ladderRig(t, Delivery{})
		first.always(pushext.Verdict{Class: pushext.ProviderBroken, Reason: "up 403"})
		second.set(deadToken)
		r.start()
		defer r.stop()
		begin := time.Now()
		r.log.Archive(topic)
		time.Sleep(2 * time.Minute)
		got := third.all()
		require.Len(t, got, 1)
		require.Equal(t, begin.Add(30*time.Second), got[0].At)
		reg, _ := r.dir.Get(1)
		require.Equal(t, registration.Active, reg.State, "other routes are left")
	})
}

func TestLadderStartsOverWhileNoRouteAccepts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, topic, first, second, third := ladderRig(t, Delivery{})
		fail := pushext.Verdict{Class: pushext.Retry, Reason: "503"}
		for _, p := range []*scripted{first, second, third} {
			p.always(fail)
		}
		r.start()
		defer r.stop()
		r.log.Archive(topic)
		time.Sleep(5 * time.Minute)
		require.Greater(t, len(third.all()), 1)
		first.set(nil)
		second.set(nil)
		third.set(nil)
		time.Sleep(2 * time.Minute)
		delivered := 0
		for _, p := range []*scripted{first, second, third} {
			for _, one := range p.all() {
				if one.Class == pushext.Delivered {
					delivered++
				}
			}
		}
		require.Positive(t, delivered)
		s, err := r.box.Status(1)
		require.NoError(t, err)
		require.Zero(t, s.Pending)
	})
}

func TestOnlyProvenRoutesAreUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, topic, first, second, third := ladderRig(t, Delivery{})
		r.dir.edit(1, func(reg *registration.Registration) { reg.Routes[0].Proven = false })
		r.start()
		defer r.stop()
		r.log.Archive(topic)
		time.Sleep(time.Hour)
		require.Empty(t, first.all())
		require.Len(t, second.all(), 1)
		require.Len(t, third.all(), 1)
	})
}

// wired is a scripted provider that rings over links.
type wired struct{ *scripted }

func (wired) Heard(pushext.Address, pushext.Link) bool { return false }

// A link that was rung does not survive the server: a device that has not fetched by
// then is woken through its next route as soon as without the restart, not half a
// minute later.
func TestLadderFromALinkGoesOnAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, service := wired{&scripted{name: "direct"}}, &scripted{name: "fcm"}
		r := newRig(t, Delivery{}, link, service)
		topic := r.device(1, "direct a", "fcm b")
		r.start()
		h := r.log.Archive(topic)
		time.Sleep(time.Second)
		require.Len(t, link.all(), 1)
		r.stop()
		r.start()
		begin := time.Now()
		time.Sleep(time.Minute)
		require.Len(t, service.all(), 1)
		require.Equal(t, begin.Add(5*time.Second), service.all()[0].At)
		require.Equal(t, []common.Hash{h}, service.all()[0].Payload.Hashes)
		r.stop()
	})
}
