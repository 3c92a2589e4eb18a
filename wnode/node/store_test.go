//go:build unix

package node

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"whisperpush/config"
	"whisperpush/postgres"
	"whisperpush/testutil/genuinepostgres"
	"whisperpush/testutil/loopback"
	"whisperpush/whisper"
	"whisperpush/wnode/health"
)

// onDatabase starts a PostgreSQL server and returns what settings say of an empty
// database there, and the password.
func onDatabase(t *testing.T) (server *genuinepostgres.Server, store, passwordFile, password string) {
	t.Helper()
	server = genuinepostgres.For(t)
	store, passwordFile, password = server.StoreFor(t)
	return server, store, passwordFile, password
}

// A node whose archive and registrations are in PostgreSQL does all that one with a
// directory does, shares its archive with another node, outlives the database's absence
// and can be replaced by a node on another machine that has its keys.
func TestNodesOnPostgres(t *testing.T) {
	t.Parallel()
	server, store, passwordFile, password := onDatabase(t)
	w := newWorld(t)
	w.cfg.Node.Store, w.cfg.Node.StorePasswordFile = store, passwordFile
	w.restart(t, true)
	d := w.register(t)
	w.post(t, "one")
	require.Equal(t, []string{"one"}, shows(t, d, w.ring(t)))
	for _, dir := range []string{ArchiveDir(w.cfg), pushDir(w.cfg)} {
		require.NoDirExists(t, dir)
	}

	// What another node archives rings at the one that has the registrations, and each
	// serves the mail of both. They are not connected to each other.
	other := newWorld(t)
	other.cfg.Node.Store, other.cfg.Node.StorePasswordFile = store, passwordFile
	other.restart(t, false)
	other.post(t, "two")
	require.Equal(t, []string{"two"}, shows(t, d, w.ring(t)))
	reader := other.device(t, &newKey(t).PublicKey)
	event, err := reader.History(t.Context())
	require.NoError(t, err)
	require.Len(t, event.Previews, 2)

	// The database goes away and comes back: nothing is acknowledged meanwhile.
	judged := func(all bool) health.Report {
		judge := w.judge()
		defer judge.Close()
		return judge.Report(t.Context(), all)
	}
	require.Empty(t, judged(false).Notes)
	require.NoError(t, server.Halt())
	live := judged(false)
	require.True(t, live.OK(), "a restart would not mend it")
	require.Contains(t, live.Notes[0], postgres.ErrAway.Error())
	ready := judged(true)
	require.False(t, ready.OK())
	require.True(t, slices.ContainsFunc(ready.Checks, func(r health.Result) bool { return r.Name == "database" && !r.OK }))
	posted := make(chan error, 1)
	e, err := whisper.Seal(t.Context(), whisper.Draft{Payload: []byte("three"), Topic: loopChat().Topic, Key: loopChat().Key, PoW: whisper.DefaultMinPoW})
	require.NoError(t, err)
	go func() { posted <- w.whisper.Post(context.Background(), e) }()
	require.NoError(t, server.Start(t.Context()))
	if err := <-posted; err != nil { // it was away for longer than a node waits
		require.ErrorIs(t, err, postgres.ErrAway)
		require.NoError(t, w.whisper.Post(t.Context(), e))
	}
	require.Equal(t, []string{"three"}, shows(t, d, w.ring(t)))
	require.NoError(t, w.store.Ping())

	// A node with the same keys goes on for it.
	w.halt()
	other.post(t, "while nobody rings")
	w.cfg.Node.DataDir = heirOf(t, w.cfg)
	w.restart(t, true)
	again := w.device(t, w.PushKey())
	require.Equal(t, []string{"while nobody rings"}, shows(t, again, w.ring(t)))

	// One with other keys is told so: while it is alone by what is sealed, and else by the others.
	greedy := loopback.Config(t)
	greedy.Node.Store, greedy.Node.StorePasswordFile, greedy.Push.Enabled = store, passwordFile, true
	_, err = Start(greedy, NewLogger(&w.log, w.cfg.Log))
	require.ErrorIs(t, err, postgres.ErrOtherKeys)
	w.halt()
	_, err = Start(greedy, NewLogger(&w.log, w.cfg.Log))
	require.ErrorContains(t, err, "disk key")

	w.halt()
	other.halt()
	for _, log := range []string{string(w.log.Bytes()), string(other.log.Bytes())} {
		require.NotContains(t, log, password)
		require.NotContains(t, log, "role's")
	}
}

// heirOf is a data directory with the keys of a node, as an operator gives them to another one. It has a node key of its
// own.
func heirOf(t *testing.T, cfg config.Config) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"pushkey", "push.disk.key"} {
		key, err := os.ReadFile(filepath.Join(cfg.Node.DataDir, name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), key, 0o600))
	}
	return dir
}

// The settings keep the password out of the URL, and say so.
func TestStoreSettings(t *testing.T) {
	cfg := loopback.Config(t)
	cfg.Mailserver.Enabled = true
	for text, says := range map[string]string{
		"mysql://x/y":                             "no URL of a PostgreSQL database",
		"postgres://a b/c%":                       "no URL of a PostgreSQL database",
		"postgres://role:canary@host/db":          "has a password in it",
		"postgres://role@host/db?password=canary": "has a password in it",
	} {
		cfg.Node.Store = text
		err := cfg.Validate()
		require.ErrorContains(t, err, says)
		require.NotContains(t, err.Error(), "canary")
	}
	cfg.Node.Store = "postgres://role@db.example.org/mail"
	require.NoError(t, cfg.Validate())
	warnings := func() string { return strings.Join(cfg.Warnings(), "\n") }
	require.Contains(t, warnings(), "verify-full")
	cfg.Node.Store += "?sslmode=verify-full"
	require.NotContains(t, warnings(), "Node.Store")
	cfg.Mailserver.Enabled = false
	require.Contains(t, warnings(), "Node.Store (--store) means nothing")
	require.False(t, WithStore(cfg))

	cfg.Mailserver.Enabled, cfg.Node.StorePasswordFile = true, filepath.Join(t.TempDir(), "missing")
	_, err := Start(cfg, NewLogger(&loopback.Log{}, config.Log{Verbosity: 3, Format: "text"}))
	require.ErrorContains(t, err, "--store.password")
	cfg.Node.Store, cfg.Node.StorePasswordFile = "postgres://role@127.0.0.1:1/mail?sslmode=disable", ""
	_, err = Start(cfg, NewLogger(&loopback.Log{}, config.Log{Verbosity: 3, Format: "text"}))
	require.ErrorIs(t, err, postgres.ErrAway)
	require.ErrorContains(t, err, "--store")
}
