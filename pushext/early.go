package pushext

import (
	"time"

	"github.com/ethereum/go-ethereum/common"
)

const (
	// maxEarly bounds what is remembered of receipts that came before their match.
	maxEarly = 16384
	// earlyLife is for how long such a receipt counts.
	earlyLife = 10 * time.Minute
)

// earlyReads remembers receipts that came before their envelope was matched:
// who sends a message says Seen for it at once, and may be faster than the
// archive. It is a ring in memory: when it is full, or lost, the worst is a
// wake-up too many. The zero value is ready.
type earlyReads struct {
	at   map[earlyRead]time.Time
	ring []earlyRead
	next int
}

type earlyRead struct {
	id   registrationID
	hash common.Hash
}

func (r *earlyReads) add(id registrationID, h common.Hash, now time.Time) {
	key := earlyRead{id, h}
	if r.at == nil {
		r.at = make(map[earlyRead]time.Time)
	}
	if _, known := r.at[key]; known {
		return
	}
	if len(r.ring) < maxEarly {
		r.ring = append(r.ring, key)
	} else {
		delete(r.at, r.ring[r.next])
		r.ring[r.next] = key
		r.next = (r.next + 1) % maxEarly
	}
	r.at[key] = now
}

// take reports whether there was a receipt, and drops it.
func (r *earlyReads) take(id registrationID, h common.Hash, now time.Time) bool {
	at, ok := r.at[earlyRead{id, h}]
	if !ok {
		return false
	}
	delete(r.at, earlyRead{id, h})
	return now.Sub(at) < earlyLife
}
