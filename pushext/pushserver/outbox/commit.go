package outbox

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"time"

	"whisperpush/durable"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/spacing"
)

// Run writes what changed until ctx ends, and then once more, with the
// reserved but unused sequence numbers given back.
func (o *Outbox) Run(ctx context.Context) {
	delay := time.NewTimer(time.Hour)
	delay.Stop()
	defer delay.Stop()
	soon, later := o.soon, o.later
	for {
		select {
		case <-ctx.Done():
			o.finish()
			return
		case <-soon:
			soon, later = nil, nil // further changes join the same commit
			delay.Reset(commitDelay)
			continue
		case <-later:
			later = nil
			delay.Reset(cursorDelay)
			continue
		case <-delay.C:
		case <-o.now:
			delay.Stop()
		}
		soon, later = o.soon, o.later
		o.commit(ctx)
	}
}

// commit writes everything that changed in one synced batch, again and again
// until it succeeds or ctx ends, then releases everyone waiting for it.
func (o *Outbox) commit(ctx context.Context) {
	batch, c := o.collect(seqBlock)
	if batch.Len() == 0 {
		o.settle(c)
		return
	}
	start := time.Now()
	for failed := 1; ; failed++ {
		err := o.store.Write(batch)
		if err == nil {
			break
		}
		o.m.writeFailures.Inc()
		if failed == 1 {
			o.log.Error("cannot write the outbox; wake-ups go on and are repeated if the program ends before it can", "err", err)
		}
		pause := time.NewTimer(time.Until(diskBackoff.Next(time.Now(), failed, rand.Float64())))
		select {
		case <-ctx.Done():
			pause.Stop()
			o.restore(c)
			return
		case <-pause.C:
		}
	}
	o.m.commits.Observe(time.Since(start).Seconds())
	o.settle(c)
}

// Synced returns when everything that changed before the call is on disk, or ctx's error
// if that ends first.
func (o *Outbox) Synced(ctx context.Context) error {
	o.mu.Lock()
	wanted := o.collected
	if len(o.dirty) > 0 || len(o.tellings.fresh) > 0 {
		wanted++
	}
	for o.settled < wanted {
		committed := o.committed
		o.mu.Unlock()
		signal(o.now)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-committed:
		}
		o.mu.Lock()
	}
	o.mu.Unlock()
	return nil
}

// diskBackoff spaces the attempts to write while the disk fails.
var diskBackoff = spacing.Backoff{Base: 100 * time.Millisecond, Cap: 5 * time.Second}

// maxKeptBatch is how many records a batch may hold for its memory to be kept for the
// next.
const maxKeptBatch = 4096

// change is what one batch holds.
type change struct {
	number      uint64
	devices     []*device
	reserved    []uint64   // of each device, once the batch is written
	started     []uint64   // versions of chains whose starts the batch deletes
	ends        []chainEnd // of their ledgers
	breaks      bool
	at          uint64 // the cursor, written with this batch or before
	removed     []registration.ID
	cursor      bool
	uncommitted int
	twins       []twin
	fresh, told []uint64 // of tellings
}

// collect encodes what changed. Each device gets block sequence numbers.
func (o *Outbox) collect(block uint64) (*durable.Batch, change) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.batch.Len() > maxKeptBatch {
		o.batch = durable.Batch{}
	}
	b := &o.batch
	b.Reset() // what it held is written, or given up
	o.collected++
	c := change{
		number:  o.collected,
		devices: o.dirty, reserved: make([]uint64, len(o.dirty)), started: make([]uint64, len(o.dirty)),
		ends: make([]chainEnd, len(o.dirty)), breaks: o.breaksDirty, at: o.cursor,
		removed: o.removed, cursor: o.cursorDirty, uncommitted: o.uncommitted,
	}
	for i, d := range c.devices {
		d.dirty, d.writing = false, true
		if d.ledger.unsaved {
			d.ledger.unsaved, d.ledger.saving = false, true
		}
		c.ends[i] = d.ledger.end
		c.reserved[i] = d.used + block
		if !d.forgotten {
			d.unborn = false
			o.record = d.appendRecord(o.record[:0], c.reserved[i], o.sealChain(d, c.reserved[i]))
			b.Put(Key(d.id), o.record)
			o.known.add(d.id)
			if d.chain.start != 0 {
				b.Delete(registration.ChainKey(d.id, d.chain.start))
				c.started[i] = d.chain.start
			}
		}
	}
	for _, id := range c.removed {
		b.Delete(Key(id))
	}
	if c.cursor {
		b.Put(KeyCursor, binary.BigEndian.AppendUint64(nil, o.cursor))
		c.twins = o.twins.collect(b, o.cursor, time.Now())
		if len(o.ahead) > 0 && !o.ahead.before(o.cursor) {
			b.Delete(KeyAhead)
			o.ahead = nil // also if this is not written: what is behind the cursor is of no use
		}
	}
	c.fresh, c.told = o.tellings.collect(b)
	if c.breaks || b.Len() > 0 {
		b.Put(keyBreaks, breaksRecord(o.breaks, time.Now()))
	}
	o.dirty, o.removed, o.cursorDirty, o.breaksDirty = nil, nil, false, false
	return b, c
}

// settle follows a successful write.
func (o *Outbox) settle(c change) {
	var rings []registration.ID
	o.mu.Lock()
	for i, d := range c.devices {
		d.writing = false
		d.reserved = c.reserved[i]
		if d.ledger.saving {
			d.ledger.saving = false
			d.ledger.firmAt(c.ends[i], c.at)
		}
		if d.chain.start == c.started[i] {
			d.chain.start = 0
		}
		if d.waiting {
			d.waiting = false
			rings = append(rings, d.id)
		}
	}
	o.settled = c.number
	o.firmCursor = c.at
	o.uncommitted -= c.uncommitted
	o.twins.settle(c.twins)
	close(o.committed)
	o.committed = make(chan struct{})
	o.m.cached.Set(float64(len(o.devices)))
	o.mu.Unlock()
	for _, id := range rings {
		o.bell.Ring(id, true) // it was queued in its turn before
	}
}

// restore follows a write that was given up.
func (o *Outbox) restore(c change) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, d := range c.devices {
		d.writing = false
		if d.ledger.saving {
			d.ledger.saving, d.ledger.unsaved = false, true
		}
		o.touch(d)
	}
	o.breaksDirty = o.breaksDirty || c.breaks
	o.removed = append(c.removed, o.removed...)
	o.cursorDirty = o.cursorDirty || c.cursor
	o.twins.restore(c.twins)
	o.tellings.restore(c.fresh, c.told)
}

// finish writes the rest, gives back the sequence numbers that were
// reserved and not used, so that a clean stop leaves no gap, and says that the run is over.
func (o *Outbox) finish() {
	o.mu.Lock()
	for _, d := range o.devices {
		if d.reserved > d.used && !d.unborn {
			o.touch(d)
		}
	}
	o.mu.Unlock()
	batch, c := o.collect(0)
	batch.Put(keyRun, runRecord(o.crashes, 0))
	batch.Put(keyBreaks, breaksRecord(o.Breaks(), time.Now()))
	if err := o.store.Write(batch); err != nil {
		o.log.Error("cannot write the outbox at the end; the last wake-ups will be repeated", "err", err)
		o.restore(c)
		return
	}
	o.settle(c)
}
