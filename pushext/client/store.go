package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// Store keeps the state of a Device: a text of some kilobytes that holds private
// keys. Calls never overlap.
type Store interface {
	// Load returns what Save was given last, and nil if there is nothing.
	Load(ctx context.Context) ([]byte, error)
	// Save replaces the state as a whole or, on error, leaves the old one.
	Save(ctx context.Context, state []byte) error
}

// FileStore keeps the state in a file that only its owner can read. Save writes
// a new file beside it and renames that.
type FileStore string

// Load implements Store.
func (f FileStore) Load(context.Context) ([]byte, error) {
	b, err := os.ReadFile(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

// Save implements Store.
func (f FileStore) Save(_ context.Context, state []byte) (err error) {
	next, err := os.CreateTemp(filepath.Dir(string(f)), filepath.Base(string(f))+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(next.Name()))
		}
	}()
	_, err = next.Write(state)
	if err == nil {
		err = next.Sync()
	}
	if err = errors.Join(err, next.Close()); err != nil {
		return fmt.Errorf("writing device state: %w", err)
	}
	return os.Rename(next.Name(), string(f))
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
