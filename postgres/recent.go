package postgres

import (
	"sync"
	"time"

	"whisperpush/mailserver/archive"
	"whisperpush/whisper"
)

const (
	// recentRows and recentBytes bound what an archive keeps in memory of what it has archived
	// itself: what its followers have not read yet, while they keep up.
	recentRows  = 4 * followRows
	recentBytes = 4 << 20
)

// recent is the end of the log, as far as this node has archived it without gaps. Followers
// need not read this node's own envelopes from the database.
type recent struct {
	mu      sync.Mutex // guards the following fields
	records []archive.Record
	bytes   int
}

// add appends envelopes archived in one commit; newest is the sequence of the last one.
func (r *recent) add(newest uint64, at time.Time, envs []*whisper.Envelope) {
	r.mu.Lock()
	defer r.mu.Unlock()
	seq := newest - uint64(len(envs)) + 1
	if n := len(r.records); n > 0 && r.records[n-1].Seq+1 != seq {
		r.records, r.bytes = nil, 0 // others have archived in between
	}
	for i, e := range envs {
		r.records = append(r.records, archive.Record{
			Seq: seq + uint64(i), Hash: e.Hash(), Topic: e.Topic, Sent: e.Sent(), Received: at, Envelope: e,
		})
		r.bytes += len(e.Raw())
	}
	drop := 0
	for len(r.records)-drop > recentRows || r.bytes > recentBytes && drop < len(r.records) {
		r.bytes -= len(r.records[drop].Envelope.Raw())
		drop++
	}
	r.records = r.records[drop:]
}

// after returns the records above a sequence up to last, at most as many as a follower is
// given at a time; none if the next one is not in memory.
func (r *recent) after(after, last uint64) []archive.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.records) == 0 || after+1 < r.records[0].Seq {
		return nil
	}
	from := int(min(after+1-r.records[0].Seq, uint64(len(r.records))))
	next := make([]archive.Record, 0, min(len(r.records)-from, followRows))
	for bytes := 0; from < len(r.records) && r.records[from].Seq <= last && len(next) < followRows && bytes < followBytes; from++ {
		next = append(next, r.records[from])
		bytes += len(r.records[from].Envelope.Raw())
	}
	return next
}

// forget empties it.
func (r *recent) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.records, r.bytes = nil, 0
}
