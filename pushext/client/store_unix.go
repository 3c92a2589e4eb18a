//go:build unix

package client

import (
	"errors"
	"os"
	"syscall"
)

// lockable tells whether locks keep processes apart here.
const lockable = true

// tryLock takes the lock of a file until the file is closed, if only by the end of
// the process. free is false if another process has it.
func tryLock(file *os.File) (free bool, err error) {
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, syscall.EWOULDBLOCK):
			return false, nil
		case !errors.Is(err, syscall.EINTR):
			return false, &os.PathError{Op: "lock", Path: file.Name(), Err: err}
		}
	}
}

// syncDir puts the names in a directory on the disk.
func syncDir(name string) error {
	dir, err := os.Open(name)
	if err != nil {
		return err
	}
	err = dir.Sync()
	if errors.Is(err, syscall.EINVAL) {
		err = nil // this file system syncs no directories
	}
	return errors.Join(err, dir.Close())
}
