package registry

import (
	"math"
	"sync"

	"github.com/ethereum/go-ethereum/common/lru"

	"whisperpush/pushext/pushserver/registration"
)

const (
	// maxRecent bounds the registrations kept open in memory, in bytes: some tens
	// of thousands.
	maxRecent = 16 << 20
)

// recent keeps the registrations that were asked for last, opened and decoded:
// a device that is woken is likely to be woken again. So are those that changed.
type recent struct {
	mu      sync.Mutex
	known   lru.BasicLRU[registration.ID, registration.Registration]
	weight  int
	changes uint64 // what was read before one may be older than it
}

func newRecent() *recent {
	return &recent{known: lru.NewBasicLRU[registration.ID, registration.Registration](math.MaxInt)}
}

// get returns a registration, or false with the changes up to now, for keep.
func (c *recent) get(id registration.ID) (reg registration.Registration, ok bool, changes uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	reg, ok = c.known.Get(id)
	return reg, ok, c.changes
}

// keep remembers a registration that was read from disk after so many changes.
func (c *recent) keep(reg registration.Registration, changes uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changes == changes {
		c.add(reg)
	}
}

// follow follows a write of edits; if that failed, nobody knows what is on disk. A device
// that registers or renews is likely to be woken soon, and then need not be read. Only
// registrations that listen are kept, so that strangers displace nobody.
func (c *recent) follow(edits []edit, written bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes++
	for _, e := range edits {
		if e.old == nil {
			continue
		}
		if reg, ok := c.known.Peek(e.old.ID); ok {
			c.known.Remove(e.old.ID)
			c.weight -= reg.Weight()
		}
	}
	for _, e := range edits {
		if written && e.next != nil && e.next.Listens() {
			c.add(e.next.Registration)
		}
	}
}

// add remembers a registration, and forgets the oldest that are too many. The caller
// holds mu.
func (c *recent) add(reg registration.Registration) {
	if c.known.Contains(reg.ID) {
		return
	}
	c.known.Add(reg.ID, reg)
	for c.weight += reg.Weight(); c.weight > maxRecent; {
		_, oldest, _ := c.known.RemoveOldest()
		c.weight -= oldest.Weight()
	}
}
