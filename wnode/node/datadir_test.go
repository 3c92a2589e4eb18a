package node

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"whisperpush/testutil/loopback"
)

// Each way in which a data directory is of no use, in one sentence that names it
// and says what to do.
func TestDataDirErrors(t *testing.T) {
	for want, err := range map[string]error{
		"the data directory /d cannot be written by this user; give it to the user with chown":         &os.PathError{Op: "mkdir", Err: syscall.EACCES},
		"the data directory /d cannot be written by this user; give it to the user with chown, or cho": &os.PathError{Op: "mkdir", Err: syscall.EROFS},
		"a part of the path of the data directory /d is a file; choose another with --datadir":         &os.PathError{Op: "mkdir", Err: syscall.ENOTDIR},
		"the disk of the data directory /d is full; make room, or choose another with --datadir":       &os.PathError{Op: "mkdir", Err: syscall.ENOSPC},
		"the data directory /d cannot be used: input/output error":                                     syscall.EIO,
	} {
		require.ErrorContains(t, dataDirError("/d", err), want)
	}
	require.True(t, diskFull(fmt.Errorf("open: %w", syscall.ENOSPC)))
	require.True(t, diskFull(errors.New("newManifest error: write MANIFEST-000000: no space left on device, cleanup error (<nil>)")))
	require.False(t, diskFull(syscall.EIO))
}

// A directory that is no node's is refused by what is in it; one of a node's is taken, whatever else is there.
func TestForeignDataDirs(t *testing.T) {
	for name, test := range map[string]struct {
		entries []string
		want    string
	}{
		"empty":           {nil, ""},
		"a node's":        {[]string{"LOCK", "nodekey", "archive/log.json"}, ""},
		"shared":          {[]string{"nodekey", "geth/nodekey", "notes.txt"}, ""},
		"other files":     {[]string{"notes.txt"}, ""},
		"geth's":          {[]string{"geth/nodekey", "keystore/x"}, "is a data directory of geth; choose another with --datadir"},
		"geth's accounts": {[]string{"keystore/x"}, "is a data directory of geth"},
		"an old geth's":   {[]string{"nodekey", "nodes/CURRENT", "chaindata/CURRENT"}, "is a data directory of geth"},
		"LevelDB":         {[]string{"CURRENT", "MANIFEST-000001", "LOCK"}, "holds a LevelDB database of another program, or is one part of a data directory"},
		"our archive":     {[]string{"log.json", "LOCK", "p00000000000000000001/CURRENT"}, "is the archive in a data directory; choose the directory above it"},
		"our push":        {[]string{"CURRENT", "LOCK"}, "is one part of a data directory"},
	} {
		dir := filepath.Join(t.TempDir(), "d")
		require.NoError(t, os.Mkdir(dir, 0o700))
		for _, entry := range test.entries {
			path := filepath.Join(dir, filepath.FromSlash(entry))
			require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
			require.NoError(t, os.WriteFile(path, nil, 0o600))
		}
		before := tree(t, dir)
		err := CheckDataDir(dir)
		if test.want == "" {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorContains(t, err, test.want, name)
		require.Contains(t, err.Error(), dir)
		cfg := loopback.Config(t)
		cfg.Node.DataDir = dir
		_, err = Start(cfg, slog.New(slog.DiscardHandler))
		require.ErrorContains(t, err, test.want, name)
		require.Equal(t, before, tree(t, dir), "it is not touched")
	}
}

// What another node made while this one waited for the directory is not this one's to remove.
func TestClaim(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	first, err := claimDir(dir)
	require.NoError(t, err)
	_, err = claimDir(dir)
	require.ErrorContains(t, err, "is in use by another node; stop that one or choose another with --datadir")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "nodekey"), []byte("key"), 0o600))
	first.keep()
	first.release()

	second, err := claimDir(dir)
	require.NoError(t, err)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "archive"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "notes.txt"), nil, 0o600))
	second.release()
	require.FileExists(t, filepath.Join(dir, "nodekey"))
	require.FileExists(t, filepath.Join(dir, "notes.txt"))
	require.NoDirExists(t, filepath.Join(dir, "archive"))
}

// Nodes that begin and fail on one directory at the same time never hold it together.
func TestClaimsExcludeEachOther(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	var held atomic.Int32
	var each sync.WaitGroup
	for range 8 {
		each.Go(func() {
			for range 200 {
				c, err := claimDir(dir)
				if err != nil {
					continue
				}
				if held.Add(1) != 1 {
					t.Error("two hold it")
				}
				held.Add(-1)
				c.release()
			}
		})
	}
	each.Wait()
	c, err := claimDir(dir)
	require.NoError(t, err, "nobody is locked out afterwards")
	c.release()
}

// A disk on which the node cannot make its files is said to be full, in one sentence, and nothing is left on it.
func TestStartOnATinyDisk(t *testing.T) {
	for _, size := range []string{"32k", "96k", "200k"} {
		cfg := loopback.Config(t)
		if err := syscall.Mount("tmpfs", cfg.Node.DataDir, "tmpfs", 0, "size="+size); err != nil {
			t.Skipf("this user cannot mount a tiny disk: %v", err)
		}
		t.Cleanup(func() { syscall.Unmount(cfg.Node.DataDir, 0) })
		cfg.Push.Enabled = true
		cfg.Node.DataDir = filepath.Join(cfg.Node.DataDir, "d")
		_, err := Start(cfg, slog.New(slog.DiscardHandler))
		require.EqualError(t, err, "the disk of the data directory "+cfg.Node.DataDir+" is full; make room, or choose another with --datadir")
		require.NoDirExists(t, cfg.Node.DataDir)
	}
}
