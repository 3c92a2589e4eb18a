package wnode

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/testutil/genuinenode"
	"whisperpush/testutil/loopback"
	"whisperpush/wnode/node"
)

// All that the genuine mailserver has is pulled from it, and then written as a database that it would open.
func TestPullGenuine(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles for a minute if the genuine node is not cached")
	}
	const count = 1500
	server := genuinenode.Run(t, genuinenode.Options{MailDir: t.TempDir(), MailPassword: "mail password"})
	_, err := server.Fill(t.Context(), genuinenode.Load{Count: count, Topics: 10, Size: 284, From: uint32(time.Now().Add(-2 * time.Hour).Unix()), Span: 3600, TTL: 50}, 2)
	require.NoError(t, err)
	dir := t.TempDir()
	password := filepath.Join(dir, "password")
	require.NoError(t, os.WriteFile(password, []byte("mail password\n"), 0o600))
	cfg := loopback.Config(t)
	cfg.Mailserver.Enabled = true
	n, err := node.Start(cfg, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(n.Stop)
	data := cfg.Node.DataDir
	var out, stderr bytes.Buffer
	wnode := func(args ...string) string {
		out.Reset()
		require.Zero(t, Main(t.Context(), append([]string{"wnode"}, args...), nil, &out, &stderr), stderr.String())
		return out.String()
	}
	pull := []string{"archive", "pull", "--datadir", data, "--server", server.Enode, "--form", "classic", "--since", "3h", "--password", password, "--json"}
	require.JSONEq(t, `{"read":1500,"archived":1500,"known":0,"tooOld":0,"refused":0,"mismatched":0,"resumed":false}`, wnode(pull...))
	require.JSONEq(t, `{"read":1500,"archived":0,"known":1500,"tooOld":0,"refused":0,"mismatched":0,"resumed":false}`, wnode(pull...))
	require.Contains(t, wnode("archive", "export", "--datadir", data, "--form", "geth", filepath.Join(dir, "leveldb")), "1500 envelopes")
}
