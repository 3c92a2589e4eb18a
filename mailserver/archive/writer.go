package archive

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"whisperpush/durable"
	"whisperpush/mailserver/archive/engine"
	"whisperpush/whisper"
)

// groupBytes is the most that is committed with one fsync.
const groupBytes = 2 << 20

// smallGroup is the size up to which a group counts as small: a few envelopes.
const smallGroup = 4 << 10

// duplicateRuns is how many full runs that were on disk at the start are searched
// for envelopes that come again because a restart made the node forget them.
const duplicateRuns = 4

// writerState belongs to the writer goroutine.
type writerState struct {
	waiting []engine.Submission // taken out of the queue
	next    *group              // being built
	atDisk  *group              // being written, or nil
	recent  []*diskRun          // may hold envelopes that are still alive, from before the start
	before  uint64              // the last sequence from before the start
	missing bool                // recent still lacks the run that was indexed in memory at the start
	resync  bool                // a write failed: the part of it that is on disk must be read first
	unseen  int64               // bytes written since the size was last checked
	pace    engine.Pace
}

// writer commits the queue until it is empty and the archive is closing. It is a
// pipeline: while the disk goroutine writes one group and waits for its fsync, the
// next group is built from what has been queued.
//
//	queue → fill: number, index, make blocks → disk: write, fsync → settle: publish, tell
//
// The writer itself writes a small group that nothing follows yet: handing it to the disk
// goroutine and back would cost more than building the next one late. At a busy time the
// writer waits a little for more envelopes to join it (engine.Pace).
//
// At most one group is at the disk, so groups settle in order. Envelopes that are
// indexed but not settled have sequences above Last, which readers skip; if their
// write fails, they are removed from the index again. Upkeep, which replaces what
// the next group is built on, waits until everything has settled.
func (a *Archive) writer() {
	defer a.cancel()
	toDisk, written := make(chan *group), make(chan error)
	defer close(toDisk)
	a.wg.Go(func() {
		for g := range toDisk {
			written <- g.partition.write(&g.batch)
		}
	})
	w := &a.w
	w.next = new(group)
	spare := new(group)
	for {
		a.fill()
		if g := w.atDisk; g != nil {
			w.atDisk, spare = nil, g
			a.settle(g, <-written)
			a.fill() // with what came in the meantime
		}
		switch g := w.next; {
		case len(g.blocks) > 0:
			paced := a.paced(g)
			g.finish(a.active())
			w.next = spare
			if paced || g.bytes <= smallGroup {
				a.settle(g, g.partition.write(&g.batch))
				spare = g
				continue
			}
			w.atDisk = g
			toDisk <- g
		case len(g.submissions) > 0: // everything in it is archived already
			a.settle(g, nil)
		case !a.await():
			return
		}
	}
}

// paced waits for more envelopes to join g, if that is worth it, and reports whether it
// waited.
func (a *Archive) paced(g *group) bool {
	now, had := time.Now(), g.envelopes()
	wait := time.Duration(0)
	if g.bytes <= smallGroup {
		wait = a.w.pace.Wait(now)
	}
	if wait > 0 {
		time.Sleep(wait)
		a.fill()
		now = time.Now()
		a.w.pace.Waited(now, wait, g.envelopes()-had)
	}
	a.w.pace.Commit(now, g.envelopes())
	return wait > 0
}

// take takes what is queued, if nothing is waiting. closing says that the archive
// is closing and nothing is left.
func (a *Archive) take() (closing bool) {
	if len(a.w.waiting) > 0 {
		return false
	}
	a.w.waiting, closing = a.queue.Take(nil)
	return closing && len(a.w.waiting) == 0
}

// await waits until there is something to do. It returns false if there is nothing
// and the archive is closing.
func (a *Archive) await() bool {
	for {
		closing := a.take()
		if closing || len(a.w.waiting) > 0 {
			return !closing
		}
		<-a.queue.Wake()
	}
}

// fill builds the next group until it is full or nothing is queued.
func (a *Archive) fill() {
	w := &a.w
	if len(w.next.submissions) == 0 {
		due := a.upkeepDue()
		if due && w.atDisk != nil {
			return // fill again when that has settled
		}
		var err error
		if due {
			err = a.upkeep()
		}
		if err == nil && a.full.Load() {
			err = ErrFull
		}
		if err != nil {
			a.take()
			a.tell(w.waiting, fmt.Errorf("archive: %w", err))
			w.waiting = nil
			return
		}
	}
	for a.take(); len(w.waiting) > 0; a.take() {
		s := w.waiting[0]
		if len(w.next.submissions) > 0 && w.next.weight+s.Weight > groupBytes {
			return
		}
		w.waiting = w.waiting[1:]
		a.build(s)
	}
}

// build adds a submission to the next group, without the envelopes that are already
// archived.
func (a *Archive) build(s engine.Submission) {
	// Only this goroutine sets frozen; the flusher clears it when the run is on disk.
	a.mu.RLock()
	frozen := a.frozen
	a.mu.RUnlock()
	if a.w.missing && frozen == nil {
		a.w.recent, a.w.missing = a.newestRuns(), false
	}
	envs, err := a.notOnDisk(s.Envelopes)
	if err != nil {
		a.tell([]engine.Submission{s}, fmt.Errorf("archive: %w", err))
		return
	}
	g := a.w.next
	g.submissions = append(g.submissions, s)
	g.weight += s.Weight
	g.duplicates += len(s.Envelopes) - len(envs)
	for _, e := range envs {
		if a.run.has(e.Hash()) || frozen != nil && frozen.has(e.Hash()) {
			g.duplicates++
			continue
		}
		a.run.add(e, g.add(a.run.next(), e))
	}
}

// notOnDisk returns envs without those in the runs that were on disk at the start.
// It searches these runs while something in them is alive; after that the node
// itself knows what it has seen.
func (a *Archive) notOnDisk(envs []*whisper.Envelope) ([]*whisper.Envelope, error) {
	w := &a.w
	if len(w.recent) == 0 {
		return envs, nil
	}
	w.recent = alive(w.recent, time.Now())
	segments := make([]segment, len(w.recent))
	for i, r := range w.recent {
		segments[i] = r
	}
	fresh := make([]*whisper.Envelope, 0, len(envs))
	for _, e := range envs {
		if _, ok, err := a.find(segments, e.Hash(), a.Last()); err != nil {
			return nil, err
		} else if !ok {
			fresh = append(fresh, e)
		}
	}
	return fresh, nil
}

// alive keeps the runs that hold an envelope that has not expired.
func alive(runs []*diskRun, now time.Time) []*diskRun {
	for len(runs) > 0 && int64(runs[0].maxExpiry) < now.Unix() {
		runs = runs[1:]
	}
	return runs
}

// settle finishes a group whose write returned err.
func (a *Archive) settle(g *group, err error) {
	w := &a.w
	if err == nil {
		a.publish(g)
	} else {
		err = fmt.Errorf("archive: %w", err)
		// The next group is numbered after this one: it is built again.
		w.next.unindex(a.run)
		g.unindex(a.run)
		w.waiting = slices.Concat(w.next.submissions, w.waiting)
		w.next.reset()
		w.resync = true
	}
	a.tell(g.submissions, err)
	g.reset()
}

// publish makes a group that is on disk visible.
func (a *Archive) publish(g *group) {
	a.metrics.Duplicates.Add(float64(g.duplicates))
	if len(g.blocks) == 0 {
		return
	}
	a.stamp(g.partition, int64(g.bytes))
	end := g.blocks[len(g.blocks)-1]
	last := end.first + uint64(len(end.envs)) - 1
	records := last - g.blocks[0].first + 1
	// The tail first: a follower that sees the new last sequence finds it there.
	a.tail.push(g.blocks, func() { a.last.Store(last) })
	a.metrics.Archived.Add(float64(records))
	a.metrics.Bytes.Add(float64(g.bytes))
	a.metrics.CommitSeconds.Observe(time.Since(g.started).Seconds())
	if a.w.unseen += int64(g.bytes); a.maxBytes() > 0 && a.w.unseen > a.maxBytes()/64 {
		a.w.unseen = 0
		engine.Signal(a.kick)
	}
}

// stamp notes that p has just received something.
func (a *Archive) stamp(p *partition, bytes int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p.received = a.now()
	p.bytes += bytes
	if p.started.IsZero() {
		p.started = p.received
	}
}

// tell ends submissions: their room is free again, and their callers learn the result.
func (a *Archive) tell(submissions []engine.Submission, err error) {
	envelopes := 0
	for _, s := range submissions {
		envelopes += len(s.Envelopes)
	}
	if err != nil && envelopes > 0 {
		a.metrics.Failed.Add(float64(envelopes))
		a.log.Error("envelopes not archived", "envelopes", envelopes, "err", err)
	}
	a.queue.End(submissions, err)
}

// upkeepDue reports whether the next group must not be begun before upkeep.
func (a *Archive) upkeepDue() bool {
	n := a.run.count()
	return a.w.resync || n >= maxRunRecords || !a.flushing() && (n >= a.o.runRecords || a.rollDue())
}

// upkeep does, between two groups, what requires the index and the disk to agree.
func (a *Archive) upkeep() error {
	if err := a.resync(); err != nil {
		return err
	}
	if a.rollDue() {
		if err := a.roll(); err != nil {
			return fmt.Errorf("new partition: %w: %w", durable.ErrWrite, err)
		}
	}
	if a.run.count() >= a.o.runRecords {
		a.freeze()
	}
	if a.run.count() >= maxRunRecords {
		return fmt.Errorf("the index cannot be written: %w", durable.ErrWrite)
	}
	return nil
}

// resync finds out the result of a failed write, which is unknown. A database
// that turns out to be damaged is set aside and another one begun.
func (a *Archive) resync() error {
	if !a.w.resync {
		return nil
	}
	p := a.active()
	err := p.write(new(durable.Batch)) // reopens the database
	if err == nil {
		_, before := a.run.bounds()
		if err = p.readInto(a.run); err == nil {
			_, last := a.run.bounds()
			if last > before {
				a.log.Warn("envelopes of a failed write are on disk after all", "envelopes", last-before)
				a.stamp(p, 0)
			}
			a.last.Store(last) // first: a follower sent to the disk reads up to it
			a.tail.reset(last)
			a.w.resync = false
			return nil
		}
	}
	if !errors.Is(err, durable.ErrCorrupted) {
		return err
	}
	if qerr := a.replaceActive(err); qerr != nil {
		return errors.Join(err, qerr)
	}
	a.w.resync = false
	return nil
}

// active returns the partition that is written to.
func (a *Archive) active() *partition {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.parts[len(a.parts)-1]
}
