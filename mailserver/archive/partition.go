package archive

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"whisperpush/durable"
	"whisperpush/whisper"
)

const (
	// Memory of the active partition's database: up to three write buffers under
	// load, and the cache.
	writeBuffer = 8 << 20
	blockCache  = 8 << 20
	// Memory of the database of each sealed partition. There are some dozens.
	sealedWriteBuffer = 64 << 10
	sealedBlockCache  = 512 << 10
	// openTables is how many table files a partition keeps open.
	openTables = 64
	// levelSize and l0Trigger make compactions rare; they only move tables.
	levelSize = 1 << 40
	l0Trigger = 6
	// shortRuns is how many runs shorter than half the full length are kept at the
	// end of a partition that is still written to.
	shortRuns = 4
	// maxPartitionRecords bounds a partition's sequences, so that the sequences
	// after a lost partition are known to be unused.
	maxPartitionRecords = 1 << 32
)

// partition is one database: the envelopes received in a stretch of time.
type partition struct {
	name  string
	first uint64

	// mu is held for reading while the database is used and for writing while it is
	// replaced. It guards db.
	mu sync.RWMutex
	db *durable.DB // nil once closed

	// refs counts the readers, plus one for the archive's list. The last one
	// closes the database and deletes it if it was dropped.
	refs    atomic.Int64
	onClose func(*partition)

	// The following fields belong to the archive and are guarded by Archive.mu.
	runs     []*diskRun // ascending
	received time.Time  // when the newest record came, zero if none
	started  time.Time  // when the first record came, zero if none
	sealed   bool
	bytes    int64 // its approximate size on disk
}

func (p *partition) acquire() { p.refs.Add(1) }

func (p *partition) release() {
	if p.refs.Add(-1) == 0 {
		p.onClose(p)
	}
}

// database returns the open database. The caller must unlock p.mu if err is nil.
func (p *partition) database() (*durable.DB, error) {
	p.mu.RLock()
	if p.db == nil {
		p.mu.RUnlock()
		return nil, fmt.Errorf("partition %s: %w", p.name, durable.ErrClosed)
	}
	return p.db, nil
}

func (p *partition) get(key []byte) ([]byte, error) {
	db, err := p.database()
	if err != nil {
		return nil, err
	}
	defer p.mu.RUnlock()
	return db.Get(key)
}

func (p *partition) write(b *durable.Batch) error {
	db, err := p.database()
	if err != nil {
		return err
	}
	defer p.mu.RUnlock()
	return db.Write(b)
}

// block reads the block that begins with first.
func (p *partition) block(first uint64) (block, error) {
	v, err := p.get(logKey(first))
	if errors.Is(err, durable.ErrNotFound) {
		return block{}, fmt.Errorf("%w: log block %d is missing", durable.ErrCorrupted, first)
	}
	if err != nil {
		return block{}, err
	}
	return openBlock(first, v)
}

// blocks calls fn for each block that holds sequences from from on, in order,
// until fn returns false. It checks that there is no hole between them.
func (p *partition) blocks(from uint64, fn func(block, []byte) bool) error {
	db, err := p.database()
	if err != nil {
		return err
	}
	defer p.mu.RUnlock()
	start, err := blockKey(db, from)
	if err != nil {
		return err
	}
	it := db.Scan(start, nil)
	defer it.Release()
	next := uint64(0)
	for it.Next() {
		seq, kind, valid := splitKey(it.Key())
		if !valid || kind != kindLog {
			continue
		}
		value := append([]byte(nil), it.Value()...)
		b, err := openBlock(seq, value)
		if err != nil {
			return err
		}
		if next != 0 && seq != next {
			return fmt.Errorf("%w: log of partition %s: %d follows %d", durable.ErrCorrupted, p.name, seq, next-1)
		}
		next = b.last() + 1
		if b.last() >= from && !fn(b, value) {
			return nil
		}
	}
	return it.Release()
}

// blockKey returns the key of the block that holds from: the one that begins with
// it, or the last one before it. It returns nil if there is neither.
func blockKey(db *durable.DB, from uint64) (key []byte, err error) {
	it := db.Backward(nil, append(logKey(from), 0))
	defer it.Release()
	for it.Next() {
		if _, kind, valid := splitKey(it.Key()); valid && kind == kindLog {
			return slices.Clone(it.Key()), nil
		}
	}
	return nil, it.Release()
}

// end returns the header of the newest run and the last block. Both are zero if
// there are none.
func (p *partition) end() (newest runHeader, last block, err error) {
	db, err := p.database()
	if err != nil {
		return newest, last, err
	}
	defer p.mu.RUnlock()
	it := db.Backward(nil, nil)
	defer it.Release()
	for it.Next() {
		seq, kind, valid := splitKey(it.Key())
		switch {
		case !valid:
		case kind == kindLog && last.n == 0:
			if last, err = openBlock(seq, append([]byte(nil), it.Value()...)); err != nil {
				return newest, last, err
			}
		case kind == kindHeader && newest.last == 0:
			if newest, err = decodeRunHeader(seq, it.Value()); err != nil {
				return newest, last, err
			}
		}
		if last.n > 0 && newest.last > 0 {
			break
		}
	}
	return newest, last, it.Release()
}

// load reads the headers and filters of the runs up to newest. Each clean stop
// leaves a run of fewer than short records. If there are more than shortRuns of
// them at the end, load skips them, and they are written again as one run with the
// records that follow them.
func (p *partition) load(newest runHeader, short int, budget *filterBudget) error {
	headers, err := p.headers(newest)
	if err != nil {
		return err
	}
	ends := 0
	for ends < len(headers) && headers[ends].count() < short {
		ends++
	}
	if ends > shortRuns && !p.sealed {
		headers = headers[ends:]
	}
	p.runs = nil
	for _, h := range slices.Backward(headers) {
		r := &diskRun{runHeader: h, part: p}
		if budget.take(h.count() * filterBits / 8) {
			f, err := r.get(appendKey(nil, h.last, kindFilter))
			if err != nil {
				return err
			}
			if len(f) == 0 {
				return r.damaged("filter")
			}
			r.filter = f
		}
		p.runs = append(p.runs, r)
	}
	return nil
}

// headers reads the headers of all runs from newest on, the newest first, and
// checks that they follow each other.
func (p *partition) headers(newest runHeader) (headers []runHeader, err error) {
	for h := newest; h.last != 0; {
		if h.first < p.first {
			return nil, fmt.Errorf("%w: partition %s has an index run from %d", durable.ErrCorrupted, p.name, h.first)
		}
		headers = append(headers, h)
		if h.prev == 0 {
			if h.first != p.first {
				return nil, fmt.Errorf("%w: partition %s has no index run before %d", durable.ErrCorrupted, p.name, h.first)
			}
			break
		}
		v, err := p.get(appendKey(nil, h.prev, kindHeader))
		if err != nil {
			return nil, fmt.Errorf("%w: %w at %d: %w", durable.ErrCorrupted, errRunHeader, h.prev, err)
		}
		before, err := decodeRunHeader(h.prev, v)
		if err != nil {
			return nil, err
		}
		if before.last+1 != h.first {
			return nil, fmt.Errorf("%w: index run %d…%d follows %d", durable.ErrCorrupted, h.first, h.last, before.last)
		}
		h = before
	}
	return headers, nil
}

// indexed returns the last sequence that the runs on disk cover.
func (p *partition) indexed() uint64 {
	if n := len(p.runs); n > 0 {
		return p.runs[n-1].last
	}
	return p.first - 1
}

// rebuild indexes in memory the records that no run covers.
func (p *partition) rebuild() (*memoryRun, error) {
	run := newMemoryRun(p, p.indexed()+1, 0)
	err := p.readInto(run)
	return run, err
}

// readInto adds the log's blocks after run's last sequence to run.
func (p *partition) readInto(run *memoryRun) error {
	var decodeErr error
	_, last := run.bounds()
	envs := make([]*whisper.Envelope, 0, blockRecords)
	err := p.blocks(last+1, func(b block, _ []byte) bool {
		if b.first != last+1 {
			decodeErr = fmt.Errorf("%w: log of partition %s: %d follows %d", durable.ErrCorrupted, p.name, b.first, last)
			return false
		}
		envs = envs[:0]
		b.each(func(at int, _ uint32, raw []byte) bool {
			var e *whisper.Envelope
			if e, decodeErr = whisper.DecodeEnvelope(raw); decodeErr != nil {
				decodeErr = fmt.Errorf("%w: log record %d: %w", durable.ErrCorrupted, b.first+uint64(at), decodeErr)
				return false
			}
			envs = append(envs, e)
			return true
		})
		if decodeErr != nil {
			return false
		}
		for at, e := range envs {
			run.add(e, uint8(at))
		}
		last = b.last()
		return true
	})
	return errors.Join(err, decodeErr)
}

// size returns the bytes of its tables.
func (p *partition) size() int64 {
	db, err := p.database()
	if err != nil {
		return 0
	}
	defer p.mu.RUnlock()
	return db.Size()
}
