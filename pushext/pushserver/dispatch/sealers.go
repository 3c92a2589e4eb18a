package dispatch

import (
	"bytes"
	"sync"
	"time"

	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushwire"
)

const (
	// sealerLife is how long a generation of agreed keys lasts: a key is used for
	// 29 minutes at least, and forgotten within the hour. Agreeing on a key costs
	// as much as the rest of a wake-up, and chats come in bursts. Anyone who can
	// read the server's memory can open wake-ups sealed with the keys it still
	// holds; the hashes in them are on the disk until they are fetched.
	sealerLife = 29 * time.Minute
	// maxSealers bounds each of the two generations; a key takes some 250 bytes.
	maxSealers = 1 << 14
)

// sealers seals wake-ups, and keeps the keys agreed on with devices that may be woken
// again soon. It is safe for concurrent use.
type sealers struct {
	mu         sync.Mutex
	young, old map[registration.ID]keptSealer
	turn       time.Time // when young becomes old, and old is forgotten
}

// keptSealer is a sealer and the seal key it is for, because a registration may change
// its key.
type keptSealer struct {
	key    [pushwire.SealKeySize]byte
	sealer *pushwire.Sealer
}

// seal seals p to a registration.
func (s *sealers) seal(p pushwire.Payload, id registration.ID, sealKey []byte, now time.Time) ([]byte, error) {
	sealer := s.get(id, sealKey, now)
	if sealer == nil {
		var err error
		if sealer, err = pushwire.NewSealer(sealKey); err != nil {
			return nil, err
		}
		s.keep(id, keptSealer{[pushwire.SealKeySize]byte(sealKey), sealer})
	}
	return sealer.Seal(p)
}

// get returns the sealer for a registration's key, nil if there is none any more.
func (s *sealers) get(id registration.ID, sealKey []byte, now time.Time) *pushwire.Sealer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.young) >= maxSealers {
		s.turn = now
	}
	s.age(now)
	for _, generation := range []map[registration.ID]keptSealer{s.young, s.old} {
		if kept, ok := generation[id]; ok && bytes.Equal(kept.key[:], sealKey) {
			return kept.sealer
		}
	}
	return nil
}

func (s *sealers) keep(id registration.ID, kept keptSealer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.young[id] = kept
}

// expire forgets the keys that are too old. It is to be called every minute or so, so
// that a server that wakes nobody forgets them too.
func (s *sealers) expire(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.age(now)
}

// age turns the generations that are due. The caller holds mu.
func (s *sealers) age(now time.Time) {
	if now.Before(s.turn) {
		return
	}
	s.old, s.young = s.young, make(map[registration.ID]keptSealer)
	if now.Sub(s.turn) >= sealerLife {
		s.old = nil // older than its time
	}
	s.turn = now.Add(sealerLife)
}

// held is how many there are.
func (s *sealers) held() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.young) + len(s.old)
}

// forget drops the keys of a registration that ended.
func (s *sealers) forget(id registration.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.young, id)
	delete(s.old, id)
}

// Forget drops the agreed key of a registration that ended.
func (d *Dispatcher) Forget(id registration.ID) { d.sealers.forget(id) }

// AgreedKeys is how many keys agreed on with devices are kept.
func (d *Dispatcher) AgreedKeys() int { return d.sealers.held() }

// ExpireSealers forgets the agreed keys that are too old. It is called from time to time.
func (d *Dispatcher) ExpireSealers(now time.Time) { d.sealers.expire(now) }
