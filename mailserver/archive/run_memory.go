package archive

import (
	"math"
	"slices"
	"sync"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/whisper"
)

const (
	// runRecords is how many envelopes one run of the index covers. A topic query
	// reads one bucket of each run; after a crash, one run's log must be read
	// again.
	runRecords = 1 << 16
	// maxRunRecords bounds the index in memory when it cannot be written.
	maxRunRecords = 2 * runRecords
)

// memoryRun indexes the end of a partition's log that no run on disk covers. The
// active run also holds envelopes that are still being committed: sequences above
// Archive.Last, which readers skip.
//
// It holds no pointer per envelope, so that the garbage collector has nothing to
// scan.
type memoryRun struct {
	part  *partition
	first uint64

	mu               sync.RWMutex                 // guards the following fields
	entries          []entry                      // by sequence, from first on
	hashes           map[common.Hash]uint32       // to entries
	topics           map[whisper.Topic]entryIndex // the topic's newest entry
	spans            []span
	minSent, maxSent uint32
	maxExpiry        uint32
}

// entry is one envelope in a memoryRun.
type entry struct {
	topic whisper.Topic
	older entryIndex // the previous entry with the same topic
	sent  uint32
	at    uint8 // its position in its block
}

// entryIndex is an index into memoryRun.entries, plus one; 0 is none.
type entryIndex uint32

// newMemoryRun returns an empty run with room for size envelopes.
func newMemoryRun(p *partition, first uint64, size int) *memoryRun {
	return &memoryRun{
		part: p, first: first,
		entries: make([]entry, 0, size),
		hashes:  make(map[common.Hash]uint32, size), topics: make(map[whisper.Topic]entryIndex),
		minSent: math.MaxUint32,
	}
}

func (r *memoryRun) log() *partition { return r.part }

func (r *memoryRun) count() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.entries)
}

func (r *memoryRun) bounds() (first, last uint64) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.first, r.nextSeq() - 1
}

// next returns the sequence that the next envelope gets.
func (r *memoryRun) next() uint64 {
	_, last := r.bounds()
	return last + 1
}

// nextSeq is next with the lock held.
func (r *memoryRun) nextSeq() uint64 { return r.first + uint64(len(r.entries)) }

func (r *memoryRun) sentRange() (lower, upper uint32) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.minSent, r.maxSent
}

// has reports whether the run holds h.
func (r *memoryRun) has(h common.Hash) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	_, ok := r.hashes[h]
	return ok
}

// add indexes e, the record at a position of a block, as the next sequence.
func (r *memoryRun) add(e *whisper.Envelope, at uint8) {
	r.mu.Lock()
	defer r.mu.Unlock()
	sent := e.Sent()
	if at == 0 {
		r.spans = append(r.spans, span{first: r.nextSeq(), minSent: sent, maxSent: sent})
	}
	s := &r.spans[len(r.spans)-1]
	s.minSent, s.maxSent = min(s.minSent, sent), max(s.maxSent, sent)
	r.minSent, r.maxSent = min(r.minSent, sent), max(r.maxSent, sent)
	r.maxExpiry = max(r.maxExpiry, e.Expiry)
	r.hashes[e.Hash()] = uint32(len(r.entries))
	r.entries = append(r.entries, entry{topic: e.Topic, older: r.topics[e.Topic], sent: sent, at: at})
	r.topics[e.Topic] = entryIndex(len(r.entries))
}

// removeLast removes envs, which must be the last whole blocks. The range of
// sent times stays as wide as they made it.
func (r *memoryRun) removeLast(envs []*whisper.Envelope) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range slices.Backward(envs) {
		last := r.entries[len(r.entries)-1]
		r.entries = r.entries[:len(r.entries)-1]
		delete(r.hashes, e.Hash())
		if last.older == 0 {
			delete(r.topics, last.topic)
		} else {
			r.topics[last.topic] = last.older
		}
		if last.at == 0 {
			r.spans = r.spans[:len(r.spans)-1]
		}
	}
}

// place returns the place of the entry with index i.
func (r *memoryRun) place(i uint32) place {
	return place{r.first + uint64(i), r.entries[i].at}
}

func (r *memoryRun) lookup(h common.Hash) ([]place, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if i, ok := r.hashes[h]; ok {
		return []place{r.place(i)}, nil
	}
	return nil, nil
}

func (r *memoryRun) find(m *match) ([]pick, int, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if m.everything() {
		return spansToPicks(r.spans, r.nextSeq()-1, m), 0, nil
	}
	var places []place
	scanned := 0
	collect := func(i entryIndex) {
		for ; i != 0; i = r.entries[i-1].older {
			scanned++
			sent := r.entries[i-1].sent
			if p := r.place(uint32(i - 1)); p.seq > m.after && p.seq < m.before && m.sent(sent, sent) {
				places = append(places, p)
			}
		}
	}
	if len(m.topics) > 0 {
		for i, t := range m.topics {
			if m.topic(t) && !slices.Contains(m.topics[:i], t) {
				collect(r.topics[t])
			}
		}
	} else {
		scanned = len(r.topics)
		for t, newest := range r.topics {
			if m.topic(t) {
				collect(newest)
			}
		}
	}
	return placesToPicks(places), scanned, nil
}
