package dispatch

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/registration"
)

// What a provider is held for waits, however long, is sent once when it is released, and holds up no other provider; a
// drain ends when the attempt under way does.
func TestHeldProvider(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fcm, apns, web := &scripted{name: "fcm"}, &scripted{name: "apns"}, hosted{&scripted{name: "webpush"}}
		r := newRig(t, Delivery{}, fcm, apns, web)
		for i, route := range []string{"fcm a", "apns b", "webpush host/c"} {
			r.device(registration.ID(i+1), route)
		}
		r.start()
		defer r.stop()
		synctest.Wait()
		d := r.dispatcher
		require.ErrorContains(t, d.Hold("nobody"), `there is no provider "nobody"`)
		require.ErrorContains(t, d.Release("nobody"), `there is no provider "nobody"`)
		require.ErrorContains(t, d.Drain(t.Context(), "nobody"), `there is no provider "nobody"`)
		require.NoError(t, d.Release("fcm"), "nobody held it")

		require.NoError(t, d.Hold("fcm"))
		require.NoError(t, d.Hold("fcm"), "again")
		require.NoError(t, d.Hold("webpush"))
		for i := range 3 {
			r.log.Archive(topicOf(registration.ID(i + 1)))
		}
		time.Sleep(time.Hour)
		require.Empty(t, fcm.all())
		require.Empty(t, web.all())
		require.Len(t, apns.all(), 1)
		w, busy := d.Waiting(1)
		require.True(t, busy)
		require.Equal(t, Waiting{Provider: "fcm", Queued: true}, w)
		for _, s := range d.States(time.Now()) {
			require.Equal(t, s.Name != "apns", s.Held, s.Name)
		}
		require.NoError(t, d.Release("fcm"))
		require.NoError(t, d.Release("webpush"))
		synctest.Wait()
		require.Len(t, fcm.all(), 1)
		require.Len(t, web.all(), 1)

		answer := make(chan struct{})
		fcm.set(func(context.Context, pushext.Notification) pushext.Verdict {
			<-answer
			return pushext.Verdict{Class: pushext.Delivered}
		})
		r.log.Archive(topicOf(1))
		synctest.Wait()
		drained := make(chan error, 2)
		for range 2 {
			go func() { drained <- d.Drain(t.Context(), "fcm") }()
		}
		soon, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, d.Drain(soon, "fcm"), context.DeadlineExceeded)
		require.Empty(t, drained)
		close(answer)
		synctest.Wait()
		require.NoError(t, <-drained)
		require.NoError(t, <-drained)
		require.NoError(t, d.Release("fcm"))
	})
}
