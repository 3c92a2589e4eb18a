package archive

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"whisperpush/durable"
	"whisperpush/mailserver/archive/engine"
)

// openDB opens a partition's database, for writing or as a sealed one.
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

// openPartitions opens the partitions of the volume, sets damaged ones aside and
// begins a new one if none can be continued.
func (a *Archive) openPartitions() error {
	names, err := a.vol.list()
	if err != nil {
		return err
	}
	var firsts []uint64
	var asides []uint64 // first sequences of all partitions that were ever set aside
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
				// The disk filled up when it had been begun and was still empty, and the
				// archive continued with the partition before it.
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
		if n > 0 && !a.parts[n-1].sealed { // it cannot continue: the sequences after it are lost
			a.parts[n-1].sealed = true
			a.unsealed = append(a.unsealed, a.parts[n-1])
			a.frozen = a.run
			if a.frozen.count() == 0 {
				a.frozen = nil
			}
			engine.Signal(a.flushMe)
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

// dropUnborn removes the empty partitions that a crash or a full disk kept from being
// begun.
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

// openPartition opens one partition. newer is how many partitions follow it: only
// the newest is still written to, and the one before it may not have been sealed
// yet. The run covers the end of its log and is empty for a sealed partition.
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
			// A sealed database is not created again.
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
		// A time from a wrong clock must not keep the partition forever.
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

// newestRuns returns the newest runs on disk, ascending: as many as hold the records
// of duplicateRuns full ones.
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
