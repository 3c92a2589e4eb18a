package postgres

import (
	"bytes"
	"container/list"
	"sync"
)

const (
	// cacheBytes bounds what a store keeps of what it has read and written, in bytes.
	cacheBytes = 4 << 20
	// cacheOverhead is roughly what an entry of a cache takes besides its key and value, in
	// bytes.
	cacheOverhead = 200
)

// cache keeps what a store's owner has read and written most recently, including that a key
// has no value. Nobody else writes to the store while the owner's lease holds, so the
// database need not be asked twice: its answer takes a hundred times as long, and the caller
// may hold a lock meanwhile. Once the lease has lapsed for a moment, the cache forgets
// everything, because another owner may have written meanwhile.
//
// A key is not kept while it is being written, until the outcome is known. A read that began
// before such a write has ended keeps nothing either, because it may have seen the value
// from before.
type cache struct {
	mu      sync.Mutex // guards the following fields
	entries map[string]*list.Element
	latest  list.List // of *cached, the latest first
	bytes   int
	term    uint64 // of the lease under which all of it was learned
	reading map[string]*cacheRead
	written map[string]struct{} // keys of the write under way, and of earlier ones whose outcome is not known
}

// cached is what is known of a key.
type cached struct {
	key   string
	value []byte // nil: it has none
}

func (c *cached) size() int { return len(c.key) + len(c.value) + cacheOverhead }

// cacheRead holds the reads of a key that are under way.
type cacheRead struct {
	readers int
	stale   bool // they may find the value from before a write
}

func newCache() *cache {
	return &cache{entries: map[string]*list.Element{}, reading: map[string]*cacheRead{}, written: map[string]struct{}{}}
}

// get returns a key's value, nil if it has none. If ok is false, it is not known, and the
// caller must read it and call keep or giveUp. The caller's lease must hold and have that
// term.
func (c *cache) get(term uint64, key []byte) (value []byte, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if term != c.term {
		c.term = term
		c.forget()
	}
	if at := c.entries[string(key)]; at != nil {
		c.latest.MoveToFront(at)
		return bytes.Clone(at.Value.(*cached).value), true
	}
	r := c.reading[string(key)]
	if r == nil {
		r = new(cacheRead)
		c.reading[string(key)] = r
	}
	r.readers++
	_, beingWritten := c.written[string(key)]
	r.stale = r.stale || beingWritten
	return nil, false
}

// keep ends a read that found value, nil if the key has none.
func (c *cache) keep(key, value []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.read(key) {
		c.put(&cached{string(key), bytes.Clone(value)})
	}
}

// giveUp ends a read that failed.
func (c *cache) giveUp(key []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read(key)
}

// read ends a read, and reports whether it saw the present value.
func (c *cache) read(key []byte) (good bool) {
	r := c.reading[string(key)]
	if r.readers--; r.readers == 0 {
		delete(c.reading, string(key))
	}
	return !r.stale
}

func (c *cache) put(one *cached) {
	c.remove(one.key)
	c.entries[one.key] = c.latest.PushFront(one)
	for c.bytes += one.size(); c.bytes > cacheBytes; {
		c.remove(c.latest.Back().Value.(*cached).key)
	}
}

func (c *cache) remove(key string) {
	if at := c.entries[key]; at != nil {
		delete(c.entries, key)
		c.bytes -= c.latest.Remove(at).(*cached).size()
	}
}

// write notes that changes are about to be written.
func (c *cache) write(changes map[string][]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key := range changes {
		c.remove(key)
		c.written[key] = struct{}{}
		if r := c.reading[key]; r != nil {
			r.stale = true
		}
	}
}

// wrote notes that changes were written. The cache keeps the values.
func (c *cache) wrote(changes map[string][]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, value := range changes {
		delete(c.written, key)
		c.put(&cached{key, value})
	}
}

// settled notes that no write can change its outcome any more. The cache forgets everything,
// because another server may have taken over.
func (c *cache) settled() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.written)
	c.forget()
}

func (c *cache) forget() {
	clear(c.entries)
	c.latest.Init()
	c.bytes = 0
	for _, r := range c.reading {
		r.stale = true
	}
}
