//go:build unix

package wnode

import (
	"bytes"
	"context"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"whisperpush/mailserver/archive"
	"whisperpush/testutil/genuinepostgres"
	"whisperpush/whisper"
	"whisperpush/wnode/node"
)

// Scripts that need a PostgreSQL server: each has an empty database, whose URL is $STORE, and $PASSWORD is the file with the
// password.
func TestScriptsOnPostgres(t *testing.T) {
	server := genuinepostgres.For(t)
	all := scripts("testdata/postgres")
	setup := all.Setup
	all.Setup = func(env *testscript.Env) error {
		store, password, err := server.Store(context.Background())
		if err != nil {
			return err
		}
		env.Setenv("STORE", store)
		env.Setenv("PASSWORD", filepath.Join(env.WorkDir, "password"))
		if err := os.WriteFile(filepath.Join(env.WorkDir, "password"), []byte(password+"\n"), 0o600); err != nil {
			return err
		}
		return setup(env)
	}
	testscript.Run(t, all)
}

// Where there is no terminal, long work says a line for each stage that ends, and one every ten seconds.
func TestStages(t *testing.T) {
	var out bytes.Buffer
	s := newStages(&out)
	s.progress("envelopes", 0, 1000)
	s.progress("envelopes", 500, 1000)
	require.Empty(t, out.String())
	s.said = time.Now().Add(-stagesEvery)
	s.progress("envelopes", 600, 1000)
	require.Equal(t, "envelopes: 600 of 1000\n", out.String())
	s.progress("envelopes", 1000, 1000)
	s.progress("registrations", 128, 0)
	s.close()
	s.close()
	require.Equal(t, "envelopes: 600 of 1000\nenvelopes: 1000 of 1000\nregistrations: 128 records\n", out.String())
}

// A move that is killed at any moment, again and again, goes on, and what it comes to has every envelope.
func TestMoveIsKilled(t *testing.T) {
	t.Parallel()
	store, file, _ := genuinepostgres.For(t).StoreFor(t)
	dir := t.TempDir()

	const many = 30_000
	filled, err := archive.Open(filepath.Join(dir, "archive"), archive.Options{Retention: -1})
	require.NoError(t, err)
	id := filled.ID()
	var envs []*whisper.Envelope
	var hashes []common.Hash // of some
	for n := range uint64(many) {
		raw, err := rlp.EncodeToBytes([]any{uint32(4_000_000_050), uint32(50), []byte{1, 2, 3, byte(n)}, make([]byte, 300), n})
		require.NoError(t, err)
		env, err := whisper.DecodeEnvelope(raw)
		require.NoError(t, err)
		if n%97 == 0 {
			hashes = append(hashes, env.Hash())
		}
		if envs = append(envs, env); len(envs) == 500 {
			done := make(chan error, 1)
			filled.Archive(t.Context(), envs, func(err error) { done <- err })
			require.NoError(t, <-done)
			envs = nil
		}
	}
	require.NoError(t, filled.Close())

	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 2))
	run := func(to, dir string) {
		killed := 0
		for attempt := 1; ; attempt++ {
			require.Less(t, attempt, 200)
			cmd := exec.Command("wnode", "move", "--json", "--to", to, "--datadir", dir, "--store", store, "--store.password", file)
			var out, said bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &said
			require.NoError(t, cmd.Start())
			kill := time.AfterFunc(time.Duration(random.Int64N(int64(time.Duration(attempt)*50*time.Millisecond))), func() { cmd.Process.Kill() })
			err := cmd.Wait()
			if !kill.Stop() && err != nil {
				killed++
				continue
			}
			if err != nil && strings.Contains(said.String(), " is in use by wnode move") {
				continue // the server has not noticed yet that the one before is gone
			}
			t.Logf("--to %s was killed %d times", to, killed)
			if err != nil && killed > 0 && (strings.Contains(said.String(), "is not empty") || strings.Contains(said.String(), "there is something in")) {
				return // the one before came to its end, and was killed before it could say so
			}
			require.NoError(t, err, said.String())
			var report node.MoveReport
			require.NoError(t, json.Unmarshal(out.Bytes(), &report))
			require.EqualValues(t, many, report.Envelopes)
			return
		}
	}
	run("database", dir)
	back := t.TempDir()
	run("directory", back)
	again, err := archive.Open(filepath.Join(back, "archive"), archive.Options{Retention: -1})
	require.NoError(t, err)
	require.Equal(t, id, again.ID())
	require.EqualValues(t, many, again.Last())
	found, missing, err := again.ByHash(t.Context(), hashes)
	require.NoError(t, err)
	require.Empty(t, missing)
	require.Len(t, found, len(hashes))
	require.NoError(t, again.Close())
}
