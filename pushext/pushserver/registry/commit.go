package registry

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"whisperpush/durable"
	"whisperpush/pushext/pushserver/registration"
)

// Changes of registrations are decided one at a time, because two of them may claim one
// address, and written several at a time, because an fsync takes as long for one as for
// many. A change is decided on what the disk will hold when all changes before it are
// written. Changes that are decided during a write make a group, which is written next,
// in one synced batch; each of them returns when that is on disk. If the write fails,
// everything decided on top of it fails too, and the counts are as before. The disk may
// have the group all the same, which shows when the database is opened again: that is
// found out before the next change is decided.

// written is a value that is not on disk yet.
type written struct {
	value   []byte
	deleted bool
}

// overlay is what is to be written, by key.
type overlay map[string]written

// group is what is written together.
type group struct {
	writes overlay
	edits  []edit
	counts []func(sign int) // what it counts: 1 counts it, -1 takes that back
	after  []func()         // once it is on disk, in order

	done chan struct{} // closed when it is over
	err  error         // of the write; to be read after that
}

func newGroup() *group { return &group{writes: make(overlay), done: make(chan struct{})} }

// decision is a change while it is decided, with registry.mu held. It reads what
// the changes before it have decided.
type decision struct {
	reader
	writes overlay
	edits  []edit
	counts []func(sign int)
	after  []func()
}

// edit replaces a record: old is nil for a new one, next for one that is removed.
type edit struct {
	old, next *Record
	reason    string // of a removal
}

// apply decides a change, and returns when it is on disk and memory agrees with it. If
// decide returns an error, nothing has changed.
func (r *Registry) apply(decide func(*decision) error) error {
	g, err := r.stage(decide)
	if g == nil || err != nil {
		return err
	}
	select {
	case <-g.done:
		return g.err
	case r.turn <- struct{}{}:
	}
	defer func() { <-r.turn }()
	r.writeGroup(g)
	return g.err
}

// stage adds a change to the group that is written next; nil if it changes nothing.
func (r *Registry) stage(decide func(*decision) error) (*group, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.doubt != nil {
		if err := r.resolve(); err != nil {
			return nil, err
		}
	}
	c := &decision{writes: make(overlay)}
	c.reader = reader{r, []overlay{c.writes, r.open.writes}}
	if r.writing != nil {
		c.layers = append(c.layers, r.writing.writes)
	}
	decided := false
	defer func() {
		if !decided {
			takeBack(c.counts)
		}
	}()
	if err := decide(c); err != nil {
		return nil, err
	}
	decided = true
	if len(c.writes) == 0 {
		return nil, nil
	}
	g := r.open
	maps.Copy(g.writes, c.writes)
	g.edits = append(g.edits, c.edits...)
	g.after = append(g.after, c.after...)
	g.counts = append(g.counts, c.counts...)
	return g, nil
}

// counting counts something now, and takes it back if the change is not made.
func (c *decision) counting(f func(sign int)) {
	f(1)
	c.counts = append(c.counts, f)
}

func takeBack(counts []func(sign int)) {
	for _, f := range slices.Backward(counts) {
		f(-1)
	}
}

// writeGroup writes the open group if that is g. The caller has the turn.
func (r *Registry) writeGroup(g *group) {
	r.mu.Lock()
	if g != r.open {
		r.mu.Unlock()
		return // written with others meanwhile, or failed with them
	}
	r.writing, r.open = g, newGroup()
	var b durable.Batch
	for key, w := range g.writes {
		if w.deleted {
			b.Delete([]byte(key))
		} else {
			b.Put([]byte(key), w.value)
		}
	}
	if r.saved {
		b.Delete(KeySnapshot)
	}
	r.mu.Unlock()

	err := r.store.Write(&b)
	r.recent.follow(g.edits, err == nil)

	r.mu.Lock()
	defer r.mu.Unlock()
	r.writing = nil
	if err != nil {
		r.m.writeFailures.Inc()
		r.doubt = g
		err = fmt.Errorf("write a registration: %w", err)
		takeBack(r.open.counts)
		takeBack(g.counts)
		r.open.end(err)
		r.open = newGroup()
		g.end(err)
		return
	}
	r.onDisk(g)
	g.end(nil)
}

// onDisk follows a write. The first change after a snapshot ends the snapshot. The caller
// holds mu.
func (r *Registry) onDisk(g *group) {
	if r.saved {
		r.saved = false
		r.removeSnapshot()
	}
	for _, f := range g.after {
		f()
	}
	r.gauge()
}

// resolve finds out whether a group whose write failed is on disk. The caller holds mu.
func (r *Registry) resolve() error {
	// After a failure the database is opened again by the next write, and then
	// shows what it has.
	if err := r.store.Write(new(durable.Batch)); err != nil {
		return fmt.Errorf("open the registrations again after a failed write: %w", err)
	}
	for key, w := range r.doubt.writes {
		value, err := r.store.Get([]byte(key))
		switch {
		case errors.Is(err, durable.ErrNotFound) && w.deleted, err == nil && !w.deleted && bytes.Equal(value, w.value):
		case err == nil, errors.Is(err, durable.ErrNotFound):
			r.doubt = nil // it is written as a whole or not at all
			return nil
		default:
			return fmt.Errorf("read registrations after a failed write: %w", err)
		}
	}
	g := r.doubt
	r.doubt = nil
	for _, f := range g.counts {
		f(1)
	}
	r.onDisk(g)
	return nil
}

func (g *group) end(err error) {
	g.err = err
	close(g.done)
}

func (c *decision) set(key, value []byte) { c.writes[string(key)] = written{value: value} }
func (c *decision) delete(key []byte)     { c.writes[string(key)] = written{deleted: true} }

// put edits a record in the change's writes, in the counts and, once it is on disk, in
// the index.
func (c *decision) put(e edit) {
	if e.old != nil && e.next != nil {
		e.next.follow(e.old, time.Now())
		if e.next.heard == 0 && e.next.Live() {
			e.next.heard = e.old.heard
		}
	}
	var old, next map[string][]byte
	if e.old != nil {
		old = c.keys(e.old)
		for _, address := range e.old.filed {
			old[string(addressKey(address, e.old.ID))] = nil
		}
	}
	if e.next != nil {
		next = c.keys(e.next)
	}
	for key := range old {
		if _, stays := next[key]; !stays {
			c.delete([]byte(key))
		}
	}
	for key, value := range next {
		c.set([]byte(key), value)
	}
	if e.old != nil && e.old.Live() && (e.next == nil || !e.next.Live()) {
		c.delete(c.ends.Record(e.old.ID))
	}
	if e.old != nil && e.old.Chain != 0 && (e.next == nil || e.next.Chain != e.old.Chain) {
		c.delete(registration.ChainKey(e.old.ID, e.old.Chain))
	}
	if e.next == nil {
		c.delete(idKey(PrefixRecord, e.old.ID))
		c.delete(idKey(PrefixListening, e.old.ID))
	} else {
		key := idKey(PrefixRecord, e.next.ID)
		c.set(key, c.store.Seal(key, e.next.encode()))
		key = idKey(PrefixListening, e.next.ID)
		c.set(key, c.store.Seal(key, e.next.encodeListening()))
	}
	c.edits = append(c.edits, e)
	c.after = append(c.after, func() { c.settle(e) })
	c.counted(e.old, -1)
	c.counted(e.next, 1)
}

// counted counts a record if n is 1, and takes it out of the counts if n is -1; nil is no
// record.
func (c *decision) counted(rec *Record, n int) {
	if rec == nil {
		return
	}
	c.counting(func(sign int) {
		n := sign * n
		c.count[rec.class()] += n
		c.channels += n * len(rec.Channels)
		if have, known := c.sources.Peek(rec.source); known && rec.Live() {
			c.sources.Add(rec.source, holding{have.registrations + n, have.channels + n*rec.provenChannels()})
		}
		if rec.class() != classFresh {
			return
		}
		if n > 0 {
			c.newcomers.add(rec.newcomer())
		} else {
			c.newcomers.remove(rec.ID)
		}
	})
}

// settle brings the index up to date with an edit that is on disk, and tells Ends. The
// caller holds mu.
func (r *Registry) settle(e edit) {
	old, next := e.old, e.next
	if next != nil && next.Listens() {
		r.index.Set(next.ID, next.Expires, next.Channels)
	} else if old != nil {
		r.index.Remove(old.ID)
	}
	switch {
	case old == nil || !old.Live():
	case next == nil:
		r.ends.Gone(old.ID, e.reason)
	case !next.Live():
		r.ends.Gone(old.ID, next.Reason)
	case next.State == registration.Dead && old.State != registration.Dead:
		r.ends.Died(old.ID, next.Reason)
	}
}

// overlaid lists what layers have under a prefix, by key; the first layer that
// has a key counts.
func overlaid(layers []overlay, prefix []byte) (keys []string, of overlay) {
	of = make(overlay)
	for _, layer := range layers {
		for key, w := range layer {
			if _, known := of[key]; !known && strings.HasPrefix(key, string(prefix)) {
				of[key] = w
				keys = append(keys, key)
			}
		}
	}
	slices.Sort(keys)
	return keys, of
}
