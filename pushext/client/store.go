package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"
)

// Store keeps the state of a Device: a text of a few kilobytes, and of a few hundred
// after years, that holds private keys. Calls from one Device never overlap.
type Store interface {
	// Load returns what Save was last given, or nil if there is nothing.
	Load(ctx context.Context) ([]byte, error)
	// Save replaces the state as a whole or, on error, leaves the old one.
	Save(ctx context.Context, state []byte) error
}

// SharedStore is a Store that several processes use, such as an app and its
// notification extension. A Device holds the lock while it reads the state, merges
// the changes of another process with its own, and writes: for milliseconds. With a
// Store that is not a SharedStore, simultaneous changes by two processes may be
// lost.
type SharedStore interface {
	Store
	// Lock waits until no other Device holds the lock, in this process or another,
	// or ctx ends.
	Lock(ctx context.Context) (unlock func(), err error)
}

// FileStore keeps the state in a file that only its owner can read. Save writes a
// new file beside it and renames that; both are on the disk when Save returns.
// Several processes may use the file: a lock file beside it, which stays, keeps them
// apart, except on systems without flock.
type FileStore string

var _ SharedStore = FileStore("")

const (
	// lockPause is how long a Device waits before it asks for a lock again.
	lockPause = 5 * time.Millisecond
	// maxLockWait is how long it waits at most. A lock is held for milliseconds, so
	// a process that holds it longer has been stopped.
	maxLockWait = 5 * time.Second
	// staleAfter is the age from which an unfinished file counts as left behind by a
	// crash, where there are no locks to tell.
	staleAfter = time.Minute
)

// ErrLocked says that another process holds the lock of a store and does not let go.
var ErrLocked = errors.New("client: device state is locked by another process")

// Load implements Store.
func (f FileStore) Load(context.Context) ([]byte, error) {
	b, err := os.ReadFile(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

// Save implements Store.
func (f FileStore) Save(_ context.Context, state []byte) error {
	dir := filepath.Dir(string(f))
	next, err := os.CreateTemp(dir, filepath.Base(string(f))+".*")
	if err != nil {
		return err
	}
	_, err = next.Write(state)
	if err == nil {
		err = next.Sync()
	}
	if err = errors.Join(err, next.Close()); err == nil {
		err = os.Rename(next.Name(), string(f))
	}
	if err != nil {
		return fmt.Errorf("writing device state: %w", errors.Join(err, os.Remove(next.Name())))
	}
	return syncDir(dir)
}

// Lock implements SharedStore.
func (f FileStore) Lock(ctx context.Context) (unlock func(), err error) {
	file, err := os.OpenFile(string(f)+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, maxLockWait, ErrLocked)
	defer cancel()
	for {
		free, err := tryLock(file)
		if err != nil {
			file.Close()
			return nil, err
		}
		if free {
			break
		}
		if err := wait(ctx, lockPause); err != nil {
			file.Close()
			return nil, err
		}
	}
	if err := f.clean(); err != nil {
		file.Close()
		return nil, err
	}
	return func() { file.Close() }, nil // closing it releases the lock
}

// clean removes files that a crash left half-written, because they hold private
// keys. The caller holds the lock, so nobody is writing one.
func (f FileStore) clean() error {
	entries, err := os.ReadDir(filepath.Dir(string(f)))
	if err != nil {
		return err
	}
	unfinished := regexp.MustCompile("^" + regexp.QuoteMeta(filepath.Base(string(f))) + `\.[0-9]+$`)
	for _, entry := range entries {
		if !unfinished.MatchString(entry.Name()) {
			continue
		}
		if info, err := entry.Info(); err != nil || !lockable && time.Since(info.ModTime()) < staleAfter {
			continue
		}
		err := os.Remove(filepath.Join(filepath.Dir(string(f)), entry.Name()))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing what a crash left behind: %w", err)
		}
	}
	return nil
}

// MemoryStore keeps the state as long as the process lives. The zero value is
// empty and ready to use.
type MemoryStore struct {
	mu    sync.Mutex
	state []byte
}

// Load implements Store.
func (m *MemoryStore) Load(context.Context) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state, nil
}

// Save implements Store.
func (m *MemoryStore) Save(_ context.Context, state []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state = state
	return nil
}
