// Package pushnode runs the whole mailserver with push for tests of its clients: on this
// computer alone, with an emulated Firebase and a door.
package pushnode

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"whisperpush/config"
	"whisperpush/pushext/client"
	"whisperpush/pushext/emulate"
	"whisperpush/testutil/loopback"
	"whisperpush/whisper"
	"whisperpush/wnode/node"
)

// Node is a node that runs until its test ends. It wakes devices through an emulated
// Firebase, its provider fcm, or over their own connections, its provider direct.
type Node struct {
	*node.Node
	FCM *emulate.FCM
}

// Start starts a node after applying change to its settings; a nil change changes nothing.
func Start(t testing.TB, change func(*config.Config)) *Node {
	t.Helper()
	fcm, err := emulate.StartFCM(emulate.FCMConfig{})
	require.NoError(t, err)
	t.Cleanup(fcm.Close)
	return StartWith(t, fcm, change)
}

// StartWith is Start with a Firebase that others use too.
func StartWith(t testing.TB, fcm *emulate.FCM, change func(*config.Config)) *Node {
	t.Helper()
	credentials := filepath.Join(t.TempDir(), "service-account.json")
	require.NoError(t, os.WriteFile(credentials, fcm.CredentialsJSON(), 0o600))
	cfg := loopback.Config(t)
	cfg.RPC.IPCDisable = true
	cfg.Push.Enabled, cfg.Door.Enabled = true, true
	cfg.Push.Provider = []config.Provider{
		{Name: "fcm", Type: "fcm", Options: map[string]any{"Endpoint": fcm.Endpoint(), "CredentialsFile": credentials}},
		{Name: "direct", Type: "direct"},
	}
	if change != nil {
		change(&cfg)
	}
	require.NoError(t, cfg.Validate())
	n, err := node.Start(cfg, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(n.Stop)
	return &Node{n, fcm}
}

// Enode is one value for a device's Config.Server; Door is the other.
func (n *Node) Enode() string { return n.Self().URLv4() }

// Key is the value for a device's Config.PushKey.
func (n *Node) Key() string { return hex.EncodeToString(crypto.CompressPubkey(n.PushKey())) }

// Write puts an unsigned message on the network through the node. The message is archived
// when Write returns.
func (n *Node) Write(t testing.TB, chat client.Chat, text string) {
	t.Helper()
	sealed, err := whisper.Seal(t.Context(), client.Compose(chat, []byte(text), nil, time.Now()))
	require.NoError(t, err)
	e, err := whisper.Renew(t.Context(), sealed, whisper.Draft{PoW: whisper.DefaultMinPoW, TTL: 60})
	require.NoError(t, err)
	require.NoError(t, n.Whisper().Post(t.Context(), e))
}

// Push waits for a push to a device, and returns its data as Firebase gives it to an app.
func (n *Node) Push(t testing.TB, token string) map[string]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	select {
	case push := <-n.FCM.Pushes(token):
		var body map[string]any
		require.NoError(t, json.Unmarshal(push.Body, &body))
		data := make(map[string]string, len(body))
		for name, value := range body {
			data[name] = fmt.Sprint(value)
		}
		return data
	case <-ctx.Done():
		require.FailNow(t, "no push within 15 s")
		return nil
	}
}

// Main runs the tests of a package that starts nodes, and fails if goroutines are left.
func Main(m *testing.M) {
	goleak.VerifyTestMain(m,
		// The process-wide ticker of go-ethereum's metrics and the lingering pool
		// goroutine of devp2p's in-memory node table.
		goleak.IgnoreAnyFunction("github.com/ethereum/go-ethereum/metrics.(*meterTicker).loop"),
		goleak.IgnoreAnyFunction("github.com/syndtr/goleveldb/leveldb.(*DB).mpoolDrain"))
}
