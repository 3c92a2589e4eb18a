package mailserver

import (
	"errors"
	"fmt"
	"sort"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/syndtr/goleveldb/leveldb"

	"whisperpush/durable"
	"whisperpush/whisper"
)

const (
	// groupBytes is how much is committed with one fsync at most.
	groupBytes = 2 << 20
	// envelopeOverhead is what an envelope weighs in the queue besides its bytes.
	envelopeOverhead = 256
	// tailBytes is how much of the end of the log stays in memory, for followers.
	tailBytes = 8 << 20
	// duplicateRuns is how many runs that were on disk at the start are searched for
	// envelopes that come again because a restart made the node forget them.
	duplicateRuns = 4
)

// writerState belongs to the writer goroutine.
type writerState struct {
	batch   leveldb.Batch
	blocks  []newBlock
	inGroup map[common.Hash]struct{}
	recent  []*diskRun // may hold envelopes that are still alive, from before the start
	resync  bool       // a write failed: what of it is on disk must be read first
	unseen  int64      // bytes written since the size was looked at
}

// newBlock is a block that is being committed.
type newBlock struct {
	first uint64
	envs  []*whisper.Envelope
	value []byte
}

// writer commits the queue in groups until it is empty and the archive is closing.
func (a *Archive) writer() {
	defer a.cancel()
	a.w.inGroup = make(map[common.Hash]struct{})
	for {
		a.queueMu.Lock()
		group, stopping := a.queue, a.stopping
		a.queue = nil
		a.queueMu.Unlock()
		if len(group) == 0 {
			if stopping {
				return
			}
			<-a.wake
			continue
		}
		for len(group) > 0 {
			n, weight := 0, int64(0)
			for n < len(group) && (n == 0 || weight+group[n].weight <= groupBytes) {
				weight += group[n].weight
				n++
			}
			err := a.commit(group[:n])
			for _, s := range group[:n] {
				s.done(err)
			}
			a.room.Release(weight)
			group = group[n:]
		}
	}
}

// commit writes one group: one batch, one fsync.
func (a *Archive) commit(group []submission) (err error) {
	envelopes := 0
	for _, s := range group {
		envelopes += len(s.envs)
	}
	start := time.Now()
	defer func() {
		if err != nil {
			a.metrics.failed.Add(float64(envelopes))
			a.log.Error("envelopes not archived", "envelopes", envelopes, "err", err)
		} else if envelopes > 0 {
			a.metrics.commitSeconds.Observe(time.Since(start).Seconds())
		}
	}()
	if err := a.resync(); err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	if err := a.rollIfDue(); err != nil {
		return fmt.Errorf("archive: new partition: %w", err)
	}
	if envelopes == 0 {
		return nil
	}
	if a.full.Load() {
		return ErrArchiveFull
	}
	if err := a.makeRoomInIndex(); err != nil {
		return err
	}
	if err := a.build(group); err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	if len(a.w.blocks) == 0 {
		return nil // all of them are archived already
	}
	a.w.batch.Reset()
	bytes := 0
	for _, b := range a.w.blocks {
		a.w.batch.Put(logKey(b.first), b.value)
		bytes += len(b.value)
	}
	p := a.active()
	if err := p.write(&a.w.batch); err != nil {
		a.w.resync = true
		return fmt.Errorf("archive: %w", err)
	}
	records := 0
	for _, b := range a.w.blocks {
		a.run.add(b.first, b.envs)
		records += len(b.envs)
	}
	a.written(p, a.w.blocks, int64(bytes))
	a.metrics.archived.Add(float64(records))
	a.metrics.bytes.Add(float64(bytes))
	if a.w.unseen += int64(bytes); a.o.MaxBytes > 0 && a.w.unseen > a.o.MaxBytes/64 {
		a.w.unseen = 0
		signal(a.kick)
	}
	if a.run.count() >= a.o.runRecords {
		a.freeze()
	}
	return nil
}

// written publishes blocks that are on disk and indexed.
func (a *Archive) written(p *partition, blocks []newBlock, bytes int64) {
	a.stamp(p, bytes)
	end := blocks[len(blocks)-1]
	// The tail first: a follower that sees the new last sequence finds it there.
	a.tail.push(blocks, func() { a.last.Store(end.first + uint64(len(end.envs)) - 1) })
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

// build makes the blocks of a group, without what is archived already.
func (a *Archive) build(group []submission) error {
	a.w.blocks = a.w.blocks[:0]
	clear(a.w.inGroup)
	received := time.Now()
	next := a.last.Load() + 1
	var envs []*whisper.Envelope
	size := 0
	finish := func() {
		if len(envs) > 0 {
			value := make([]byte, 0, size+blockHeader+blockTrailer+len(envs)*(4+5))
			a.w.blocks = append(a.w.blocks, newBlock{next, envs, appendBlock(value, next, received, envs)})
			next += uint64(len(envs))
			envs, size = nil, 0
		}
	}
	a.w.recent = alive(a.w.recent, received)
	duplicates := 0
	for _, s := range group {
		for _, e := range s.envs {
			known, err := a.known(e.Hash())
			if err != nil {
				return err
			}
			if known {
				duplicates++
				continue
			}
			a.w.inGroup[e.Hash()] = struct{}{}
			if n := len(e.Raw()); len(envs) == blockRecords || size+n > blockBytes {
				finish()
			}
			if envs == nil {
				envs = make([]*whisper.Envelope, 0, 32)
			}
			envs = append(envs, e)
			size += len(e.Raw())
		}
	}
	finish()
	a.metrics.duplicates.Add(float64(duplicates))
	return nil
}

// known reports whether an envelope is archived or in the group being built. It
// looks at what is indexed in memory, and at what was on disk at the start while
// it is alive: beyond that the node itself knows what it has seen.
func (a *Archive) known(h common.Hash) (bool, error) {
	if _, ok := a.w.inGroup[h]; ok || a.run.has(h) {
		return true, nil
	}
	// Only the writer sets frozen; the flusher clears it.
	a.mu.RLock()
	frozen := a.frozen
	a.mu.RUnlock()
	if frozen != nil && frozen.has(h) {
		return true, nil
	}
	if len(a.w.recent) == 0 {
		return false, nil
	}
	segments := make([]segment, len(a.w.recent))
	for i, r := range a.w.recent {
		segments[i] = r
	}
	_, ok, err := a.find(segments, h, a.Last())
	return ok, err
}

// alive keeps the runs that hold an envelope that has not expired.
func alive(runs []*diskRun, now time.Time) []*diskRun {
	for len(runs) > 0 && int64(runs[0].maxExpiry) < now.Unix() {
		runs = runs[1:]
	}
	return runs
}

// resync finds out what became of a write that failed: its outcome is unknown. A
// database that turns out to be damaged is set aside and another one begun.
func (a *Archive) resync() error {
	if !a.w.resync {
		return nil
	}
	p := a.active()
	err := p.write(new(leveldb.Batch)) // reopens the database
	if err == nil {
		_, before := a.run.bounds()
		if err = p.readInto(a.run); err == nil {
			_, last := a.run.bounds()
			if last > before {
				a.log.Warn("envelopes of a failed write are on disk after all", "envelopes", last-before)
				a.stamp(p, 0)
			}
			a.tail.reset(last)
			a.last.Store(last)
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

// makeRoomInIndex waits for the flusher if the index in memory is too large, which
// it is when it cannot be written.
func (a *Archive) makeRoomInIndex() error {
	if a.run.count() < maxRunRecords {
		return nil
	}
	a.freeze()
	if a.run.count() >= maxRunRecords {
		return fmt.Errorf("archive: the index cannot be written: %w", durable.ErrWrite)
	}
	return nil
}

// freeze hands the index in memory to the flusher, if that is not busy.
func (a *Archive) freeze() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.frozen != nil || a.run.count() == 0 {
		return
	}
	a.frozen = a.run
	_, last := a.frozen.bounds()
	a.run = newMemoryRun(a.frozen.part, last+1)
	signal(a.flushMe)
}

// flushRetry is the pause after an index could not be written or a partition not
// be sealed.
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

// freezeLast freezes the index in memory unless all of it is on disk.
func (a *Archive) freezeLast() bool {
	a.mu.RLock()
	first, last := a.run.bounds()
	written := a.run.part.written
	a.mu.RUnlock()
	if last < first || last <= written {
		return false
	}
	a.freeze()
	return true
}

// flush writes one run and puts it in the place of the index in memory.
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
	p.written = h.last
	a.frozen = nil
	a.mu.Unlock()
	a.metrics.flushSeconds.Observe(time.Since(start).Seconds())
	return nil
}

// tail is the end of the log in memory.
type tail struct {
	mu     sync.RWMutex // guards the following fields
	blocks []tailBlock  // ascending, without holes
	next   uint64       // the sequence after the last
	bytes  int
	more   chan struct{} // closed at the next push
	closed bool
}

type tailBlock struct {
	first uint64
	value []byte
}

func (t *tail) init() { t.more = make(chan struct{}) }

// reset forgets everything; last is the newest sequence in the log.
func (t *tail) reset(last uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.blocks, t.bytes, t.next = nil, 0, last+1
	close(t.more)
	t.more = make(chan struct{})
}

// push appends blocks, calls published while no follower looks, and wakes them.
func (t *tail) push(blocks []newBlock, published func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, b := range blocks {
		t.blocks = append(t.blocks, tailBlock{b.first, b.value})
		t.bytes += len(b.value)
		t.next = b.first + uint64(len(b.envs))
	}
	drop := 0
	for t.bytes > tailBytes && drop < len(t.blocks)-1 {
		t.bytes -= len(t.blocks[drop].value)
		t.blocks[drop].value = nil
		drop++
	}
	t.blocks = t.blocks[drop:]
	published()
	close(t.more)
	t.more = make(chan struct{})
}

func (t *tail) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	close(t.more)
	t.more = make(chan struct{})
}

// index returns the position of the last block that begins at seq or before.
func (t *tail) index(seq uint64) int {
	return sort.Search(len(t.blocks), func(i int) bool { return t.blocks[i].first > seq }) - 1
}

// block returns the block that begins with first, or nil.
func (t *tail) block(first uint64) []byte {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if i := t.index(first); i >= 0 && t.blocks[i].first == first {
		return t.blocks[i].value
	}
	return nil
}

// from returns blocks from the one that holds seq on, at most limit bytes of them
// but at least one. ok is false if the tail does not reach back to seq. If there
// are none yet, more is closed when there are.
func (t *tail) from(seq uint64, limit int) (blocks []tailBlock, more <-chan struct{}, ok bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if seq >= t.next {
		return nil, t.more, true
	}
	i := t.index(seq)
	if i < 0 {
		return nil, nil, false
	}
	for n := 0; i < len(t.blocks) && (n == 0 || n+len(t.blocks[i].value) <= limit); i++ {
		blocks = append(blocks, t.blocks[i])
		n += len(t.blocks[i].value)
	}
	return blocks, nil, true
}

func (t *tail) isClosed() bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.closed
}
