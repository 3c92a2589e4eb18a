package archive

import (
	"slices"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/whisper"
)

// place says where in the log an envelope is: at is its position in the block
// that begins with sequence seq-at.
type place struct {
	seq uint64
	at  uint8
}

// pick names the records wanted from one block, ascending. A nil at means all
// that were sent in the query's time.
type pick struct {
	first uint64
	at    []uint8
}

// span is a block as the directory describes it.
type span struct {
	first            uint64
	minSent, maxSent uint32
}

// segment is a part of the index: a run on disk or the one in memory.
type segment interface {
	// bounds returns the sequences it covers; first > last if it is empty.
	bounds() (first, last uint64)
	// sentRange returns the range of sent times in it.
	sentRange() (lower, upper uint32)
	// find returns the picks that match m, ascending, and how many entries of the
	// index were looked at.
	find(m *match) (picks []pick, scanned int, err error)
	// lookup returns where envelopes with this hash may be.
	lookup(h common.Hash) ([]place, error)
	// log returns the partition whose log it indexes.
	log() *partition
}

// match is a query as the index sees it.
type match struct {
	lower, upper uint32
	after        uint64 // sequences > after …
	before       uint64 // … and < before
	topics       []whisper.Topic
	bloom        *whisper.Bloom
}

func (m *match) everything() bool { return len(m.topics) == 0 && m.bloom == nil }

func (m *match) topic(t whisper.Topic) bool {
	return (len(m.topics) == 0 || slices.Contains(m.topics, t)) && (m.bloom == nil || m.bloom.Covers(t.Bloom()))
}

func (m *match) sent(lower, upper uint32) bool { return lower <= m.upper && upper >= m.lower }

// placesToPicks turns places, in any order, into picks.
func placesToPicks(places []place) []pick {
	slices.SortFunc(places, func(a, b place) int {
		if a.seq < b.seq {
			return -1
		}
		return 1
	})
	ats := make([]uint8, 0, len(places))
	var picks []pick
	for _, p := range places {
		first := p.seq - uint64(p.at)
		ats = append(ats, p.at)
		if n := len(picks); n > 0 && picks[n-1].first == first {
			picks[n-1].at = picks[n-1].at[:len(picks[n-1].at)+1]
		} else {
			picks = append(picks, pick{first: first, at: ats[len(ats)-1:]})
		}
	}
	return picks
}

// spansToPicks picks whole blocks.
func spansToPicks(spans []span, last uint64, m *match) (picks []pick) {
	for i, s := range spans {
		end := last
		if i+1 < len(spans) {
			end = spans[i+1].first - 1
		}
		if end > m.after && s.first < m.before && m.sent(s.minSent, s.maxSent) {
			picks = append(picks, pick{first: s.first})
		}
	}
	return picks
}
