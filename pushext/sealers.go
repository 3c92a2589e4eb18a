package pushext

import (
	"sync"
	"time"

	"whisperpush/pushext/pushwire"
)

const (
	// sealerLife is how long a key that was agreed on with a device is used, half an
	// hour at least and an hour at most: to agree on one takes as long as all else
	// that is done for a wake-up, and chats come in bursts. Whoever
	// reads the server's memory can open the wake-ups of that time, should he have
	// them, and the hashes in them are on the disk anyhow until they are fetched.
	sealerLife = 30 * time.Minute
	// maxSealers bounds each of the two generations of them, some 250 bytes each.
	maxSealers = 1 << 14
)

// sealers seals wake-ups, and keeps what was agreed on with devices that may be
// woken again soon. It is safe for concurrent use.
type sealers struct {
	mu         sync.Mutex
	young, old map[sealFor]*pushwire.Sealer
	turn       time.Time // when young becomes old, and old is forgotten
}

// sealFor is whom a sealer is for. The key is part of it, as a registration may
// change its own.
type sealFor struct {
	id  registrationID
	key [pushwire.SealKeySize]byte
}

// seal seals p to a registration.
func (s *sealers) seal(p pushwire.Payload, id registrationID, sealKey []byte, now time.Time) ([]byte, error) {
	if len(sealKey) != pushwire.SealKeySize {
		return pushwire.SealPayload(p, sealKey) // which says what is wrong
	}
	who := sealFor{id, [pushwire.SealKeySize]byte(sealKey)}
	sealer := s.get(who, now)
	if sealer == nil {
		var err error
		if sealer, err = pushwire.NewSealer(sealKey); err != nil {
			return nil, err
		}
		s.keep(who, sealer)
	}
	return sealer.Seal(p)
}

// get returns the sealer for somebody, nil if there is none any more.
func (s *sealers) get(who sealFor, now time.Time) *pushwire.Sealer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !now.Before(s.turn) || len(s.young) >= maxSealers {
		s.old, s.young = s.young, make(map[sealFor]*pushwire.Sealer)
		if now.Sub(s.turn) >= sealerLife {
			s.old = nil // older than its time
		}
		s.turn = now.Add(sealerLife)
	}
	if sealer := s.young[who]; sealer != nil {
		return sealer
	}
	return s.old[who]
}

func (s *sealers) keep(who sealFor, sealer *pushwire.Sealer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.young[who] = sealer
}
