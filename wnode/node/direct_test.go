package node

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/config"
	"whisperpush/pushext/client"
	"whisperpush/pushext/pushwire"
	"whisperpush/testutil/gather"
)

// A device that stays connected is rung over its own link, and the push service
// learns nothing; when it is gone, the push service is asked at once; when it is
// back, it is told over the link what it missed.
func TestRungOverTheLinkFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cfg.Push.Provider = append(w.cfg.Push.Provider, config.Provider{Name: "direct", Type: "direct"})
	w.restart(t, true)
	rungFirst(t, w, w.device(t, w.PushKey()))
}

// The same over HTTPS, where the link is a stream.
func TestRungOverTheStreamFirst(t *testing.T) {
	t.Parallel()
	w := doorWorld(t)
	rungFirst(t, w, w.deviceOf(t, client.Config{Server: w.door, PushKey: compressedHex(w.PushKey())}))
}

// rungFirst is the story of a device that has not registered yet.
func rungFirst(t *testing.T, w *world, d *client.Device) {
	route, err := d.DirectRoute("direct")
	require.NoError(t, err)
	require.NoError(t, d.Register(t.Context(), client.Registration{
		Routes: []pushwire.Route{route, {Provider: "fcm", Address: []byte(w.token)}},
	}))
	event, err := d.Receive(t.Context(), w.ring(t))
	require.NoError(t, err)
	require.Equal(t, pushwire.Challenge, event.Kind, "another route is challenged as always")

	texts := make(chan string, 10)
	listen := func() (stop func()) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		heard := func() float64 {
			return gather.Sum(t, w.Metrics(), "whisperpush_pushext_requests_total", "kind", "status", "code", "ok")
		}
		before := heard()
		defer func() {
			require.Eventually(t, func() bool { return heard() > before }, 15*time.Second, time.Millisecond, "it is there")
		}()
		go func() {
			ended <- d.Listen(ctx, func(body []byte) error {
				event, err := d.Receive(ctx, body)
				for _, p := range event.Previews {
					texts <- p.Text
				}
				return errors.Join(err, d.Shown(ctx, event.Hashes()...))
			})
		}()
		return func() {
			cancel()
			require.ErrorIs(t, <-ended, context.Canceled)
			d.Sleep()
		}
	}
	next := func() string {
		select {
		case text := <-texts:
			return text
		case <-time.After(15 * time.Second):
			require.FailNow(t, "not rung within 15 s")
			return ""
		}
	}
	stop := listen()
	for _, text := range []string{"one", "two", "three"} {
		w.post(t, text)
		require.Equal(t, text, next())
	}
	stop()
	require.Len(t, w.fcm.Received(), 1, "nothing but the challenge")

	w.post(t, "four")
	push := w.ring(t) // and the device does not take notice of it
	require.NotEmpty(t, push)
	stop = listen()
	require.Equal(t, "four", next())
	stop()
}
