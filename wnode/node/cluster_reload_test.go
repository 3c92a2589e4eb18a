//go:build unix

package node

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/config"
	"whisperpush/pushext/client"
	"whisperpush/pushext/emulate"
	"whisperpush/pushext/pushwire"
	"whisperpush/testutil/gather"
)

// Nodes that share a database take providers that are added and removed: for the shards that they have, for those that they
// take over while that happens, and all or nothing.
func TestReloadProvidersOfCluster(t *testing.T) {
	t.Parallel()
	nodes := newClusterOf(t, 2)
	second, err := emulate.StartFCM(emulate.FCMConfig{})
	require.NoError(t, err)
	t.Cleanup(second.Close)
	credentials := filepath.Join(t.TempDir(), "second.json")
	require.NoError(t, os.WriteFile(credentials, second.CredentialsJSON(), 0o600))
	first := nodes[0].cfg.Push.Provider[0]
	added := config.Provider{Name: "fcm-two", Type: "fcm", Options: map[string]any{"Endpoint": second.Endpoint(), "CredentialsFile": credentials}}
	reload := func(providers ...config.Provider) {
		t.Helper()
		for _, w := range nodes {
			next := w.settings()
			next.Push.Provider = providers
			_, err := w.Reload(next)
			require.NoError(t, err)
		}
	}
	bad := nodes[0].settings()
	bad.Push.Provider = []config.Provider{first, added.WithOption("CredentialsFile", "/nowhere")}
	_, err = nodes[0].Reload(bad)
	require.ErrorContains(t, err, "nothing is reloaded: ")
	bad = nodes[0].settings()
	bad.Push.Provider, bad.Log.Verbosity, bad.Status.TokenFile = []config.Provider{first, added}, 4, "/nowhere"
	_, err = nodes[0].Reload(bad) // another section refuses: the shards may be opened again
	require.ErrorContains(t, err, "nothing is reloaded: ")
	require.Len(t, nodes[0].push.Providers(time.Now()), 1)

	reload(first, added)
	type woken struct {
		*client.Device
		token string
	}
	var phones []*woken
	for i := range 6 { // of several shards
		w := nodes[i%2]
		p := &woken{token: second.NewToken()}
		p.Device = w.deviceOf(t, client.Config{Server: w.link.Self().URLv4(), PushKey: compressedHex(w.PushKey())})
		require.NoError(t, p.Register(t.Context(), client.Registration{Routes: []pushwire.Route{{Provider: "fcm-two", Address: []byte(p.token)}}}))
		phones = append(phones, p)
	}
	push := func(p *woken) []byte {
		t.Helper()
		select {
		case push := <-second.Pushes(p.token):
			return push.Body
		case <-time.After(15 * time.Second):
			require.FailNow(t, "no push within 15 s")
			return nil
		}
	}
	for _, p := range phones {
		_, err := p.Receive(t.Context(), push(p))
		require.NoError(t, err)
		require.True(t, p.Active())
	}
	nodes[0].post(t, "by the provider that was added")
	for _, p := range phones {
		require.Equal(t, []string{"by the provider that was added"}, shows(t, p.Device, push(p)))
	}

	// One node leaves: the other takes its shards over, with the settings that it has now.
	nodes[1].halt()
	requireShared(t, nodes[0])
	nodes[0].post(t, "from a shard that was taken over")
	for i, p := range phones {
		if i%2 == 0 { // the others ask the node that left
			require.Equal(t, []string{"from a shard that was taken over"}, shows(t, p.Device, push(p)))
		} else {
			push(p)
		}
	}
	nodes = nodes[:1]
	reload(first)
	nodes[0].post(t, "to nobody who can be woken")
	require.Eventually(t, func() bool {
		return gather.Sum(t, nodes[0].Metrics(), "whisperpush_pushext_outcomes_total", "outcome", "undeliverable", "reason", "provider removed") >= float64(len(phones))
	}, 15*time.Second, 20*time.Millisecond)
}
