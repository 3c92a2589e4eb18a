package archive

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"whisperpush/durable"
)

// A log may leave one place for another, as from a directory to a database: a Source is read there, and a Copy is written
// here, which has the same envelopes under the same sequences, the same identity, and goes on behind them. What a client
// knows of the log, such as a cursor, is true of the copy. Package archivetest tells whether others do so too.

// Source is a log that is read where it lies. Nothing of it is changed, and nobody else may.
type Source interface {
	// ID, First and Last are those of the archive: see Archive.
	ID() [IDSize]byte
	First() uint64
	Last() uint64
	// Each calls fn with all records whose sequences are above after, in their order. It ends with ctx's error, fn's, or
	// one of what cannot be read. The slice is good during the call.
	Each(ctx context.Context, after uint64, fn func([]Record) error) error
	Close() error
}

// Copy is a log that is being written. Nothing of it counts before End has returned nil.
type Copy interface {
	// Last is the sequence after which the next record is to be. What is up to it is written, and stays whatever happens.
	Last() uint64
	// Add adds a record, whose sequence is above those before it.
	Add(r Record) error
	// End ends the log. Sequences up to last that no record had are not given to anything.
	End(last uint64) error
	// Abort gives up what is not written. It may be called after End, and then does nothing.
	Abort()
}

// Origin is what a Copy takes over beside the records.
type Origin struct {
	ID    [IDSize]byte
	After uint64 // the sequence before the oldest that is kept
	// Continue goes on with a Copy of the same origin that was not ended. Without it there may be nothing.
	Continue bool
}

var (
	_ Source = (*Reader)(nil)
	_ Copy   = (*Builder)(nil)
)

// ErrUnfit says that an archive cannot be read as it lies, and what is to be done before.
var ErrUnfit = errors.New("the archive cannot be copied as it is")

// Reader is the Source of an archive in a directory.
type Reader struct {
	a      *Archive // as far as it opens partitions
	firsts []uint64 // of the partitions that there are
	last   uint64
}

// Read opens the archive in dir for reading. The error wraps ErrUnfit, or is durable.ErrLocked when another process has it
// open.
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

// partition is Each of one partition.
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
