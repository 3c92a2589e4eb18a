package client

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"
)

func openKeeper(t *testing.T, store Store) (*keeper, *state) {
	t.Helper()
	k := &keeper{store: store}
	s, err := k.open(t.Context(), time.Now(), []string{"a"})
	require.NoError(t, err)
	return k, s
}

func TestFileStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "device.json")
	_, first := openKeeper(t, FileStore(path))
	_, second := openKeeper(t, FileStore(path))
	require.Equal(t, first, second, "the keys are there before they are used")
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), "it holds private keys")
	require.Error(t, FileStore(filepath.Join(path, "below-a-file")).Save(t.Context(), nil))
}

// A crash while the state is written leaves a file with private keys, which goes with
// the next start. Nothing else in the directory is touched.
func TestCrashLeavesNoKeys(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "push.json")
	old := time.Now().Add(-time.Hour)
	for _, name := range []string{"push.json.123456789", "push.json.bak", "push.json.1.old", "other.json.42", "pushxjson.42"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("key"), 0o600))
		require.NoError(t, os.Chtimes(filepath.Join(dir, name), old, old))
	}
	openKeeper(t, FileStore(path))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	require.Equal(t, []string{"other.json.42", "push.json", "push.json.1.old", "push.json.bak", "push.json.lock", "pushxjson.42"}, names)
}

// A process that was killed while it held the lock holds up nobody, and one that
// was stopped holds up the others for a few seconds, and they say why.
func TestLockOfAnotherProcess(t *testing.T) {
	if !lockable {
		t.Skip("this system has no flock")
	}
	if path := os.Getenv("CLIENT_TEST_LOCK"); path != "" {
		_, err := FileStore(path).Lock(t.Context())
		require.NoError(t, err)
		os.Stdout.WriteString("locked\n")
		select {} // until it is killed
	}
	path := filepath.Join(t.TempDir(), "push.json")
	k, s := openKeeper(t, FileStore(path))
	other := exec.Command(os.Args[0], "-test.run=^TestLockOfAnotherProcess$")
	other.Env = append(os.Environ(), "CLIENT_TEST_LOCK="+path)
	out, err := other.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, other.Start())
	t.Cleanup(func() {
		other.Process.Kill()
		_ = other.Wait()
	})
	line := make([]byte, len("locked\n"))
	_, err = out.Read(line)
	require.NoError(t, err)
	require.Equal(t, "locked\n", string(line))

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = FileStore(path).Lock(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	d := &Device{keep: k, state: s, given: make(map[common.Hash]bool)}
	require.ErrorIs(t, d.Shown(t.Context(), common.Hash{1}), ErrLocked)

	require.NoError(t, other.Process.Kill())
	_ = other.Wait()
	require.NoError(t, d.Shown(t.Context(), common.Hash{1}))
}

// A store that fails changes nothing, and says what could not be done.
func TestStoreFails(t *testing.T) {
	store := &brokenStore{full: errors.New("no space left on device")}
	_, err := (&keeper{store: store}).open(t.Context(), time.Now(), []string{"a"})
	require.ErrorIs(t, err, store.full)
	require.ErrorContains(t, err, "keeping device state")
	text, err := store.Load(t.Context())
	require.NoError(t, err)
	require.Empty(t, text)
	dir := t.TempDir()
	_, err = (&keeper{store: FileStore(dir)}).open(t.Context(), time.Now(), []string{"a"})
	require.ErrorContains(t, err, "reading device state")
	require.True(t, strings.Contains(err.Error(), dir), "which file")
}
