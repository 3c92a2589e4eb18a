package whisper

import (
	"encoding/binary"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
)

// knownSet remembers which envelopes a peer has, in two generations of bounded
// size and age. The older one is forgotten when the younger one is full or old.
// It holds eight bytes of each hash. An attacker needs 2^64 hashes to match a
// given one, and that only keeps one envelope from one peer.
type knownSet struct {
	mu            sync.Mutex // guards the following fields
	young, former map[uint64]struct{}
	since         time.Time // when young began
}

func knownKey(h common.Hash) uint64 { return binary.LittleEndian.Uint64(h[:8]) }

// add remembers the envelopes.
func (k *knownSet) add(envelopes []*Envelope, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, e := range envelopes {
		k.insert(knownKey(e.hash), now)
	}
}

// first remembers the envelope and tells whether that was new.
func (k *knownSet) first(e *Envelope, now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	key := knownKey(e.hash)
	if _, ok := k.young[key]; ok {
		return false
	}
	if _, ok := k.former[key]; ok {
		return false
	}
	k.insert(key, now)
	return true
}

func (k *knownSet) insert(key uint64, now time.Time) {
	if k.young == nil || len(k.young) >= knownEnvelopes {
		k.turn(now)
	}
	k.young[key] = struct{}{}
}

// turn forgets the older generation and begins a new one in its map.
func (k *knownSet) turn(now time.Time) {
	k.former, k.young, k.since = k.young, k.former, now
	if k.young == nil {
		k.young = make(map[uint64]struct{})
	}
	clear(k.young)
}

// age forgets generations that are old, and frees the memory once nothing is left.
func (k *knownSet) age(now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.young == nil || now.Sub(k.since) < knownLife {
		return
	}
	if len(k.young) == 0 {
		k.young, k.former = nil, nil
		return
	}
	k.turn(now)
}
