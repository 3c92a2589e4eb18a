package dispatch

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/registration"
)

// A provider that refuses the server is failing and paused until it takes a push again, and another is not; a host that
// users name pauses itself alone.
func TestProviderStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fcm, apns, web := &scripted{name: "fcm"}, &scripted{name: "apns"}, hosted{&scripted{name: "webpush"}}
		r := newRig(t, Delivery{}, fcm, apns, web)
		for i, route := range []string{"fcm a", "apns b", "webpush host/c"} {
			r.device(registration.ID(i+1), route)
		}
		r.start()
		defer r.stop()
		states := func() map[string]State {
			of := map[string]State{}
			for _, s := range r.dispatcher.States(time.Now()) {
				of[s.Name] = s
			}
			return of
		}
		synctest.Wait()
		require.Equal(t, map[string]State{"fcm": {Name: "fcm"}, "apns": {Name: "apns"}, "webpush": {Name: "webpush"}}, states())

		broken := pushext.Verdict{Class: pushext.ProviderBroken, Reason: "refused"}
		fcm.always(broken)
		web.always(broken)
		for i := range 3 {
			r.log.Archive(topicOf(registration.ID(i + 1)))
		}
		synctest.Wait()
		now := states()
		require.True(t, now["fcm"].Failing)
		require.True(t, now["fcm"].Paused)
		require.Equal(t, 1, now["fcm"].Queued)
		require.Equal(t, "refused", now["fcm"].Cause)
		require.Equal(t, State{Name: "apns"}, now["apns"])
		require.False(t, now["webpush"].Failing, "one host is not the provider")
		require.False(t, now["webpush"].Paused)

		fcm.set(nil)
		time.Sleep(time.Hour)
		require.Equal(t, State{Name: "fcm"}, states()["fcm"])
	})
}
