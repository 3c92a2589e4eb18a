package archive

import (
	"fmt"
	"math"
	"slices"
	"time"
)

const (
	// keepInterval is the interval at which retention is checked.
	keepInterval = time.Minute
	// expiryHold bounds how long after its receipt a partition is kept for an
	// envelope that has not expired; the retention counts instead if it is longer.
	// Without a bound, one envelope with a TTL of a century would keep its partition
	// forever.
	expiryHold = 30 * 24 * time.Hour
	// wipeDelay is how long after the start everything is kept if all of it, the
	// newest included, seems to be past retention: more likely the clock is wrong.
	wipeDelay = time.Hour
)

// bounds are how long, and how much, is kept.
type bounds struct {
	retention time.Duration // negative: forever
	maxBytes  int64         // 0: no limit
}

func (a *Archive) retention() time.Duration { return a.keep.Load().retention }

func (a *Archive) maxBytes() int64 { return a.keep.Load().maxBytes }

// SetBounds changes how long and how much is kept, as in Options, from now on; what is due then is dropped soon. The
// time that a partition covers stays as it was at Open.
func (a *Archive) SetBounds(retention time.Duration, maxBytes int64) {
	if retention == 0 {
		retention = DefaultRetention
	}
	a.keep.Store(&bounds{retention, maxBytes})
	select {
	case a.kick <- struct{}{}:
	default: // it is about to check anyway
	}
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
			// In an idle archive, nothing else begins the next partition.
			a.queue.Nudge()
		case <-a.kick:
		case p := <-a.prune:
			p.dropped <- a.dropBefore(p.before)
		case <-a.ctx.Done():
			return
		}
	}
}

// retain drops the oldest partitions while they are due.
func (a *Archive) retain() error {
	for {
		p, total := a.oldest()
		a.metrics.DiskBytes.Set(float64(total))
		over := a.maxBytes() > 0 && total > a.maxBytes()
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
	hold := max(expiryHold, a.retention())
	if a.retention() < 0 {
		hold = math.MaxInt64
	}
	return now.After(time.Unix(int64(latest), 0)) || now.Sub(p.received) > hold
}

func (a *Archive) pastRetention(p *partition, now time.Time) bool {
	due := func(p *partition) bool { return now.Sub(p.received) > a.retention() }
	if a.retention() < 0 || !due(p) {
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

// drop removes the oldest partition and deletes it when its last reader is done.
func (a *Archive) drop(p *partition, reason string) error {
	// Renamed first: whatever happens now, the next start deletes the rest.
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
	a.metrics.Dropped.WithLabelValues(reason).Inc()
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
