package archive

import (
	"time"

	"whisperpush/mailserver/archive/engine"
)

// flushRetry is the pause after a failure to write an index or to seal a partition.
const flushRetry = time.Second

// flusher writes frozen indexes as runs and seals partitions. When the archive
// closes it writes what is indexed in memory as the last run.
func (a *Archive) flusher() {
	for {
		a.mu.RLock()
		frozen, unsealed := a.frozen, a.unsealed
		a.mu.RUnlock()
		var err error
		switch {
		case frozen != nil:
			if err = a.flush(frozen); err != nil {
				a.log.Error("index not written", "err", err)
			}
		case len(unsealed) > 0:
			if err = a.seal(unsealed[0]); err != nil {
				a.log.Error("partition not sealed", "partition", unsealed[0].name, "err", err)
			}
		default:
			select {
			case <-a.flushMe:
			case <-a.ctx.Done():
				if !a.freezeLast() {
					return
				}
			}
		}
		if err != nil {
			select {
			case <-time.After(flushRetry):
			case <-a.ctx.Done():
				return // the next start does it
			}
		}
	}
}

// freezeLast freezes the index in memory unless it is empty.
func (a *Archive) freezeLast() bool {
	a.mu.RLock()
	empty := a.run.count() == 0
	a.mu.RUnlock()
	if empty {
		return false
	}
	a.freeze()
	return true
}

// flush writes one run, which replaces the index in memory.
func (a *Archive) flush(frozen *memoryRun) error {
	start := time.Now()
	p := frozen.part
	a.mu.RLock()
	prev := uint64(0)
	if len(p.runs) > 0 {
		prev = p.indexed()
	}
	a.mu.RUnlock()
	h, f, batch := frozen.encode(prev)
	if err := p.write(batch); err != nil {
		return err
	}
	r := &diskRun{runHeader: h, part: p}
	if a.filters.take(len(f)) {
		r.filter = f
	}
	a.mu.Lock()
	p.runs = append(p.runs, r)
	a.frozen = nil
	a.mu.Unlock()
	a.metrics.flushSeconds.Observe(time.Since(start).Seconds())
	return nil
}

// flushing reports whether the flusher has an index to write.
func (a *Archive) flushing() bool {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.frozen != nil
}

// freeze hands the index in memory to the flusher, unless the flusher is busy.
func (a *Archive) freeze() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.frozen != nil || a.run.count() == 0 {
		return
	}
	a.frozen = a.run
	first, last := a.frozen.bounds()
	a.w.missing = a.w.missing || first <= a.w.before
	a.run = newMemoryRun(a.frozen.part, last+1, a.frozen.count())
	engine.Signal(a.flushMe)
}
