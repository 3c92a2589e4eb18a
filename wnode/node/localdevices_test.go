package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/rpc"
	"github.com/stretchr/testify/require"

	"whisperpush/config"
	"whisperpush/testutil/loopback"
	"whisperpush/wnode/rpc/push"
)

// Over HTTP and WebSocket devices of local programs are served only if that is asked for.
func TestLocalDevicesAreOffUnlessAskedFor(t *testing.T) {
	t.Parallel()
	for name, asked := range map[string]bool{"default": false, "asked": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := loopback.Config(t)
			cfg.RPC.HTTP.Enabled, cfg.RPC.WS.Enabled = true, true
			if asked {
				cfg.RPC.HTTP.API, cfg.RPC.WS.API = []string{"push"}, []string{"push"}
			}
			n := run(t, cfg)
			http := n.http[0].URL() // one listener for both
			for i, url := range []string{n.ipc, http, "ws" + strings.TrimPrefix(http, "http")} {
				c, err := rpc.DialContext(t.Context(), url)
				require.NoError(t, err)
				defer c.Close()
				err = c.CallContext(t.Context(), nil, "push_devices")
				if asked || i == 0 {
					require.NoError(t, err)
				} else {
					require.ErrorContains(t, err, "does not exist")
				}
			}
		})
	}
}

// The key of local devices is made with the first of them, and the node does not start without it from then on.
func TestKeyOfLocalDevices(t *testing.T) {
	t.Parallel()
	cfg := loopback.Config(t)
	n := run(t, cfg)
	file := filepath.Join(cfg.Node.DataDir, "devices.key")
	require.NoFileExists(t, file)
	c, err := rpc.DialContext(t.Context(), n.ipc)
	require.NoError(t, err)
	defer c.Close()
	device := map[string]string{"name": "a", "server": n.link.Self().URLv4(), "pushKey": compressedHex(n.link.Self().Pubkey())}
	require.NoError(t, c.CallContext(t.Context(), nil, "push_newDevice", device))
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.Zero(t, info.Mode().Perm()&0o077)
	n.Stop()

	require.NoError(t, os.Rename(file, file+".away"))
	_, err = Start(cfg, NewLogger(new(loopback.Log), cfg.Log))
	require.ErrorContains(t, err, "the key of local devices "+file+" is missing")
	cfg.RPC.DeviceKeyFile = file + ".away"
	n = run(t, cfg)
	again, err := rpc.DialContext(t.Context(), n.ipc)
	require.NoError(t, err)
	defer again.Close()
	var devices []any
	require.NoError(t, again.CallContext(t.Context(), &devices, "push_devices"))
	require.Len(t, devices, 1)
}

// A device of this node keeps its account when the node has another push key, even one that nobody was told of before.
func TestLocalDeviceFollowsThePushKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cfg.RPC.IPCDisable = false
	w.cfg.Push.Provider = append(w.cfg.Push.Provider, config.Provider{Name: "direct", Type: "direct"})
	w.restart(t, true)
	call := func(method string, args ...any) (state push.State) {
		t.Helper()
		c, err := rpc.DialContext(t.Context(), w.ipc)
		require.NoError(t, err)
		defer c.Close()
		var result any = &state
		if method == "push_newDevice" {
			result = nil
		}
		require.NoError(t, c.CallContext(t.Context(), result, method, args...))
		return state
	}
	call("push_newDevice", map[string]string{"name": "a"})
	require.True(t, call("push_register", "a", push.Registration{Routes: []push.Route{{Provider: "direct", Direct: true}}}).Active)
	for range 2 {
		_, err := (&Admin{node: w.Node}).RotatePushKey(t.Context(), true)
		require.NoError(t, err)
		w.restart(t, true)
		require.True(t, call("push_status", "a").Active)
	}
}
