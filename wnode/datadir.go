package wnode

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// checkDataDir refuses a directory that is another program's, before anything is written into it.
func checkDataDir(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return dataDirError(dir, err)
	case !info.IsDir():
		return fmt.Errorf("the data directory %s is a file; choose another with --datadir", dir)
	}
	has := func(name string) bool { _, err := os.Stat(filepath.Join(dir, name)); return err == nil }
	switch {
	case has("geth") || has("chaindata"):
		return fmt.Errorf("%s is a data directory of geth; choose another with --datadir", dir)
	case has("CURRENT"):
		return fmt.Errorf("%s holds a LevelDB database of another program, or is one part of a data directory; choose another with --datadir", dir)
	}
	return nil
}

// diskFull reports whether err comes of a full disk. Some of goleveldb's errors have the cause in their text alone.
func diskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || strings.Contains(err.Error(), syscall.ENOSPC.Error())
}

// dataDirError says in one sentence why the data directory cannot be used.
func dataDirError(dir string, err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("the data directory %s cannot be written by this user; give it to the user with chown, or choose another with --datadir", dir)
	case errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("a part of the path of the data directory %s is a file; choose another with --datadir", dir)
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("the disk of the data directory %s is full; make room, or choose another with --datadir", dir)
	}
	return fmt.Errorf("the data directory %s cannot be used: %w", dir, err)
}
