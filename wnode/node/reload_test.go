package node

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/config"
	"whisperpush/pushext/client"
	"whisperpush/pushext/emulate"
	"whisperpush/pushext/pushwire"
	"whisperpush/testutil/gather"
	"whisperpush/testutil/loopback"
)

// paused tells whether nothing is sent to the only provider.
func (w *world) paused() bool { return w.push.Providers(time.Now())[0].Paused }

// Credentials that Firebase refuses are taken, and good ones again: the wake-up that waited meanwhile is sent, and
// neither peer nor registration is lost.
func TestReloadCredentials(t *testing.T) {
	w := newWorld(t)
	w.restart(t, true)
	d := w.register(t)
	other, err := Start(loopback.Config(t), NewLogger(&w.log, w.cfg.Log))
	require.NoError(t, err)
	t.Cleanup(other.Stop)
	other.AddPeer(w.Self())
	require.NoError(t, w.whisper.WaitPeer(t.Context(), other.Self().ID()))
	path := w.cfg.Push.Provider[0].Options["CredentialsFile"].(string)
	good, err := os.ReadFile(path)
	require.NoError(t, err)

	changed, err := w.Reload(w.cfg)
	require.NoError(t, err)
	require.Empty(t, changed, "nothing did")

	stranger, err := emulate.StartFCM(emulate.FCMConfig{})
	require.NoError(t, err)
	t.Cleanup(stranger.Close)
	require.NoError(t, os.WriteFile(path, stranger.CredentialsJSON(), 0o600))
	changed, err = w.Reload(w.cfg)
	require.NoError(t, err)
	require.Equal(t, []string{"providers opened anew: fcm"}, changed)
	w.post(t, "wait for it")
	require.Eventually(t, w.paused, 15*time.Second, 5*time.Millisecond, "Firebase refuses the stranger's")

	require.NoError(t, os.WriteFile(path, good, 0o600))
	_, err = w.Reload(w.cfg)
	require.NoError(t, err)
	require.Equal(t, []string{"wait for it"}, shows(t, d, w.ring(t)))
	require.True(t, w.whisper.Connected(other.Self().ID()), "the link stayed")
}

// Whatever cannot be taken is named, and then nothing is.
func TestReloadAllOrNothing(t *testing.T) {
	w := newWorld(t)
	w.restart(t, true)
	for name, test := range map[string]struct {
		change func(c *config.Config)
		want   string
	}{
		"port": {func(c *config.Config) { c.Node.MaxPeers++; c.Metrics.Port = 1 }, "Node.MaxPeers, Metrics.Port takes effect with a restart alone"},
		"credential": {func(c *config.Config) {
			c.Push.Provider[0] = c.Push.Provider[0].WithOption("CredentialsFile", "/nowhere")
		}, "/nowhere"},
		"unknown": {func(c *config.Config) { c.Push.Provider[0] = c.Push.Provider[0].WithOption("Foo", 1) }, `has no key "Foo"`},
		"new": {func(c *config.Config) {
			c.Push.Provider = append(c.Push.Provider, config.Provider{Name: "x", Type: "fcm", Options: map[string]any{"CredentialsFile": "/nowhere"}})
		}, "/nowhere"},
		"type":  {func(c *config.Config) { c.Push.Provider[0].Type = "webhook" }, `of type "webhook" and was of "fcm"`},
		"token": {func(c *config.Config) { c.Status.TokenFile = "/nowhere" }, "/nowhere"},
	} {
		t.Run(name, func(t *testing.T) {
			next := w.cfg
			next.Push.Provider = slices.Clone(w.cfg.Push.Provider)
			next.Push.Provider[0].Options = maps.Clone(w.cfg.Push.Provider[0].Options)
			next.Push.Limits.Channels = 7
			next.Mailserver.RequestsPerMinute = 3
			test.change(&next)
			_, err := w.Reload(next)
			require.ErrorContains(t, err, "nothing is reloaded: ")
			require.ErrorContains(t, err, test.want)
			require.Equal(t, w.cfg, w.settings())
			require.NotEqual(t, uint64(7), w.push.Limits().Channels)
		})
	}
	next := w.cfg
	next.Push.Limits.Channels = 7
	next.Push.Delivery.TTL = config.Duration(2 * time.Hour)
	next.Mailserver.Retention, next.Mailserver.RequestsPerMinute = config.Duration(time.Hour), 3
	next.Shh.MinimumAcceptedPOW = 0.01
	changed, err := w.Reload(next)
	require.NoError(t, err)
	require.Equal(t, []string{"Shh.MinimumAcceptedPOW", "Mailserver.Retention", "Mailserver.RequestsPerMinute", "Push.Limits.Channels", "Push.Delivery.TTL"}, changed)
	require.Equal(t, uint64(7), w.push.Limits().Channels)
	require.Equal(t, 0.01, w.whisper.MinPoW())
}

// A key is no matter of a reload: what was sealed with the former one would be lost.
func TestReloadKeepsKeys(t *testing.T) {
	w := newWorld(t)
	w.restart(t, true)
	path := filepath.Join(w.cfg.Node.DataDir, "push.disk.key")
	require.NoError(t, os.WriteFile(path, []byte("0000000000000000000000000000000000000000000000000000000000000001\n"), 0o600))
	_, err := w.Reload(w.cfg)
	require.ErrorContains(t, err, "nothing is reloaded: the disk key in "+path+": it is another than the node runs with")
}

// Providers are added and removed while wake-ups stream: every message reaches its device, by the one or the other, no
// peer is dropped, and devices without another way are counted.
func TestReloadProvidersUnderAStream(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cfg.Push.Delivery.Burst = 1000
	w.restart(t, true)
	other, err := Start(loopback.Config(t), NewLogger(&w.log, w.cfg.Log))
	require.NoError(t, err)
	t.Cleanup(other.Stop)
	other.AddPeer(w.Self())
	require.NoError(t, w.whisper.WaitPeer(t.Context(), other.Self().ID()))
	peer := other.Self().ID()

	// A second FCM project is added, and the device takes it as another way.
	second, err := emulate.StartFCM(emulate.FCMConfig{})
	require.NoError(t, err)
	t.Cleanup(second.Close)
	credentials := filepath.Join(t.TempDir(), "second.json")
	require.NoError(t, os.WriteFile(credentials, second.CredentialsJSON(), 0o600))
	first := w.cfg.Push.Provider[0]
	added := config.Provider{Name: "fcm-two", Type: "fcm", Options: map[string]any{"Endpoint": second.Endpoint(), "CredentialsFile": credentials}}
	have := func(providers ...config.Provider) []string {
		t.Helper()
		next := w.settings()
		next.Push.Provider = providers
		changed, err := w.Reload(next)
		require.NoError(t, err)
		return changed
	}
	require.Equal(t, []string{"Push.Provider", "providers added: fcm-two"}, have(first, added))
	require.Len(t, *w.offers.Load(), 2)
	token := second.NewToken()
	d := w.device(t, w.PushKey())
	require.NoError(t, d.Register(t.Context(), client.Registration{Routes: []pushwire.Route{
		{Provider: "fcm", Address: []byte(w.token)}, {Provider: "fcm-two", Address: []byte(token)},
	}}))
	receive := func(body []byte) (texts []string) {
		t.Helper()
		event, err := d.Receive(t.Context(), body)
		require.NoError(t, err)
		for _, p := range event.Previews {
			texts = append(texts, p.Text)
		}
		require.NoError(t, d.Shown(t.Context(), event.Hashes()...))
		return texts
	}
	receive(w.ring(t))
	push := func() ([]byte, bool) {
		select {
		case p := <-w.fcm.Pushes(w.token):
			return p.Body, true
		case p := <-second.Pushes(token):
			return p.Body, true
		case <-time.After(15 * time.Second):
			return nil, false
		}
	}
	body, ok := push()
	require.True(t, ok)
	receive(body)

	const messages = 60
	posted := make(chan error, 1)
	go func() {
		for i := range messages {
			if err := w.postText(t.Context(), fmt.Sprint("message ", i)); err != nil {
				posted <- err
				return
			}
		}
		posted <- nil
	}()
	sets := [][]config.Provider{{added}, {first, added}, {first}, {added, first}}
	got := map[string]bool{}
	for i := 0; len(got) < messages; i++ {
		have(sets[i%len(sets)]...)
		body, ok := push()
		if !ok { // a wake-up named more than it had room for: what is left comes with the history
			event, err := d.History(t.Context())
			require.NoError(t, err)
			require.NotEmpty(t, event.Previews, "a wake-up was lost: %d of %d came", len(got), messages)
			for _, p := range event.Previews {
				got[p.Text] = true
			}
			require.NoError(t, d.Shown(t.Context(), event.Hashes()...))
			continue
		}
		for _, text := range receive(body) {
			got[text] = true
		}
	}
	require.NoError(t, <-posted)
	require.True(t, w.whisper.Connected(peer), "the link stayed")
	ended := func() float64 {
		return gather.Sum(t, w.Metrics(), "whisperpush_pushext_outcomes_total", "outcome", "undeliverable", "reason", "provider removed")
	}
	require.Zero(t, ended(), "there was another way each time")

	have(first, added)
	require.Equal(t, []string{"Push.Provider", "providers removed: fcm, fcm-two"}, have())
	w.post(t, "to nobody who can be woken")
	require.Eventually(t, func() bool { return ended() == 1 }, 15*time.Second, 5*time.Millisecond)
	event, err := d.History(t.Context())
	require.NoError(t, err)
	require.Len(t, event.Previews, 1, "it is in the archive all the same")
}

// The door takes another certificate, and its page, anew while it serves; what it cannot is said in words.
func TestReloadDoor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	certFile, keyFile, roots := newCertificate(t)
	w.cfg.Door.Enabled, w.cfg.Door.CertFile, w.cfg.Door.KeyFile = true, certFile, keyFile
	w.restart(t, true)
	page := func(roots *x509.CertPool) (int, error) {
		t.Helper()
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
		defer transport.CloseIdleConnections()
		response, err := (&http.Client{Transport: transport}).Get(w.door + "/")
		if err != nil {
			return 0, err
		}
		return response.StatusCode, response.Body.Close()
	}
	status, err := page(roots)
	require.NoError(t, err)
	require.Equal(t, http.StatusNotFound, status)

	next := w.cfg
	var otherRoots *x509.CertPool
	next.Door.CertFile, next.Door.KeyFile, otherRoots = newCertificate(t)
	next.Door.App = true
	changed, err := w.Reload(next)
	require.NoError(t, err)
	require.Equal(t, []string{"Door.CertFile", "Door.KeyFile", "Door.App"}, changed)
	status, err = page(otherRoots)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status)
	_, err = page(roots)
	require.Error(t, err, "the former certificate is not shown any more")

	for name, test := range map[string]struct {
		change func(c *config.Config)
		want   string
	}{
		"plain":   {func(c *config.Config) { c.Door.CertFile, c.Door.KeyFile = "", "" }, "with a restart alone"},
		"port":    {func(c *config.Config) { c.Door.Port = 1 }, "Door.Port takes effect with a restart alone"},
		"off":     {func(c *config.Config) { c.Door.Enabled = false }, "Door.Enabled takes effect with a restart alone"},
		"no file": {func(c *config.Config) { c.Door.CertFile = "/nowhere" }, "/nowhere"},
	} {
		t.Run(name, func(t *testing.T) {
			bad := next
			bad.Push.Limits.Channels = 7
			test.change(&bad)
			_, err := w.Reload(bad)
			require.ErrorContains(t, err, "nothing is reloaded: ")
			require.ErrorContains(t, err, test.want)
			require.NotEqual(t, uint64(7), w.push.Limits().Channels)
		})
	}
}
