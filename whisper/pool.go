package whisper

import (
	"sync"

	"github.com/ethereum/go-ethereum/common"
)

// pool remembers every accepted envelope until it expires, so that each is
// relayed and archived once. It is bounded in number and in bytes: when it is
// full, the envelope that expires last makes room for one that expires sooner.
// While the pool stays full, an evicted envelope is refused when it comes again,
// so that none circles in the network.
//
// Envelopes are checked before they come here; calls hold the lock for a batch.
type pool struct {
	maxEnvelopes int
	maxBytes     int64

	mu        sync.Mutex // guards the following fields
	envelopes map[common.Hash]pooled
	wheel     wheel
	bytes     int64
}

type pooled struct {
	envelope *Envelope
	index    int32 // in its slot of the wheel
	own      bool  // posted here rather than received
}

// pooledOverhead is the memory an envelope takes beside its bytes: the Envelope and
// its places in the map and in the wheel.
const pooledOverhead = 256

func weight(e *Envelope) int64 { return int64(len(e.raw)) + pooledOverhead }

func newPool(maxEnvelopes int, maxBytes int64, now uint32) *pool {
	return &pool{
		maxEnvelopes: maxEnvelopes,
		maxBytes:     maxBytes,
		envelopes:    make(map[common.Hash]pooled),
		wheel:        wheel{cursor: now},
	}
}

// unknown returns, in the array of envelopes, those that the pool does not hold.
func (p *pool) unknown(envelopes []*Envelope) []*Envelope {
	fresh := envelopes[:0]
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range envelopes {
		if _, ok := p.envelopes[e.hash]; !ok {
			fresh = append(fresh, e)
		}
	}
	return fresh
}

// add stores a batch and returns, in its array, the envelopes that were new. known
// and full count the others. The envelopes must own their bytes.
func (p *pool) add(batch []weighed, own bool) (added []weighed, known, full int) {
	added = batch[:0]
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range batch {
		if _, ok := p.envelopes[w.hash]; ok {
			known++
			continue
		}
		if !p.makeRoom(w.Envelope) {
			full++
			continue
		}
		p.envelopes[w.hash] = pooled{envelope: w.Envelope, index: int32(p.wheel.add(w.Envelope)), own: own}
		p.bytes += weight(w.Envelope)
		added = append(added, w)
	}
	return added, known, full
}

func (p *pool) makeRoom(e *Envelope) bool {
	for len(p.envelopes) >= p.maxEnvelopes || p.bytes+weight(e) > p.maxBytes {
		latest := p.wheel.latest()
		if latest == nil || !p.wheel.sooner(e, latest) {
			return false
		}
		p.remove(latest.hash)
	}
	return true
}

// remove forgets one envelope; the lock is held.
func (p *pool) remove(hash common.Hash) {
	entry, ok := p.envelopes[hash]
	if !ok {
		return
	}
	if moved := p.wheel.remove(entry.envelope.Expiry, int(entry.index)); moved != nil {
		p.reindex(moved, int(entry.index))
	}
	p.drop(entry.envelope)
}

func (p *pool) reindex(e *Envelope, index int) {
	entry := p.envelopes[e.hash]
	entry.index = int32(index)
	p.envelopes[e.hash] = entry
}

// drop removes an envelope that has left the wheel from the map.
func (p *pool) drop(e *Envelope) {
	delete(p.envelopes, e.hash)
	p.bytes -= weight(e)
}

// forget removes envelopes, so that another copy of each is accepted.
func (p *pool) forget(envelopes []*Envelope) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range envelopes {
		p.remove(e.hash)
	}
}

// expire removes the envelopes that have expired before now.
func (p *pool) expire(now uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wheel.advance(now, p.drop, p.reindex)
}

// after returns some of the envelopes that expire after a second, in order, and
// the second to continue from; it returns none when there are no more. ownOnly
// skips received envelopes.
func (p *pool) after(second uint32, ownOnly bool) (envelopes []*Envelope, next uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		envelopes, next = p.wheel.after(second)
		if len(envelopes) == 0 || !ownOnly {
			return envelopes, next
		}
		own := envelopes[:0]
		for _, e := range envelopes {
			if p.envelopes[e.hash].own {
				own = append(own, e)
			}
		}
		if len(own) > 0 {
			return own, next
		}
		second = next
	}
}

// PoolInfo describes what the pool holds.
type PoolInfo struct {
	Envelopes int   `json:"envelopes"`
	Bytes     int64 `json:"bytes"` // memory, the bookkeeping included
}

func (p *pool) info() PoolInfo {
	p.mu.Lock()
	defer p.mu.Unlock()
	return PoolInfo{Envelopes: len(p.envelopes), Bytes: p.bytes}
}
