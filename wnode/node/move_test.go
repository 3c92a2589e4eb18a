//go:build unix

package node

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"whisperpush/config"
	"whisperpush/pushext/client"
	"whisperpush/whisper"
)

// filesIn are the hashes of all files below a directory but locks, and LOG, in which LevelDB says when it was opened.
func filesIn(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || entry.Name() == "LOCK" || entry.Name() == "LOG" {
			return err
		}
		content, err := os.ReadFile(path)
		sum := sha256.Sum256(content)
		all[path] = hex.EncodeToString(sum[:])
		return err
	}))
	return all
}

// moved runs a move to its end, which somebody interrupts at every n-th step until it is too far on for that; n is 0 for
// never.
func moved(t *testing.T, cfg config.Config, move func(context.Context, config.Config, MoveProgress) (MoveReport, error), random *rand.Rand, n int) MoveReport {
	t.Helper()
	for attempt := 0; ; attempt++ {
		require.Less(t, attempt, 100)
		ctx, cancel := context.WithCancel(t.Context())
		left := -1
		if n > 0 {
			left = 1 + random.IntN(n) + attempt // later each time: it ends
		}
		report, err := move(ctx, cfg, func(string, uint64, uint64) {
			if left--; left == 0 {
				cancel()
			}
		})
		cancel()
		if err == nil {
			return report
		}
		if strings.Contains(err.Error(), "is in use by another node") {
			continue // a test beside this one is just starting a process, which has our files for a moment
		}
		require.ErrorIs(t, err, context.Canceled, "attempt %d", attempt)
		require.ErrorContains(t, err, "run wnode move again to go on")
	}
}

func toStore(ctx context.Context, cfg config.Config, p MoveProgress) (MoveReport, error) {
	return MoveToStore(ctx, cfg, nil, p)
}

func toDirectory(ctx context.Context, cfg config.Config, p MoveProgress) (MoveReport, error) {
	return MoveToDirectory(ctx, cfg, nil, p)
}

func untold(string, uint64, uint64) {}

// twinOf returns a data directory with all keys of a node.
func twinOf(t *testing.T, cfg config.Config) string {
	t.Helper()
	dir := heirOf(t, cfg)
	key, err := os.ReadFile(NodeKeyFile(cfg).Path())
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "nodekey"), key, 0o600))
	return dir
}

// texts are those of an event's previews.
func texts(event client.Event) (list []string) {
	for _, p := range event.Previews {
		list = append(list, p.Text)
	}
	return list
}

// newest is the hash of what was archived last.
func (w *world) newest(t *testing.T) common.Hash {
	t.Helper()
	hash, ok := w.archive.HashAt(w.archive.Last())
	require.True(t, ok)
	return hash
}

// A mailserver moves to a database and back, with devices that have fetched, that have not, and that ask by sequence. None
// of them registers anew, misses anything or is given anything twice.
func TestMailserverMoves(t *testing.T) {
	t.Parallel()
	_, store, passwordFile, _ := onDatabase(t)
	w := newWorld(t)
	w.restart(t, true)
	var phones []*phone
	for range 5 {
		phones = append(phones, phoneAt(t, w))
	}
	account := &newKey(t).PublicKey
	reader := w.device(t, account) // asks for mail alone
	w.post(t, "one")
	for _, p := range phones {
		require.Equal(t, []string{"one"}, shows(t, p.Device, p.ring(t).Body))
		p.Sleep()
	}
	event, err := reader.History(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"one"}, texts(event))
	require.NoError(t, reader.Shown(t.Context(), event.Hashes()...))
	w.post(t, "two")
	for i, p := range phones {
		body := p.ring(t).Body
		if i > 0 { // the others were off
			require.Equal(t, []string{"two"}, shows(t, p.Device, body))
			p.Sleep()
		}
	}
	require.NoError(t, reader.Close())
	id, first, last := w.archive.ID(), w.archive.First(), w.archive.Last()

	from := w.cfg
	w.cfg.Node.Store, w.cfg.Node.StorePasswordFile = store, passwordFile
	_, err = MoveToStore(t.Context(), w.cfg, nil, untold)
	require.ErrorContains(t, err, "in use by another node")
	w.halt()
	_, err = MoveToDirectory(t.Context(), w.cfg, nil, untold)
	require.ErrorContains(t, err, "no node has used it")

	before := filesIn(t, from.Node.DataDir)
	report := moved(t, w.cfg, toStore, nil, 0)
	require.Equal(t, before, filesIn(t, from.Node.DataDir), "what is moved stays as it is")
	require.EqualValues(t, last+1-first, report.Envelopes)
	require.Equal(t, 5, report.Registrations)
	require.Equal(t, 5, report.Outboxes)
	require.Equal(t, 1, report.Waiting)
	require.Len(t, report.Cursors, 16)
	require.Equal(t, last, report.Cursors[7])
	_, err = MoveToStore(t.Context(), w.cfg, nil, untold)
	require.ErrorContains(t, err, "is not empty")

	goOn := func(newest, unfetched string) {
		t.Helper()
		w.restart(t, true)
		require.Equal(t, id, w.archive.ID())
		require.Equal(t, first, w.archive.First())
		for _, p := range phones {
			p.ask(t, w)
			p.Sleep()
		}
		w.post(t, newest)
		hash := w.newest(t)
		for i, p := range phones {
			event, err := p.Receive(t.Context(), p.ring(t).Body)
			require.NoError(t, err)
			if !slices.Contains(event.Hashes(), hash) { // a wake-up whose outcome the node had not heard is repeated
				require.Zero(t, i)
				event, err = p.Receive(t.Context(), p.ring(t).Body)
				require.NoError(t, err)
			}
			require.False(t, event.Gap && i > 0, "numbers of wake-ups go on")
			want := []string{newest}
			if i == 0 {
				want = append(want, unfetched)
			}
			require.ElementsMatch(t, want, texts(event))
			require.NoError(t, p.Shown(t.Context(), event.Hashes()...))
			require.True(t, p.Active())
			p.Sleep()
		}
		reader := w.device(t, account)
		event, err := reader.History(t.Context())
		require.NoError(t, err)
		require.Equal(t, []string{unfetched, newest}, texts(event), "by sequence since its cursor")
		require.NoError(t, reader.Shown(t.Context(), event.Hashes()...))
		require.NoError(t, reader.Close())
	}
	goOn("three", "two")

	// And back, into another directory with the same keys.
	w.post(t, "four")
	for i, p := range phones {
		body := p.ring(t).Body
		if i > 0 {
			require.Equal(t, []string{"four"}, shows(t, p.Device, body))
			p.Sleep()
		}
	}
	last = w.archive.Last()
	back := w.cfg
	back.Node.DataDir = twinOf(t, w.cfg)
	_, err = MoveToDirectory(t.Context(), back, nil, untold)
	require.ErrorContains(t, err, "in use by a node on 127.0.0.1")
	w.halt()
	_, err = MoveToDirectory(t.Context(), w.cfg, nil, untold)
	require.ErrorContains(t, err, "there is something in")
	report = moved(t, back, toDirectory, nil, 0)
	require.EqualValues(t, last+1-first, report.Envelopes)
	require.Equal(t, 5, report.Registrations)
	require.Equal(t, 1, report.Waiting)
	require.Equal(t, []uint64{last}, report.Cursors)
	require.NoDirExists(t, filepath.Join(back.Node.DataDir, movingDir))
	w.cfg.Node.DataDir, w.cfg.Node.Store = back.Node.DataDir, ""
	goOn("five", "four")
	w.halt()
	require.NotContains(t, string(w.log.Bytes()), "archive's log is not the one it was")
}

// A move that is interrupted again and again comes to the same end, no node starts on its half, and what it is of may not
// change meanwhile.
func TestMoveIsInterrupted(t *testing.T) {
	t.Parallel()
	_, store, passwordFile, _ := onDatabase(t)
	w := newWorld(t)
	w.restart(t, true)
	phones := []*phone{phoneAt(t, w), phoneAt(t, w), phoneAt(t, w)}
	var envs []*whisper.Envelope
	for n := range 900 {
		e, err := whisper.Seal(t.Context(), whisper.Draft{Payload: []byte{byte(n), byte(n >> 8)}, Topic: whisper.Topic{1, 2, 3, byte(n)}, Key: loopChat().Key, TTL: 3600, PoW: 0.001})
		require.NoError(t, err)
		envs = append(envs, e)
	}
	done := make(chan error, 1)
	w.archive.Archive(t.Context(), envs, func(err error) { done <- err })
	require.NoError(t, <-done)
	w.post(t, "waits")
	for _, p := range phones {
		p.ring(t)
	}
	w.halt()
	w.cfg.Node.Store, w.cfg.Node.StorePasswordFile = store, passwordFile

	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	ctx, cancel := context.WithCancel(t.Context())
	_, err := MoveToStore(ctx, w.cfg, nil, func(string, uint64, uint64) { cancel() })
	require.ErrorIs(t, err, context.Canceled)
	_, err = Start(w.cfg, NewLogger(&w.log, w.cfg.Log))
	require.ErrorContains(t, err, "is not finished; run wnode move again")
	there := moved(t, w.cfg, toStore, random, 4)
	require.EqualValues(t, 901, there.Envelopes)

	back := w.cfg
	back.Node.DataDir = twinOf(t, w.cfg)
	ctx, cancel = context.WithCancel(t.Context())
	_, err = MoveToDirectory(ctx, back, nil, func(string, uint64, uint64) { cancel() })
	require.ErrorIs(t, err, context.Canceled)
	alone := back
	alone.Node.Store = ""
	_, err = Start(alone, NewLogger(&w.log, w.cfg.Log))
	require.ErrorIs(t, err, ErrMoveHalf)
	var mark []byte
	here := moved(t, back, func(ctx context.Context, cfg config.Config, p MoveProgress) (MoveReport, error) {
		return MoveToDirectory(ctx, cfg, nil, func(stage string, done, total uint64) {
			mark, _ = os.ReadFile(filepath.Join(cfg.Node.DataDir, movingDir, movingMark))
			p(stage, done, total)
		})
	}, random, 4)
	require.Equal(t, there.Envelopes, here.Envelopes)
	require.Equal(t, there.Bytes, here.Bytes)
	require.Equal(t, there.Registrations, here.Registrations)
	require.Equal(t, there.Waiting, here.Waiting)

	// What has its place already is checked there, if the rest of it was interrupted.
	next := filepath.Join(back.Node.DataDir, movingDir)
	require.NoError(t, os.Mkdir(next, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(next, movingMark), mark, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(next, movedMark), nil, 0o600))
	require.NoError(t, os.Rename(ArchiveDir(back), filepath.Join(next, "archive")))
	_, err = Start(alone, NewLogger(&w.log, w.cfg.Log))
	require.ErrorIs(t, err, ErrMoveHalf)
	require.Equal(t, here, moved(t, back, toDirectory, nil, 0))
	require.NoDirExists(t, next)

	w.cfg.Node.DataDir, w.cfg.Node.Store = back.Node.DataDir, ""
	w.restart(t, true)
	for _, p := range phones {
		p.ask(t, w)
		p.Sleep()
	}
	w.post(t, "goes on")
	hash := w.newest(t)
	for _, p := range phones {
		event := client.Event{}
		for !slices.Contains(event.Hashes(), hash) { // a wake-up whose outcome the node had not heard is repeated
			event, err = p.Receive(t.Context(), p.ring(t).Body)
			require.NoError(t, err)
		}
		require.ElementsMatch(t, []string{"waits", "goes on"}, texts(event))
	}
	w.halt()
}

// What became of a copy behind a move's back is found before the move counts.
func TestMoveComparesEnvelopes(t *testing.T) {
	t.Parallel()
	server, _, _, _ := onDatabase(t)
	url, err := server.Database(t.Context())
	require.NoError(t, err)
	w := newWorld(t)
	w.restart(t, false)
	for range 3 {
		w.post(t, "some text")
	}
	w.halt()
	w.cfg.Node.Store = url
	stop := func() (context.Context, MoveProgress) {
		ctx, cancel := context.WithCancel(t.Context())
		return ctx, func(stage string, _, _ uint64) {
			if stage == CheckArchive {
				cancel()
			}
		}
	}
	ctx, p := stop()
	_, err = MoveToStore(ctx, w.cfg, nil, p)
	require.ErrorIs(t, err, context.Canceled)
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	for _, change := range [][2]string{
		{"UPDATE whisperpush.log_1 SET received = received + 1 WHERE seq = 2", "UPDATE whisperpush.log_1 SET received = received - 1 WHERE seq = 2"},
		{"UPDATE whisperpush.log_1 SET seq = 4 WHERE seq = 2", "UPDATE whisperpush.log_1 SET seq = 2 WHERE seq = 4"},
	} {
		_, err = conn.Exec(t.Context(), change[0])
		require.NoError(t, err)
		_, err = MoveToStore(t.Context(), w.cfg, nil, untold)
		require.ErrorContains(t, err, "differs from the original at envelope 2")
		_, err = conn.Exec(t.Context(), change[1])
		require.NoError(t, err)
	}
	_, err = conn.Exec(t.Context(), "UPDATE whisperpush.log_1 SET raw = '\\x00' WHERE seq = 3")
	require.NoError(t, err)
	_, err = MoveToStore(t.Context(), w.cfg, nil, untold)
	require.ErrorContains(t, err, "the row of envelope 3 is not what was archived")
}

// Each thing that is not as a move needs it is said in words, and changes nothing.
func TestMoveIsRefused(t *testing.T) {
	t.Parallel()
	server, store, passwordFile, _ := onDatabase(t)
	w := newWorld(t)
	w.cfg.Node.Store, w.cfg.Node.StorePasswordFile = store, passwordFile
	missing := w.cfg
	missing.Node.DataDir = filepath.Join(t.TempDir(), "none")
	_, err := MoveToStore(t.Context(), missing, nil, untold)
	require.ErrorContains(t, err, "there is no data directory")
	_, err = MoveToStore(t.Context(), w.cfg, nil, untold)
	require.ErrorIs(t, err, ErrSourceEmpty)

	w.cfg.Node.Store = ""
	w.restart(t, true)
	w.register(t)
	w.halt()
	w.cfg.Node.Store = store
	key, err := os.ReadFile(DiskKeyFile(w.cfg).Path())
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(DiskKeyFile(w.cfg).Path(), []byte(hex.EncodeToString(make([]byte, 32))), 0o600))
	_, err = MoveToStore(t.Context(), w.cfg, nil, untold)
	require.ErrorContains(t, err, "is not the one that the registrations in")
	require.NoError(t, os.WriteFile(DiskKeyFile(w.cfg).Path(), key, 0o600))

	require.NoError(t, server.Halt())
	_, err = MoveToStore(t.Context(), w.cfg, nil, untold)
	require.ErrorContains(t, err, "the database does not answer")
	require.NoError(t, server.Start(t.Context()))

	// A database with tables, and nothing in them.
	other := newWorld(t)
	other.cfg.Node.Store, other.cfg.Node.StorePasswordFile = store, passwordFile
	other.restart(t, false)
	_, err = MoveToStore(t.Context(), w.cfg, nil, untold)
	require.ErrorContains(t, err, "in use by a node on 127.0.0.1; stop that first")
	other.halt()
	_, err = MoveToDirectory(t.Context(), other.cfg, nil, untold)
	require.ErrorIs(t, err, ErrSourceEmpty)
	moved(t, w.cfg, toStore, nil, 0)

	// The unfinished move of something else is not gone on with.
	third := newWorld(t)
	third.cfg.Node.Store = ""
	third.restart(t, false)
	third.post(t, "of a third")
	third.halt()
	url, err := server.Database(t.Context())
	require.NoError(t, err)
	third.cfg.Node.Store = url
	ctx, cancel := context.WithCancel(t.Context())
	third.cfg.Node.StorePasswordFile = ""
	_, err = MoveToStore(ctx, third.cfg, nil, func(string, uint64, uint64) { cancel() })
	require.True(t, err == nil || errors.Is(err, context.Canceled), "%v", err)
	w.cfg.Node.Store, w.cfg.Node.StorePasswordFile = url, ""
	_, err = MoveToStore(t.Context(), w.cfg, nil, untold)
	require.ErrorContains(t, err, "has an unfinished move of something else")
}
