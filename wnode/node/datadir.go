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

// ownEntries is what a node makes in its data directory; the socket goes when the node does.
var ownEntries = []string{"LOCK", "nodekey", "nodes", "archive", "pushkey", "pushkey.former", "push.disk.key", "push"}

// ownDirs are those of them that are directories.
var ownDirs = []string{"nodes", "archive", "push"}

// CheckDataDir refuses a directory that is another program's, before anything is written into it.
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
	case has("CURRENT"): // of LevelDB; its LOCK has the name of ours
		return fmt.Errorf("%s holds a LevelDB database of another program, or is one part of a data directory; choose another with --datadir", dir)
	case has("log.json"):
		return fmt.Errorf("%s is the archive in a data directory; choose the directory above it with --datadir", dir)
	case slices.ContainsFunc(ownEntries[1:], has) && !has("chaindata"): // it is ours, whatever else is there
		return nil
	case has("geth"), has("chaindata"), has("keystore"):
		return fmt.Errorf("%s is a data directory of geth; choose another with --datadir", dir)
	}
	return nil
}

// diskFull reports whether err comes of a full disk. Some of goleveldb's errors have the cause in their text alone.
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

// startError puts a failed start down to the data directory, if that is what it is.
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

// claim is a data directory that this process has to itself, and that it can leave as it was.
type claim struct {
	dir    string
	unlock func()
	above  []string // directories that were made, the outermost first, dir the last
	fresh  []string // what was not in dir of that which the node makes, LOCK first
}

// claimDir makes dir if need be and takes it.
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
	note(ownEntries[0]) // which to take the directory makes; of the rest another node may make some until then
	var err error
	if c.unlock, err = LockDir(dir); err != nil {
		c.removeAbove()
		return nil, err
	}
	note(ownEntries[1:]...)
	return c, nil
}

// absent reports whether nothing is at path, for sure.
func absent(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// keep is called before anybody else can learn of what is in the directory: nothing is removed from then on.
func (c *claim) keep() { c.above, c.fresh = nil, nil }

// release gives the directory up, as it was when it was taken unless it is to be kept as it is.
func (c *claim) release() {
	for _, path := range slices.Backward(c.fresh) { // LOCK last, while it is held
		os.RemoveAll(path)
	}
	c.removeAbove()
	c.unlock()
}

// removeAbove removes the directories that were made, as far as nothing is in them.
func (c *claim) removeAbove() {
	for _, path := range slices.Backward(c.above) {
		os.Remove(path)
	}
}
