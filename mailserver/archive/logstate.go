package archive

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
)

const (
	logStateVersion = 1
	// maxSpans is how many runs of sequences without envelopes are remembered: one
	// for each damaged partition, and some more for the envelopes salvaged from it.
	maxSpans = 1024
)

// IDSize is the length of a log's identity in bytes.
const IDSize = 16

// logID is the identity of a log. It is never zero.
type logID [IDSize]byte

// logState is what the archive keeps about the log as a whole, besides its
// partitions. It is one file, log.json, written when the archive is opened or
// closed and when a partition is begun.
type logState struct {
	Version int `json:"version"`
	// ID distinguishes this log from every other: the same sequence names different
	// envelopes in two logs. It is drawn at random when the archive is created, and
	// again when the log turns out to end before the sequence that this file names.
	ID string `json:"id"`
	// Partition is the first sequence of the newest partition.
	Partition uint64 `json:"partition"`
	// Last is the newest sequence at the time of writing, and Closed says that
	// nothing was archived after it.
	Last   uint64 `json:"last"`
	Closed bool   `json:"closed"`
	// Spans are ascending and do not touch each other.
	Spans []seqSpan `json:"spans,omitempty"`
}

// seqSpan is a run of sequences, both ends inclusive, that no envelope has.
type seqSpan struct {
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
	// Unsure says that some of them may have been assigned to envelopes that are
	// lost: the end of the log was damaged, and nobody knows how far it reached.
	// Otherwise nothing is missing: they were never assigned, or their envelopes
	// were archived again.
	Unsure bool `json:"unsure,omitempty"`
}

var errLogState = errors.New("bad record of the log")

func decodeLogState(b []byte) (s logState, id logID, err error) {
	if err := json.Unmarshal(b, &s); err != nil {
		return logState{}, id, fmt.Errorf("%w: %w", errLogState, err)
	}
	raw, err := hex.DecodeString(s.ID)
	if err != nil || len(raw) != len(id) || s.Version != logStateVersion {
		return logState{}, id, fmt.Errorf("%w: version %d, id of %d bytes", errLogState, s.Version, len(raw))
	}
	for i, one := range s.Spans {
		if one.From > one.To || i > 0 && one.From <= s.Spans[i-1].To {
			return logState{}, id, fmt.Errorf("%w: spans out of order", errLogState)
		}
	}
	copy(id[:], raw)
	if id == (logID{}) {
		return logState{}, id, fmt.Errorf("%w: id of zeros", errLogState)
	}
	return s, id, nil
}

// logBook keeps the logState.
type logBook struct {
	vol volume

	mu      sync.Mutex // guards the following fields
	state   logState
	id      logID
	unsaved bool
}

// load reads the state; newest is the first sequence of the newest partition that
// has left any trace. If there is no state yet, or it does not fit the partitions,
// the log gets a new identity and fresh is true; cause says why it does not fit.
func (l *logBook) load(newest uint64) (fresh bool, cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b, cause := l.vol.readState()
	if cause == nil && b != nil {
		if l.state, l.id, cause = decodeLogState(b); cause == nil && newest < l.state.Partition {
			cause = fmt.Errorf("partition %s was removed", partitionName(l.state.Partition))
		}
	}
	if fresh = cause != nil || b == nil; fresh {
		l.renew()
	}
	return fresh, cause
}

// check gives the log a new identity if it now ends, at sequence last, earlier than
// it did when the state was written. The error says so.
func (l *logBook) check(last uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if last >= l.state.Last {
		return nil
	}
	err := fmt.Errorf("it ends at %d and had come to %d", last, l.state.Last)
	l.renew()
	return err
}

// renew gives the log a new identity. The caller holds mu.
func (l *logBook) renew() {
	for l.id = (logID{}); l.id == (logID{}); {
		rand.Read(l.id[:]) // never fails
	}
	l.state = logState{Version: logStateVersion, ID: hex.EncodeToString(l.id[:])}
}

// identify gives the log the identity of another one.
func (l *logBook) identify(id logID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.id = id
	l.state = logState{Version: logStateVersion, ID: hex.EncodeToString(id[:])}
}

// known returns the newest sequence that was certainly assigned, and whether it is
// certain that no later one was.
func (l *logBook) known() (last uint64, closed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state.Last, l.state.Closed
}

// save writes the state: last is the newest sequence now, and partition the first
// of the newest partition.
func (l *logBook) save(partition, last uint64, closed bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state.Partition, l.state.Last, l.state.Closed = partition, last, closed
	b, err := json.MarshalIndent(l.state, "", "\t")
	if err == nil {
		err = l.vol.writeState(append(b, '\n'))
	}
	if l.unsaved = err != nil; err != nil {
		return fmt.Errorf("write the record of the log: %w", err)
	}
	return nil
}

// verify returns an error unless the state can be read and belongs to this log.
func (l *logBook) verify() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	b, err := l.vol.readState()
	if err != nil {
		return fmt.Errorf("read the record of the log: %w", err)
	}
	if _, id, err := decodeLogState(b); err != nil {
		return fmt.Errorf("read the record of the log: %w", err)
	} else if id != l.id {
		return fmt.Errorf("read the record of the log: %w: another archive's", errLogState)
	}
	return nil
}

// pending reports whether the last save failed.
func (l *logBook) pending() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.unsaved
}

// add notes that no envelope has the sequences of a span. It replaces earlier notes
// about them.
func (l *logBook) add(s seqSpan) {
	if s.From > s.To {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state.Spans = addSpan(l.state.Spans, s)
}

// ended notes what a salvage has found out about the partition that begins with
// sequence first: its log reached at least last and, if all of it was read, ended
// there.
func (l *logBook) ended(first, last uint64, all bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var spans []seqSpan
	for _, s := range l.state.Spans {
		if s.Unsure && s.From >= first && s.From-first < maxPartitionRecords {
			if s.From = max(s.From, last+1); s.From > s.To {
				continue
			}
			s.Unsure = !all
		}
		spans = append(spans, s)
	}
	l.state.Spans = spans
}

func addSpan(spans []seqSpan, s seqSpan) []seqSpan {
	out := make([]seqSpan, 0, len(spans)+2)
	for _, old := range spans {
		if old.To < s.From || old.From > s.To {
			out = append(out, old)
			continue
		}
		if old.From < s.From {
			out = append(out, seqSpan{old.From, s.From - 1, old.Unsure})
		}
		if old.To > s.To {
			out = append(out, seqSpan{s.To + 1, old.To, old.Unsure})
		}
	}
	out = append(out, s)
	slices.SortFunc(out, func(a, b seqSpan) int {
		if a.From < b.From {
			return -1
		}
		return 1
	})
	merged := out[:1]
	for _, next := range out[1:] {
		if end := &merged[len(merged)-1]; end.To+1 == next.From && end.Unsure == next.Unsure {
			end.To = next.To
			continue
		}
		merged = append(merged, next)
	}
	for len(merged) > maxSpans {
		merged[1] = seqSpan{merged[0].From, merged[1].To, true}
		merged = merged[1:]
	}
	return merged
}

// lost returns how many of the sequences between after and before, both exclusive,
// are in no span, and whether it is sure that none of the others was an
// envelope's.
func (l *logBook) lost(after, before uint64) (n uint64, sure bool) {
	if before <= after || before-after == 1 {
		return 0, true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	n, sure = before-after-1, true
	for _, s := range l.state.Spans {
		from, to := max(s.From, after+1), min(s.To, before-1)
		if from > to {
			continue
		}
		n -= to - from + 1
		sure = sure && !s.Unsure
	}
	return n, sure
}

// used returns the newest sequence up to seq that may have been assigned to an
// envelope that was not archived again under another one.
func (l *logBook) used(seq uint64) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range slices.Backward(l.state.Spans) {
		if !s.Unsure && s.From <= seq && seq <= s.To {
			seq = s.From - 1
		}
	}
	return seq
}

// openBook reads the record of the log. firsts are the first sequences of the
// partitions, and asides those of all partitions that were ever set aside.
func (a *Archive) openBook(firsts, asides []uint64) {
	fresh, err := a.book.load(slices.Max(slices.Concat([]uint64{0}, firsts, asides)))
	if err != nil {
		a.logRenewed(err)
	}
	if !fresh {
		return
	}
	for _, first := range asides {
		// The sequences skipped after it are not on record.
		at, _ := slices.BinarySearch(firsts, first)
		if at < len(firsts) && firsts[at]-first >= maxPartitionRecords {
			a.book.add(seqSpan{From: first, To: firsts[at] - 1, Unsure: true})
		}
	}
}

func (a *Archive) logRenewed(cause error) {
	a.log.Warn("the archive's log is not the one it was; clients ask for everything anew", "cause", cause)
}

// ID returns the identity of the log, which distinguishes its sequences from
// those of another archive. It is never zero. It stays the same when a damaged
// part is set aside or salvaged. It changes when the archive is begun again:
// because its directory is new, or because the end of the log, or the file that
// holds the identity, was removed.
func (a *Archive) ID() [IDSize]byte {
	a.book.mu.Lock()
	defer a.book.mu.Unlock()
	return a.book.id
}

// Lost returns how many envelopes a follower missed that got no record between the
// sequences after and before, because the archive no longer has them. sure is false
// if there may have been more: after a crash nobody knows where a damaged partition
// ended. Sequences that were never assigned, which follow a damaged partition, do
// not count, and neither do those whose envelopes were archived again under others.
func (a *Archive) Lost(after, before uint64) (n uint64, sure bool) { return a.book.lost(after, before) }

// Probe checks that the archive's disk can be written and read: it writes the record
// of the log with an fsync and reads it back. It may be called at any time.
func (a *Archive) Probe() error {
	if err := a.book.save(a.active().first, a.Last(), false); err != nil {
		return err
	}
	return a.book.verify()
}

// saveBook writes how far the log has come. A failure is only logged: without the
// record, clients may have to begin again.
func (a *Archive) saveBook(closed bool) {
	if err := a.book.save(a.active().first, a.Last(), closed); err != nil {
		a.log.Warn("the archive's record of its log was not written; clients may ask for everything anew after the next start", "err", err)
	}
}
