package storetest_test

import (
	"maps"
	"slices"
	"sync"
	"testing"

	"whisperpush/durable"
	"whisperpush/durable/faultstore"
	"whisperpush/durable/storetest"
)

func TestDB(t *testing.T) {
	storetest.Exercise(t, func(t *testing.T) func() (durable.Store, error) {
		dir := t.TempDir()
		return func() (durable.Store, error) { return durable.Open(dir, durable.Options{}) }
	})
}

// The options that the archive and the push server give, on a disk in memory.
func TestDBInMemory(t *testing.T) {
	storetest.Exercise(t, func(t *testing.T) func() (durable.Store, error) {
		disk := faultstore.New()
		return func() (durable.Store, error) {
			return durable.Open("mem", durable.Options{Storage: disk, NoCompression: true, KeyFilter: true, WriteBuffer: 64 << 10})
		}
	})
}

// What the suite asks for can be had without LevelDB: a map will do.
func TestMap(t *testing.T) {
	storetest.Exercise(t, func(t *testing.T) func() (durable.Store, error) {
		kept := &content{entries: map[string]string{}}
		return func() (durable.Store, error) {
			kept.mu.Lock()
			defer kept.mu.Unlock()
			if kept.open {
				return nil, durable.ErrLocked
			}
			kept.open = true
			return &mapStore{content: kept}, nil
		}
	})
}

// content outlives the stores that have it open, one after the other.
type content struct {
	mu      sync.Mutex
	open    bool
	entries map[string]string
}

type mapStore struct {
	content *content
	closed  bool // guarded by content.mu
}

func (s *mapStore) Get(key []byte) ([]byte, error) {
	s.content.mu.Lock()
	defer s.content.mu.Unlock()
	if s.closed {
		return nil, durable.ErrClosed
	}
	value, ok := s.content.entries[string(key)]
	if !ok {
		return nil, durable.ErrNotFound
	}
	return []byte(value), nil
}

func (s *mapStore) Write(b *durable.Batch) error {
	s.content.mu.Lock()
	defer s.content.mu.Unlock()
	if s.closed {
		return durable.ErrClosed
	}
	b.Replay(
		func(key, value []byte) { s.content.entries[string(key)] = string(value) },
		func(key []byte) { delete(s.content.entries, string(key)) },
	)
	return nil
}

func (s *mapStore) Scan(from, to []byte) durable.Iterator {
	s.content.mu.Lock()
	defer s.content.mu.Unlock()
	if s.closed {
		return &mapIterator{err: durable.ErrClosed}
	}
	it := &mapIterator{entries: maps.Clone(s.content.entries)}
	for _, k := range slices.Sorted(maps.Keys(it.entries)) {
		if k >= string(from) && (to == nil || k < string(to)) {
			it.left = append(it.left, k)
		}
	}
	return it
}

func (s *mapStore) Close() error {
	s.content.mu.Lock()
	defer s.content.mu.Unlock()
	if !s.closed {
		s.closed, s.content.open = true, false
	}
	return nil
}

type mapIterator struct {
	entries map[string]string
	left    []string
	key     string
	err     error
}

func (it *mapIterator) Next() bool {
	if len(it.left) == 0 {
		return false
	}
	it.key, it.left = it.left[0], it.left[1:]
	return true
}

func (it *mapIterator) Key() []byte   { return []byte(it.key) }
func (it *mapIterator) Value() []byte { return []byte(it.entries[it.key]) }

func (it *mapIterator) Release() error {
	it.left = nil
	return it.err
}
