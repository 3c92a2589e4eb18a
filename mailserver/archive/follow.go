package archive

import (
	"context"
	"fmt"
)

// followBytes is how much of the log a follower gets at a time.
const followBytes = 256 << 10

// GapError means that a follower's cursor is no longer in the log: retention
// has dropped the records between it and Oldest.
type GapError struct {
	After  uint64 // the cursor
	Oldest uint64 // the oldest sequence there is
}

func (e *GapError) Error() string {
	return fmt.Sprintf("archive: records after %d are gone, the oldest is %d", e.After, e.Oldest)
}

// AheadError means that a follower's cursor is above the newest sequence: it
// comes from another archive, or from this one before it was restored or emptied.
type AheadError struct {
	After  uint64 // the cursor
	Newest uint64 // the newest sequence there is
}

func (e *AheadError) Error() string {
	return fmt.Sprintf("archive: cursor %d is ahead of the newest record %d", e.After, e.Newest)
}

// Follow calls fn with every record whose sequence is above after, in order and
// exactly once, and continues as new ones are archived. fn owns the slice.
// Sequences are not consecutive where a damaged partition is missing. Follow
// returns ctx's error, the error of fn, a *GapError or *AheadError for a cursor
// outside the log, ErrClosed, or an error of the disk. It may then be called again
// with the last sequence that fn has seen.
func (a *Archive) Follow(ctx context.Context, after uint64, fn func([]Record) error) error {
	if last := a.Last(); after > last {
		return &AheadError{After: after, Newest: last}
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if first := a.First(); after+1 < first {
			return &GapError{After: after, Oldest: first}
		}
		if a.tail.isClosed() {
			return ErrClosed
		}
		blocks, more, ok := a.tail.from(after+1, followBytes)
		var records []Record
		var err error
		switch {
		case ok && len(blocks) == 0:
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-more:
			}
			continue
		case ok:
			for _, tb := range blocks {
				b, err := openBlock(tb.first, tb.value)
				if err != nil {
					return err
				}
				if records, err = b.records(records, after+1); err != nil {
					return err
				}
			}
		default:
			if records, err = a.read(after+1, followBytes); err != nil {
				return err
			}
		}
		if len(records) == 0 {
			// The rest of the partition that held it is gone: continue with the next
			// one.
			if after, ok = a.skip(after); !ok {
				return a.readFailed(fmt.Errorf("no record after %d", after))
			}
			continue
		}
		after = records[len(records)-1].Seq
		if err := fn(records); err != nil {
			return err
		}
	}
}

// read returns the records from sequence from on, about limit bytes of them,
// from one partition.
func (a *Archive) read(from uint64, limit int) (records []Record, err error) {
	p := a.holding(from)
	if p == nil {
		return nil, nil
	}
	defer p.release()
	last := a.Last() // a write that failed may have left more on disk
	n := 0
	var decodeErr error
	err = p.blocks(from, func(b block, value []byte) bool {
		if b.last() > last {
			return false
		}
		records, decodeErr = b.records(records, from)
		n += len(value)
		return decodeErr == nil && n < limit
	})
	if err == nil {
		err = decodeErr
	}
	if err != nil {
		return nil, a.readFailed(err)
	}
	return records, nil
}

// holding returns the partition whose range includes seq, acquired, or nil.
func (a *Archive) holding(seq uint64) *partition {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if a.closed {
		return nil
	}
	for i := len(a.parts) - 1; i >= 0; i-- {
		if p := a.parts[i]; p.first <= seq {
			p.acquire()
			return p
		}
	}
	return nil
}

// skip returns the sequence before the first partition that begins after after.
func (a *Archive) skip(after uint64) (uint64, bool) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	for _, p := range a.parts {
		if p.first > after+1 {
			return p.first - 1, true
		}
	}
	return after, false
}
