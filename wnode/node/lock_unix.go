//go:build unix

package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// LockDir makes dir if it is missing, and takes it for this process until unlock is called or the process ends in any
// way. The kernel holds the lock, so a leftover file locks nobody out.
func LockDir(dir string) (unlock func(), _ error) {
	path := filepath.Join(dir, "LOCK")
	for {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, dataDirError(dir, err)
		}
		file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, dataDirError(dir, err)
		}
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if errors.Is(err, syscall.EWOULDBLOCK) {
			file.Close()
			return nil, fmt.Errorf("the data directory %s is in use by another node; stop that one or choose another with --datadir", dir)
		}
		if err != nil {
			file.Close()
			return nil, fmt.Errorf("lock the data directory %s: %w", dir, err)
		}
		// A failed start removes the file that it made, and a lock on a removed file keeps nobody out.
		if held, err := file.Stat(); err == nil {
			if there, err := os.Stat(path); err == nil && os.SameFile(held, there) {
				return func() { file.Close() }, nil
			}
		}
		file.Close()
	}
}
