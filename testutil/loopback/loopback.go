// Package loopback has what tests need to run a node on this computer alone:
// settings, and a log that may be read while it is being written.
package loopback

import (
	"bytes"
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"whisperpush/config"
)

// Config is the settings of a node for tests: a data directory of its own, which is
// removed with the test, any port of the loopback interface, and no discovery.
func Config(t testing.TB) config.Config {
	t.Helper()
	dir, err := os.MkdirTemp("", "wnode") // shorter than t.TempDir, so that a socket's path fits
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	cfg := config.Defaults()
	cfg.Node.DataDir = dir
	cfg.Node.ListenAddr = "127.0.0.1:0"
	cfg.Node.NAT = "none"
	cfg.Node.NoDiscovery = true
	cfg.RPC.HTTP.Port, cfg.RPC.WS.Port, cfg.Metrics.Port, cfg.Status.Port, cfg.Door.Port = 0, 0, 0, 0, 0
	return cfg
}

// Log may be read while it is being written. The zero value is empty.
type Log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// Bytes is a copy of what has been written so far.
func (l *Log) Bytes() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.b.Bytes())
}
