package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// ownEntries is what a node makes in its data directory. The socket is removed when the node stops.
var ownEntries = []string{"LOCK", "nodekey", "nodes", "archive", "pushkey", "pushkey.former", "push.disk.key", "push", "push.paused", "devices.key"}

// ownDirs are those of them that are directories.
var ownDirs = []string{"nodes", "archive", "push"}

// CheckDataDir refuses a directory of another program, before anything is written into it.
func CheckDataDir(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return dataDirError(dir, err)
	case !info.IsDir():
		return fmt.Errorf("the data directory %s is a file; choose another with --datadir", dir)
	}
	for _, name := range ownDirs {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			return fmt.Errorf("%s is a file, and the node keeps a directory there; move it away, or choose another data directory with --datadir", path)
		}
	}
	has := func(name string) bool { _, err := os.Stat(filepath.Join(dir, name)); return err == nil }
	switch {
	case has(filepath.Join(restoringDir, restoredMark)):
		return ErrRestoring
	case has(filepath.Join(movingDir, movedMark)):
		return ErrMoveHalf
	case has("CURRENT"): // of LevelDB, whose LOCK has the same name as ours
		return fmt.Errorf("%s holds a LevelDB database of another program, or is one part of a data directory; choose another with --datadir", dir)
	case has("log.json"):
		return fmt.Errorf("%s is the archive in a data directory; choose the directory above it with --datadir", dir)
	case slices.ContainsFunc(ownEntries[1:], has) && !has("chaindata"): // it is ours, whatever else it holds
		return nil
	case has("geth"), has("chaindata"), has("keystore"):
		return fmt.Errorf("%s is a data directory of geth; choose another with --datadir", dir)
	}
	return nil
}

// diskFull reports whether a full disk caused err. Some of goleveldb's errors have the cause only in their text.
func diskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || strings.Contains(err.Error(), syscall.ENOSPC.Error())
}

// dataDirError says in one sentence why the data directory cannot be used.
func dataDirError(dir string, err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("the data directory %s cannot be written by this user; give it to the user with chown, or choose another with --datadir", dir)
	case errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("a part of the path of the data directory %s is a file; choose another with --datadir", dir)
	case diskFull(err):
		return fmt.Errorf("the disk of the data directory %s is full; make room, or choose another with --datadir", dir)
	}
	return fmt.Errorf("the data directory %s cannot be used: %w", dir, cause(err))
}

// startError blames a failed start on the data directory, if that is the cause.
func startError(dir string, err error) error {
	var denied *fs.PathError
	switch {
	case diskFull(err):
		return dataDirError(dir, err)
	case errors.Is(err, fs.ErrPermission) && errors.As(err, &denied) && within(denied.Path, dir):
		return fmt.Errorf("%s cannot be read and written by this user; give it to the user with chown -R, or run as the user whose it is", denied.Path)
	}
	return err
}

// within reports whether path is in dir.
func within(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}

// claim is a data directory that this process has to itself, and that it can leave as it found it.
type claim struct {
	dir    string
	unlock func()
	above  []string // directories that were made, outermost first, dir last
	fresh  []string // entries of the node that dir did not have, LOCK first
}

// claimDir makes dir if it is missing, and takes it.
func claimDir(dir string) (*claim, error) {
	c := &claim{dir: dir}
	for above := dir; absent(above); above = filepath.Dir(above) {
		c.above = append([]string{above}, c.above...)
	}
	note := func(names ...string) {
		for _, name := range names {
			if path := filepath.Join(dir, name); absent(path) {
				c.fresh = append(c.fresh, path)
			}
		}
	}
	note(ownEntries[0]) // taking the directory makes it; another node may make some of the others until then
	var err error
	if c.unlock, err = LockDir(dir); err != nil {
		c.removeAbove()
		return nil, err
	}
	note(ownEntries[1:]...)
	return c, nil
}

// absent reports whether certainly nothing is at path.
func absent(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// keep is called before anybody else can learn what the directory holds. From then on nothing is removed.
func (c *claim) keep() { c.above, c.fresh = nil, nil }

// release gives the directory up. Unless keep was called, it leaves it as it was when it was taken.
func (c *claim) release() {
	for _, path := range slices.Backward(c.fresh) { // LOCK last, while it is held
		os.RemoveAll(path)
	}
	c.removeAbove()
	c.unlock()
}

// removeAbove removes the directories that were made, if they are empty.
func (c *claim) removeAbove() {
	for _, path := range slices.Backward(c.above) {
		os.Remove(path)
	}
}
