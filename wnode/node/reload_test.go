package node

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/config"
	"whisperpush/pushext/emulate"
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
			c.Push.Provider = append(c.Push.Provider, config.Provider{Name: "x", Type: "webhook"})
		}, `new provider "x"`},
		"gone":  {func(c *config.Config) { c.Push.Provider = nil }, `the provider "fcm" is gone`},
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
