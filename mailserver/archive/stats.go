package archive

import (
	"errors"
	"slices"
	"time"
)

// Stats describe what the archive holds.
type Stats struct {
	First, Last uint64    // sequences; First is Last+1 if there are none
	Partitions  int       // directories that the log is divided into
	Bytes       int64     // approximate size on disk
	Oldest      time.Time // when the oldest envelope was archived; zero if there is none
	Newest      time.Time // when the newest envelope was archived; zero if there is none
	Damaged     []string  // parts that were set aside and are not salvaged yet
}

// Stats counts without reading the disk.
func (a *Archive) Stats() Stats {
	a.mu.RLock()
	defer a.mu.RUnlock()
	s := Stats{First: a.parts[0].first, Last: a.Last(), Partitions: len(a.parts), Damaged: slices.Clone(a.aside)}
	for _, p := range a.parts {
		s.Bytes += p.bytes
		if s.Oldest.IsZero() {
			s.Oldest = p.started
		}
		if !p.received.IsZero() {
			s.Newest = p.received
		}
	}
	return s
}

// ErrUnsealed means that the archive is still closing the partition before the one that is written to.
var ErrUnsealed = errors.New("archive is still closing a partition; prune it again in a moment")

// pruning is a call of Prune.
type pruning struct {
	before  time.Time
	dropped chan pruned // holds one
}

type pruned struct {
	partitions int
	bytes      int64
	err        error
}

// Prune drops the partitions whose envelopes were all archived before a time and have all expired, oldest first. It
// returns how many it dropped, and about how many bytes. A partition that spans the time stays whole, and so does the
// one that is written to.
func (a *Archive) Prune(before time.Time) (partitions int, bytes int64, err error) {
	p := pruning{before, make(chan pruned, 1)}
	select {
	case a.prune <- p:
	case <-a.ctx.Done():
		return 0, 0, ErrClosed
	}
	select {
	case done := <-p.dropped:
		return done.partitions, done.bytes, done.err
	case <-a.ctx.Done():
		return 0, 0, ErrClosed
	}
}

// dropBefore answers a Prune. The keeper calls it.
func (a *Archive) dropBefore(before time.Time) (done pruned) {
	for {
		p, _ := a.oldest()
		if p == nil || !p.received.Before(before) || !a.expired(p, a.now()) {
			a.mu.RLock()
			if p == nil && len(a.unsealed) > 0 && a.parts[0].received.Before(before) {
				done.err = ErrUnsealed
			}
			a.mu.RUnlock()
			return done
		}
		if done.err = a.drop(p, "pruned"); done.err != nil {
			return done
		}
		done.partitions++
		done.bytes += p.bytes
	}
}
