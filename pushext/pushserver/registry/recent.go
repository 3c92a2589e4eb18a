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
// a device that is woken is likely to be woken again. What a change touches is
// forgotten, and read again when it is needed.
type recent struct {
	mu      sync.Mutex
	Cached  lru.BasicLRU[registration.ID, registration.Registration]
	weight  int
	changes uint64 // what was read before one may be older than it
}

func newRecent() *recent {
	return &recent{Cached: lru.NewBasicLRU[registration.ID, registration.Registration](math.MaxInt)}
}

// get returns a registration, or false with the changes up to now, for keep.
func (c *recent) get(id registration.ID) (reg registration.Registration, ok bool, changes uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	reg, ok = c.Cached.Get(id)
	return reg, ok, c.changes
}

// keep remembers a registration that was read from disk after so many changes.
func (c *recent) keep(reg registration.Registration, changes uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changes != changes || c.Cached.Contains(reg.ID) {
		return
	}
	c.Cached.Add(reg.ID, reg)
	for c.weight += reg.Weight(); c.weight > maxRecent; {
		_, oldest, _ := c.Cached.RemoveOldest()
		c.weight -= oldest.Weight()
	}
}

// forget follows a write of edits, or its failure, after which nobody knows
// what is on disk.
func (c *recent) forget(edits []edit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes++
	for _, e := range edits {
		if e.old == nil {
			continue
		}
		if reg, ok := c.Cached.Peek(e.old.ID); ok {
			c.Cached.Remove(e.old.ID)
			c.weight -= reg.Weight()
		}
	}
}
