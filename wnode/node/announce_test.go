package node

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/config"
	"whisperpush/pushext/client"
	"whisperpush/pushext/pushwire"
	"whisperpush/testutil/loopback"
)

// A server that announces itself is found through a node that knows it, and what it says is enough to register.
func TestAnnounce(t *testing.T) {
	t.Parallel()
	relay := run(t, loopback.Config(t))
	cfg := loopback.Config(t)
	cfg.Push.Enabled, cfg.Push.Announce = true, true
	cfg.Push.Limits.Channels = 7
	cfg.Push.Provider = []config.Provider{{Name: "webhook", Type: "webhook", Info: "any endpoint"}}
	cfg.Node.StaticNodes = []string{relay.link.Self().URLv4()}
	s := run(t, cfg)

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var server client.Discovered
	require.NoError(t, client.Discover(ctx, cfg.Node.StaticNodes, nil, func(found client.Discovered) bool {
		server = found
		return true
	}))
	require.True(t, server.PushKey.Equal(s.PushKey()))
	require.Equal(t, s.link.Self().URLv4(), server.Enode)
	require.Equal(t, []pushwire.ProviderOffer{{Name: "webhook", Info: "any endpoint"}}, server.Providers)
	require.EqualValues(t, 7, server.Limits.Channels)
	require.Empty(t, server.Price)

	d, err := client.Open(ctx, client.Config{Server: server.Enode, PushKey: compressedHex(server.PushKey)})
	require.NoError(t, err)
	_, err = d.Status(ctx)
	var refusal *pushwire.RefusalError
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, pushwire.NotRegistered, refusal.Code, "the server, who has the push key, answered")
	require.NoError(t, d.Close())
}
