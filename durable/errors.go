package durable

import (
	"errors"
	"fmt"

	"github.com/syndtr/goleveldb/leveldb"
	lerrors "github.com/syndtr/goleveldb/leveldb/errors"
)

var (
	// ErrNotFound says that there is no such key.
	ErrNotFound = errors.New("not found")
	// ErrLocked says that another process holds the directory.
	ErrLocked = errors.New("database is in use by another process")
	// ErrCorrupted says that what is on disk is not what was written.
	ErrCorrupted = errors.New("database is damaged")
	// ErrWrite wraps each failed write. The batch must be taken for not written,
	// although a later open may find it: the outcome of a failed fsync is unknown.
	ErrWrite = errors.New("write failed")
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("database is closed")
	// ErrPanic wraps a panic of the database engine.
	ErrPanic = errors.New("database engine panicked")
)

// isCorrupted finds goleveldb's corruption errors anywhere in err's chain
// (goleveldb's own test looks at the outermost only).
func isCorrupted(err error) bool {
	for e := err; e != nil; e = errors.Unwrap(e) {
		if lerrors.IsCorrupted(e) || e == ErrCorrupted {
			return true
		}
	}
	return false
}

// classify turns an error of goleveldb into one of ours, with what to do.
func (d *DB) classify(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, leveldb.ErrNotFound):
		return ErrNotFound
	case errors.Is(err, leveldb.ErrClosed):
		return ErrClosed
	case errors.Is(err, ErrCorrupted):
		return err
	case isCorrupted(err):
		d.metrics.corruption(d.name)
		return fmt.Errorf("%w: %s: %w (move the directory aside or salvage it with \"wnode recover\")", ErrCorrupted, d.dir, err)
	}
	return err
}
