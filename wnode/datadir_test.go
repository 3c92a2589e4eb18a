package wnode

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
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
		err := checkDataDir(dir)
		if test.want == "" {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorContains(t, err, test.want, name)
		require.Contains(t, err.Error(), dir)
		for _, args := range [][]string{{"--ipcdisable", "--datadir", dir}, {"recover", "--datadir", dir}, {"doctor", "--datadir", dir}} {
			var stdout, stderr bytes.Buffer
			require.Equal(t, 1, Main(t.Context(), append([]string{"wnode"}, args...), nil, &stdout, &stderr), name)
			require.Contains(t, stdout.String()+stderr.String(), test.want)
		}
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

// A user who may not write, or read what is there, is told what and whose it is to be.
func TestDataDirOfAnother(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can be another user")
	}
	parent, err := os.MkdirTemp("", "wnode")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(parent) })
	require.NoError(t, os.Chmod(parent, 0o755))
	program := filepath.Join(parent, "wnode")
	self, err := os.ReadFile("/proc/self/exe")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(program, self, 0o755))
	asNobody := func(dir string) string {
		cmd := exec.Command(program, "--datadir", dir, "--mailserver", "--addr", "127.0.0.1", "--port", "0", "--nat", "none", "--nodiscover")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		cmd.Env, cmd.Dir = append(os.Environ(), "HOME="+parent), parent
		said, err := cmd.CombinedOutput()
		require.Error(t, err)
		lines := strings.Split(strings.TrimSpace(string(said)), "\n")
		return lines[len(lines)-1]
	}
	roots := filepath.Join(parent, "roots")
	require.NoError(t, os.Mkdir(roots, 0o755))
	require.Equal(t, "wnode: the data directory "+roots+" cannot be written by this user; give it to the user with chown, or choose another with --datadir", asNobody(roots))
	below := filepath.Join(roots, "below")
	require.Equal(t, "wnode: the data directory "+below+" cannot be written by this user; give it to the user with chown, or choose another with --datadir", asNobody(below))

	// It was started as root once, and given to the user without what is in it.
	cfg := loopback(t)
	cfg.Mailserver.Enabled = true
	run(t, cfg).stop()
	require.NoError(t, os.Chmod(cfg.Node.DataDir, 0o755))
	require.NoError(t, os.Chown(cfg.Node.DataDir, 65534, 65534))
	require.NoError(t, os.Chown(filepath.Join(cfg.Node.DataDir, "LOCK"), 65534, 65534))
	require.NoError(t, os.Chown(filepath.Join(cfg.Node.DataDir, "nodekey"), 65534, 65534))
	said := asNobody(cfg.Node.DataDir)
	require.Contains(t, said, "wnode: "+filepath.Join(cfg.Node.DataDir, "archive"))
	require.Contains(t, said, " cannot be read and written by this user; give it to the user with chown -R, or run as the user whose it is")
}

// A disk on which the node cannot make its files is said to be full, in one sentence, and nothing is left on it.
func TestStartOnATinyDisk(t *testing.T) {
	for _, size := range []string{"32k", "96k", "200k"} {
		cfg := loopback(t)
		if err := syscall.Mount("tmpfs", cfg.Node.DataDir, "tmpfs", 0, "size="+size); err != nil {
			t.Skipf("this user cannot mount a tiny disk: %v", err)
		}
		t.Cleanup(func() { syscall.Unmount(cfg.Node.DataDir, 0) })
		cfg.Push.Enabled = true
		cfg.Node.DataDir = filepath.Join(cfg.Node.DataDir, "d")
		_, err := start(cfg, slog.New(slog.DiscardHandler))
		require.EqualError(t, err, "the disk of the data directory "+cfg.Node.DataDir+" is full; make room, or choose another with --datadir")
		require.NoDirExists(t, cfg.Node.DataDir)
	}
}
