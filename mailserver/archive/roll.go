package archive

import (
	"errors"
	"slices"

	"whisperpush/mailserver/archive/engine"
)

const (
	// sizedPartitions is the least number of partitions that MaxBytes is divided into.
	sizedPartitions = 8
)

// begin makes the partition that starts with sequence first and writes to it.
func (a *Archive) begin(first uint64) error {
	p := &partition{name: partitionName(first), first: first, onClose: a.partitionClosed}
	p.acquire()
	db, err := a.openDB(p.name, false, false)
	if err == nil {
		if err = a.vol.sync(); err != nil {
			db.Close()
		}
	}
	if err != nil {
		// The next partition may get another name, if the one before it continues
		// meanwhile.
		return errors.Join(err, a.vol.remove(p.name))
	}
	p.db = db
	a.mu.Lock()
	defer a.mu.Unlock()
	a.parts = append(a.parts, p)
	a.run = newMemoryRun(p, first, 0)
	return nil
}

// rollDue reports whether the current partition is old or large enough.
func (a *Archive) rollDue() bool {
	p, last := a.active(), a.Last()
	if last < p.first {
		return false // nothing in it yet
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.now().Sub(p.started) >= a.width || last-p.first >= maxPartitionRecords-2*maxRunRecords ||
		a.maxBytes() > 0 && p.bytes > a.maxBytes()/sizedPartitions
}

// roll begins a new partition. Only the writer calls it.
func (a *Archive) roll() error {
	a.freeze()
	if a.run.count() > 0 {
		return nil // an index is still being written; roll is tried again
	}
	p := a.active()
	if err := a.begin(a.Last() + 1); err != nil {
		return err
	}
	a.saveBook(false)
	a.mu.Lock()
	p.sealed = true
	a.unsealed = append(a.unsealed, p)
	a.mu.Unlock()
	engine.Signal(a.flushMe)
	engine.Signal(a.kick)
	return nil
}

// finish writes the rest of a partition's index and opens the partition read-only.
func (a *Archive) finish(p *partition, run *memoryRun) error {
	if run.count() > 0 {
		prev := uint64(0)
		if len(p.runs) > 0 {
			prev = p.indexed()
		}
		h, f, batch := run.encode(prev)
		db := p.db
		if p.db.ReadOnly() {
			if err := a.reopen(p, false); err != nil {
				return err
			}
			db = p.db
		}
		if err := db.Write(batch); err != nil {
			return err
		}
		r := &diskRun{runHeader: h, part: p}
		if a.filters.take(len(f)) {
			r.filter = f
		}
		p.runs = append(p.runs, r)
		if err := a.reopen(p, false); err != nil { // moves the journal into a table
			return err
		}
	}
	return a.reopen(p, true)
}

// seal makes a partition that is no longer written to cheap to keep.
func (a *Archive) seal(p *partition) error {
	// The first open moves the journal into a table; the second has no journal to
	// keep in memory.
	if err := errors.Join(a.reopen(p, false), a.reopen(p, true)); err != nil {
		return err
	}
	size := p.size()
	a.mu.Lock()
	p.bytes, p.sealed = size, true
	a.unsealed = slices.DeleteFunc(a.unsealed, func(q *partition) bool { return q == p })
	a.mu.Unlock()
	engine.Signal(a.kick) // it may be dropped now, which an archive at its limit waits for
	return nil
}

// reopen closes a sealed partition's database and opens it again. If it cannot be
// opened for writing, on a full disk for instance, reads continue.
func (a *Archive) reopen(p *partition, readOnly bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.db != nil {
		if err := p.db.Close(); err != nil {
			a.log.Warn("partition closed with an error", "partition", p.name, "err", err)
		}
		p.db = nil
	}
	db, err := a.openDB(p.name, true, readOnly)
	if err != nil && !readOnly {
		var worse error
		db, worse = a.openDB(p.name, true, true)
		err = errors.Join(err, worse)
	}
	p.db = db
	return err
}
