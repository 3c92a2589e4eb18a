package archive

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"whisperpush/durable"
)

// A log may move from one place to another, for example from a directory to a database. A Source reads it in its old
// place, and a Copy writes it in the new one. The copy has the same envelopes under the same sequences and the same
// identity, and continues after them. What a client knows about the log, such as a cursor, stays valid. Package
// archivetest tests whether other archives do so too.

// Source is a log that is read in place. It is not changed, and nobody else may change it.
type Source interface {
	// ID, First and Last are those of the archive: see Archive.
	ID() [IDSize]byte
	First() uint64
	Last() uint64
	// Each calls fn with all records whose sequences are above after, in order. It ends with ctx's error, with fn's, or
	// with an error of a failed read. The slice is valid during the call only.
	Each(ctx context.Context, after uint64, fn func([]Record) error) error
	Close() error
}

// Copy is a log that is being written. It is valid only once End has returned nil.
type Copy interface {
	// Last is the sequence after which the next record must come. Everything up to it is written, and stays whatever
	// happens.
	Last() uint64
	// Add adds a record. Its sequence must be above those before it.
	Add(r Record) error
	// End ends the log. Sequences up to last that no record had are never given to anything.
	End(last uint64) error
	// Abort abandons what is not written. It may be called after End, and then does nothing.
	Abort()
}

// Origin is what a Copy takes over besides the records.
type Origin struct {
	ID    [IDSize]byte
	After uint64 // the sequence before the oldest that is kept
	// Continue continues a Copy of the same origin that was not ended. Without it the place must be empty.
	Continue bool
}

var (
	_ Source = (*Reader)(nil)
	_ Copy   = (*Builder)(nil)
)

// ErrUnfit means that an archive cannot be read as it is. Its text says what to do first.
var ErrUnfit = errors.New("the archive cannot be copied as it is")

// Reader is the Source of an archive in a directory.
type Reader struct {
	a      *Archive // as far as it opens partitions
	firsts []uint64 // first sequences of the existing partitions
	last   uint64
}

// Read opens the archive in dir for reading. The error wraps ErrUnfit, or is durable.ErrLocked when another process has
// the archive open.
func Read(dir string) (*Reader, error) {
	vol, err := openDirectory(dir)
	if err != nil {
		return nil, fmt.Errorf("read archive: %w", err)
	}
	r := &Reader{a: &Archive{vol: vol, log: slog.New(slog.DiscardHandler), db: durable.NewMetrics(nil)}}
	r.a.book.vol = vol
	if err := r.open(); err != nil {
		vol.close()
		return nil, fmt.Errorf("read archive %s: %w", dir, err)
	}
	return r, nil
}

func (r *Reader) open() error {
	names, err := r.a.vol.list()
	if err != nil {
		return err
	}
	aside := uint64(0)
	for _, name := range names {
		if first, ok := parsePartition(name); ok {
			dir, s, err := r.a.vol.open(name)
			if err != nil {
				return err
			}
			unborn, err := durable.Unborn(dir, s)
			switch {
			case err != nil:
				return err
			case !unborn:
				r.firsts = append(r.firsts, first)
			}
		} else if first, ok := parseQuarantined(name); ok {
			if aside = max(aside, first); awaitsRecovery(name) {
				return fmt.Errorf("%w: a part of it is damaged and set aside; wnode recover puts back what can be read of it", ErrUnfit)
			}
		}
	}
	slices.Sort(r.firsts)
	if len(r.firsts) == 0 {
		return fmt.Errorf("%w: there is nothing in it", ErrUnfit)
	}
	if fresh, err := r.a.book.load(r.firsts[len(r.firsts)-1]); fresh {
		return fmt.Errorf("%w: its log.json is missing or does not fit (%v); start and stop the node once", ErrUnfit, err)
	}
	for _, first := range slices.Backward(r.firsts) { // the newest may have been left empty by a full disk
		last, err := r.a.lastOf(first)
		if err != nil {
			return fmt.Errorf("%w: %w; wnode recover puts back what can be read", ErrUnfit, err)
		}
		r.last = max(r.last, last)
		if last >= first {
			break
		}
	}
	if known, _ := r.a.book.known(); r.last < known || aside > r.last {
		return fmt.Errorf("%w: its end is missing; start and stop the node once", ErrUnfit)
	}
	return nil
}

// ID implements Source.
func (r *Reader) ID() [IDSize]byte { return r.a.ID() }

// First implements Source.
func (r *Reader) First() uint64 { return r.firsts[0] }

// Last implements Source.
func (r *Reader) Last() uint64 { return r.last }

// Each implements Source.
func (r *Reader) Each(ctx context.Context, after uint64, fn func([]Record) error) error {
	for i, first := range r.firsts {
		if i+1 < len(r.firsts) && r.firsts[i+1] <= after+1 {
			continue
		}
		if err := r.partition(ctx, first, after, fn); err != nil {
			return err
		}
	}
	return nil
}

// partition is Each for one partition.
func (r *Reader) partition(ctx context.Context, first, after uint64, fn func([]Record) error) (err error) {
	p := &partition{name: partitionName(first), first: first}
	if p.db, err = r.a.openDB(p.name, true, true); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.db.Close()) }()
	var records []Record
	var failed error
	err = p.blocks(max(first, after+1), func(b block, _ []byte) bool {
		if failed = ctx.Err(); failed == nil {
			records, failed = b.records(records[:0], max(first, after+1))
		}
		if failed == nil {
			failed = fn(records)
		}
		return failed == nil
	})
	return errors.Join(failed, err)
}

// Close implements Source.
func (r *Reader) Close() error { return r.a.vol.close() }
