package wnode

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/mailserver/archive/portable"
	"whisperpush/testutil/genuinestatus"
	"whisperpush/testutil/loopback"
	"whisperpush/wnode/node"
)

// All that a mailserver with status-go's Whisper has is synced from it, a page at a time. One that refuses halfway costs nothing:
// the next attempt goes on behind the last page.
func TestPullSyncGenuine(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles for a minute if the genuine node is not cached")
	}
	const count = 2500 // three pages
	server := genuinestatus.Run(t, genuinestatus.Options{Count: count, From: time.Now().Add(-3 * time.Hour), Span: time.Hour, Refuse: 3})
	cfg := loopback.Config(t)
	cfg.Mailserver.Enabled = true
	n, err := node.Start(cfg, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(n.Stop)
	var out, stderr bytes.Buffer
	wnode := func(args ...string) int {
		out.Reset()
		stderr.Reset()
		return Main(t.Context(), append([]string{"wnode"}, args...), nil, &out, &stderr)
	}
	pull := []string{"archive", "pull", "--datadir", cfg.Node.DataDir, "--server", server.Enode, "--form", "sync", "--since", "1d", "--json"}
	pulled := func() (r importReport) {
		t.Helper()
		require.Zero(t, wnode(pull...), stderr.String())
		require.NoError(t, json.Unmarshal(out.Bytes(), &r))
		return r
	}
	require.NotZero(t, wnode(pull...))
	require.Contains(t, stderr.String(), `the mailserver refuses to be synced from: mailclient: refused: "exceeded rate limit"; what came before is archived`)
	places := func() []string {
		all, err := filepath.Glob(filepath.Join(cfg.Node.DataDir, "import-*"))
		require.NoError(t, err)
		return all
	}
	require.Len(t, places(), 1)

	r := pulled()
	require.Equal(t, importReport{Read: 500, TakeReport: node.TakeReport{Archived: 500}, Resumed: true}, r, "the last page alone")
	require.Empty(t, places())
	r = pulled()
	require.Equal(t, importReport{Read: count, TakeReport: node.TakeReport{Known: count}}, r)

	file := filepath.Join(t.TempDir(), "all")
	require.Zero(t, wnode("archive", "export", "--datadir", cfg.Node.DataDir, file), stderr.String())
	f, err := os.Open(file)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	in, err := portable.NewReader(f)
	require.NoError(t, err)
	var hashes []string
	for {
		record, err := in.Next()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		hashes = append(hashes, record.Envelope.Hash().Hex())
	}
	slices.Sort(hashes)
	slices.Sort(server.Hashes)
	require.Equal(t, server.Hashes, hashes)

	require.NotZero(t, wnode(append(slices.Clone(pull), "--password", "file")...))
	require.Contains(t, stderr.String(), "--password is not asked for with --form sync")
}

// A place that is not one of a sync is passed over.
func TestSyncPlace(t *testing.T) {
	upper, cursor, ok := parseSyncPlace(syncPlace(7, []byte("cursor")))
	require.True(t, ok)
	require.EqualValues(t, 7, upper)
	require.Equal(t, "cursor", string(cursor))
	require.Empty(t, syncPlace(7, nil), "the last page")
	for _, b := range [][]byte{nil, {1, 2, 3, 4}, make([]byte, 1000)} {
		_, _, ok := parseSyncPlace(b)
		require.False(t, ok)
	}
}
