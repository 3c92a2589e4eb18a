package mailserver

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strings"
	"time"

	"whisperpush/durable"
)

const (
	// partitions is into how many the retention time is divided.
	partitions = 32
	// A partition covers at least minWidth and at most maxWidth.
	minWidth = time.Minute
	maxWidth = 24 * time.Hour
	// sizedPartitions is into how many MaxBytes is divided at least.
	sizedPartitions = 8
	// keepInterval is how often retention is looked at.
	keepInterval = time.Minute
	// expiryHold is how long beyond its retention a partition is kept for an envelope
	// in it that has not expired, or the retention again if that is longer. Without a
	// bound one envelope with a TTL of a century would keep its partition for ever.
	expiryHold = 30 * 24 * time.Hour
	// wipeDelay is how long after the start everything is kept if all of it, the
	// newest included, seems to be past retention: more likely the clock is wrong.
	wipeDelay = time.Hour
	// filterMemory bounds the hash filters of all partitions, in bytes.
	filterMemory = 64 << 20
)

func partitionWidth(retention time.Duration) time.Duration {
	if retention < 0 {
		return maxWidth
	}
	return min(max(retention/partitions, minWidth), maxWidth)
}

// openDB opens a partition's database for writing, or sealed.
func (a *Archive) openDB(name string, sealed, readOnly bool) (*durable.DB, error) {
	dir, s, err := a.vol.open(name)
	if err != nil {
		return nil, err
	}
	o := durable.Options{
		Storage: s, ReadOnly: readOnly, NoCompression: true, OpenFiles: openTables,
		L0Trigger: l0Trigger, LevelSize: levelSize, WriteBuffer: writeBuffer, BlockCache: blockCache,
		Name: "archive", Metrics: a.db, Logger: a.log,
	}
	if sealed {
		o.BlockCache = sealedBlockCache
	}
	if readOnly {
		o.WriteBuffer = sealedWriteBuffer
	}
	return durable.Open(dir, o)
}

// openPartitions opens what the volume holds, sets aside what is damaged and
// begins a partition if none goes on.
func (a *Archive) openPartitions() error {
	names, err := a.vol.list()
	if err != nil {
		return err
	}
	var firsts []uint64
	var asides []uint64 // first sequences of the partitions that were set aside, ever
	for _, name := range names {
		if first, ok := parsePartition(name); ok {
			firsts = append(firsts, first)
		} else if first, ok := parseQuarantined(name); ok {
			asides = append(asides, first)
			if awaitsRecovery(name) {
				a.aside = append(a.aside, name)
			}
		} else if strings.HasSuffix(name, droppedSuffix) {
			if err := a.vol.remove(name); err != nil {
				return err
			}
		}
	}
	slices.Sort(firsts)
	a.openBook(firsts, asides)
	aside := slices.Max(append(asides, 0)) // the first sequence of the newest partition that was set aside
	var last uint64                        // of the newest partition that could be opened
	if firsts, err = a.dropUnborn(firsts); err != nil {
		return err
	}
	for i, first := range firsts {
		p, run, err := a.openPartition(first, len(firsts)-1-i)
		if errors.Is(err, durable.ErrCorrupted) {
			aside = max(aside, first)
			if err := a.setAside(partitionName(first), first, err); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		if first <= last {
			err := p.db.Close()
			if run.count() == 0 && len(p.runs) == 0 {
				// It was begun, and before anything was in it the disk filled up and the one
				// before it went on.
				if err := errors.Join(err, a.vol.remove(p.name)); err != nil {
					return err
				}
				continue
			}
			return fmt.Errorf("%w: partition %s begins before the one before it ends at %d", durable.ErrCorrupted, p.name, last)
		}
		a.parts = append(a.parts, p)
		a.run = run
		_, last = run.bounds()
	}
	next := last + 1
	if aside >= next {
		next = aside + maxPartitionRecords
		known, closed := a.book.known()
		a.book.add(seqSpan{From: max(last, aside-1, known) + 1, To: next - 1, Unsure: !closed})
	}
	if err := a.book.check(next - 1); err != nil {
		a.logRenewed(err)
	}
	if n := len(a.parts); n == 0 || a.parts[n-1].sealed || next != last+1 {
		if n > 0 && !a.parts[n-1].sealed { // cannot go on: the sequences after it are lost
			a.parts[n-1].sealed = true
			a.unsealed = append(a.unsealed, a.parts[n-1])
			a.frozen = a.run
			if a.frozen.count() == 0 {
				a.frozen = nil
			}
			signal(a.flushMe)
		}
		if err := a.begin(next); err != nil {
			return err
		}
	}
	a.last.Store(next - 1)
	a.reportGaps()
	a.w.recent, a.w.before, a.w.missing = a.newestRuns(), next-1, a.frozen != nil
	a.metrics.damaged.Add(float64(len(a.damage)))
	return nil
}

// dropUnborn removes the partitions that were never begun: a crash or a full disk was in the
// way, and nothing is in them.
func (a *Archive) dropUnborn(firsts []uint64) (born []uint64, err error) {
	for _, first := range firsts {
		name := partitionName(first)
		dir, s, err := a.vol.open(name)
		if err != nil {
			return nil, err
		}
		unborn, err := durable.Unborn(dir, s)
		if err == nil && unborn {
			err = a.vol.remove(name)
		}
		switch {
		case err != nil:
			return nil, err
		case !unborn:
			born = append(born, first)
		}
	}
	return born, nil
}

// openPartition opens one partition. newer is how many there are after it: only
// the newest goes on being written, and the one before it may not have been sealed
// yet. The run covers the end of its log and is empty for a sealed one.
func (a *Archive) openPartition(first uint64, newer int) (_ *partition, run *memoryRun, err error) {
	p := &partition{name: partitionName(first), first: first, sealed: newer > 0}
	p.onClose = a.partitionClosed
	p.acquire()
	defer func() {
		if err != nil && p.db != nil {
			p.db.Close()
			p.db = nil
		}
	}()
	if p.db, err = a.openDB(p.name, p.sealed, newer > 1); err != nil {
		if newer > 1 && errors.Is(err, fs.ErrNotExist) {
			// A sealed database is not made anew.
			err = fmt.Errorf("%w: %w", durable.ErrCorrupted, err)
		}
		return nil, nil, err
	}
	if run, err = a.loadPartition(p); err != nil {
		return nil, nil, err
	}
	if !p.sealed {
		p.bytes = p.size()
		return p, run, nil
	}
	if run.count() > 0 || newer == 1 {
		if err := a.finish(p, run); err != nil {
			return nil, nil, err
		}
		_, last := run.bounds()
		run = newMemoryRun(p, last+1, 0)
	}
	p.bytes = p.size()
	return p, run, nil
}

// loadPartition reads the index of an open database.
func (a *Archive) loadPartition(p *partition) (*memoryRun, error) {
	newest, lastBlock, err := p.end()
	if err != nil {
		return nil, err
	}
	if err := p.load(newest, a.o.runRecords/2, &a.filters); err != nil {
		return nil, err
	}
	run, err := p.rebuild()
	if err != nil {
		return nil, err
	}
	if _, last := run.bounds(); lastBlock.n > 0 && last != lastBlock.last() || lastBlock.n == 0 && newest.last > 0 {
		return nil, fmt.Errorf("%w: log of partition %s ends at %d, its index at %d", durable.ErrCorrupted, p.name, lastBlock.last(), last)
	}
	if lastBlock.n > 0 {
		// A time from a clock that was wrong must not keep the partition for ever.
		p.received = earlier(lastBlock.received, a.opened)
		if b, err := p.block(p.first); err != nil {
			return nil, err
		} else {
			p.started = earlier(b.received, a.opened)
		}
	}
	return run, nil
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// finish writes the rest of a partition's index and opens it for reading only.
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

// reopen closes a sealed partition's database and opens it again. If it cannot be
// opened for writing, on a full disk for instance, reads go on.
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
		// The next one may have another name, if the one before it goes on meanwhile.
		return errors.Join(err, a.vol.remove(p.name))
	}
	p.db = db
	a.mu.Lock()
	defer a.mu.Unlock()
	a.parts = append(a.parts, p)
	a.run = newMemoryRun(p, first, 0)
	return nil
}

// newestRuns returns runs on disk with the newest records, duplicateRuns full
// ones or as many more as cover the same, ascending.
func (a *Archive) newestRuns() (runs []*diskRun) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	records := 0
	for _, p := range slices.Backward(a.parts) {
		for _, r := range slices.Backward(p.runs) {
			if records >= duplicateRuns*a.o.runRecords {
				break
			}
			runs = append(runs, r)
			records += r.count()
		}
	}
	slices.Reverse(runs)
	return runs
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
		a.o.MaxBytes > 0 && p.bytes > a.o.MaxBytes/sizedPartitions
}

// roll begins a new partition. Only the writer calls it.
func (a *Archive) roll() error {
	a.freeze()
	if a.run.count() > 0 {
		return nil // an index is being written; this is tried again
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
	signal(a.flushMe)
	signal(a.kick)
	return nil
}

// seal makes a partition that is not written to any more cheap to keep.
func (a *Archive) seal(p *partition) error {
	// The first open moves the journal into a table, the second has none to keep in
	// memory.
	if err := errors.Join(a.reopen(p, false), a.reopen(p, true)); err != nil {
		return err
	}
	size := p.size()
	a.mu.Lock()
	p.bytes, p.sealed = size, true
	a.unsealed = slices.DeleteFunc(a.unsealed, func(q *partition) bool { return q == p })
	a.mu.Unlock()
	signal(a.kick) // it may be dropped now, and an archive at its limit waits for that
	return nil
}

// keeper drops what is past retention and watches the size.
func (a *Archive) keeper() {
	ticker := time.NewTicker(keepInterval)
	defer ticker.Stop()
	for {
		if err := a.retain(); err != nil {
			a.log.Error("retention", "err", err)
		}
		select {
		case <-ticker.C:
			if a.book.pending() {
				a.saveBook(false)
			}
			// An idle archive has nobody else to begin the next partition.
			a.enqueue(submission{done: func(error) {}})
		case <-a.kick:
		case <-a.ctx.Done():
			return
		}
	}
}

// retain drops the oldest partitions while they are due.
func (a *Archive) retain() error {
	for {
		p, total := a.oldest()
		a.metrics.diskBytes.Set(float64(total))
		over := a.o.MaxBytes > 0 && total > a.o.MaxBytes
		now := a.now()
		var reason string
		switch {
		case p == nil:
		case a.pastRetention(p, now):
			reason = "age"
		case over && a.expired(p, now):
			reason = "size"
		}
		if reason == "" {
			if a.full.Swap(over) != over && over {
				a.log.Error("archive is at its size limit and nothing has expired; refusing envelopes", "bytes", total)
			}
			return nil
		}
		if err := a.drop(p, reason); err != nil {
			return err
		}
	}
}

// oldest returns the oldest partition, if it is sealed, and the size of all.
func (a *Archive) oldest() (*partition, int64) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	total := int64(0)
	for _, p := range a.parts {
		total += p.bytes
	}
	if p := a.parts[0]; len(a.parts) > 1 && p.sealed && !slices.Contains(a.unsealed, p) {
		return p, total
	}
	return nil, total
}

// expired reports whether every envelope in a sealed partition has expired.
func (a *Archive) expired(p *partition, now time.Time) bool {
	latest := uint32(0)
	for _, r := range p.runs {
		latest = max(latest, r.maxExpiry)
	}
	hold := max(expiryHold, a.o.Retention)
	if a.o.Retention < 0 {
		hold = math.MaxInt64
	}
	return now.After(time.Unix(int64(latest), 0)) || now.Sub(p.received) > hold
}

func (a *Archive) pastRetention(p *partition, now time.Time) bool {
	due := func(p *partition) bool { return now.Sub(p.received) > a.o.Retention }
	if a.o.Retention < 0 || !due(p) {
		return false
	}
	if !a.expired(p, now) {
		return false
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	newest := a.parts[0]
	for _, q := range a.parts {
		if !q.received.IsZero() {
			newest = q
		}
	}
	if due(newest) && now.Sub(a.opened) < wipeDelay {
		a.log.Warn("everything in the archive is past its retention; is the clock right? keeping it for now", "until", a.opened.Add(wipeDelay))
		return false
	}
	return true
}

// drop takes the oldest partition out and deletes it when its last reader is done.
func (a *Archive) drop(p *partition, reason string) error {
	// Renamed first: whatever happens now, the next start deletes the rest of it.
	if err := a.vol.rename(p.name, p.name+droppedSuffix); err != nil {
		return fmt.Errorf("drop partition %s: %w", p.name, err)
	}
	if err := a.vol.sync(); err != nil {
		return err
	}
	a.mu.Lock()
	a.parts = slices.Clone(a.parts[1:])
	a.mu.Unlock()
	for _, r := range p.runs {
		a.filters.give(len(r.filter))
	}
	a.metrics.dropped.WithLabelValues(reason).Inc()
	a.log.Info("partition dropped", "partition", p.name, "reason", reason, "bytes", p.bytes)
	p.release()
	return nil
}

// partitionClosed deletes a dropped partition after its last reader.
func (a *Archive) partitionClosed(p *partition) {
	p.mu.Lock()
	if p.db != nil {
		p.db.Close()
		p.db = nil
	}
	p.mu.Unlock()
	if err := a.vol.remove(p.name + droppedSuffix); err != nil {
		a.log.Error("dropped partition not deleted; the next start tries again", "partition", p.name, "err", err)
	}
}
