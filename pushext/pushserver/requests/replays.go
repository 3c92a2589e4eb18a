package requests

import (
	"crypto/sha256"
	"sync"

	"whisperpush/pushext/pushwire"
)

// replays remembers the latest requests. When it is full, the oldest one is
// forgotten. A repeat of that one is still refused for its version if it
// changes something, and does no harm otherwise.
type replays struct {
	mu   sync.Mutex
	max  int
	seen map[replay]struct{}
	ring []replay
	next int
}

type replay [16]byte

// first reports whether a request is new, and remembers it.
func (r *replays) first(key [33]byte, id [pushwire.IDSize]byte) bool {
	sum := sha256.Sum256(append(key[:], id[:]...))
	it := replay(sum[:16])
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.seen[it]; known {
		return false
	}
	if r.seen == nil {
		r.seen = make(map[replay]struct{})
	}
	if len(r.ring) < r.max {
		r.ring = append(r.ring, it)
	} else {
		delete(r.seen, r.ring[r.next])
		r.ring[r.next] = it
		r.next = (r.next + 1) % r.max
	}
	r.seen[it] = struct{}{}
	return true
}
