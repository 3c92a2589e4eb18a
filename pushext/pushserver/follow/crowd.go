package follow

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/outbox"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

const (
	// crowdSize is how many registrations an envelope may wake in the order of the
	// log. A topic with more is a crowd. It is matched beside the log, so that no
	// listener of another topic waits for it.
	crowdSize = 256
	// crowdChunk is about how many matches of a crowd are recorded at a time.
	crowdChunk = 1024
	// crowdEvery is the shortest time between two rounds through a crowd:
	// however much is posted there, it costs one round a second.
	crowdEvery = time.Second
	// crowdBacklog is how many envelopes of a crowd wait for the next round.
	// A wake-up names no more; if there were earlier ones, it says that
	// there are more.
	crowdBacklog = pushwire.MaxHashes
)

// crowds are the topics that very many registrations listen to and on which
// something was archived lately. In rounds, each topic in its turn, the
// envelopes archived meanwhile are given to the outbox for every registration.
// The zero value is ready. The durable cursor stays before everything that
// waits here, so that a crash loses none of it.
type crowds struct {
	mu    sync.Mutex // guards the following, and the crowds
	on    map[whisper.Topic]*crowd
	turns []*crowd
	wake  chan struct{} // capacity 1: something came
}

// crowd is one such topic.
type crowd struct {
	topic   whisper.Topic
	entries []pushext.Entry // waiting, oldest first, at most crowdBacklog
	left    uint32          // how many before them were dropped
	oldest  uint64          // first sequence that is not matched yet, 0 = nothing waits
	newest  uint64          // sequence of the latest entry
	due     time.Time       // of the next round
}

// add takes an entry if its topic is already a crowd, or if is says that it is one now.
func (c *crowds) add(e pushext.Entry, is bool, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	x := c.on[e.Topic]
	if x == nil {
		if !is {
			return false
		}
		if c.on == nil {
			c.on = make(map[whisper.Topic]*crowd)
		}
		x = &crowd{topic: e.Topic, due: now}
		c.on[e.Topic] = x
		c.turns = append(c.turns, x)
	}
	if e.Seq <= x.newest {
		return true // the log was read again
	}
	x.newest = e.Seq
	if x.oldest == 0 {
		x.oldest = e.Seq
	}
	if len(x.entries) == crowdBacklog {
		x.entries = append(x.entries[:0], x.entries[1:]...)
		x.left++
	}
	x.entries = append(x.entries, e)
	select {
	case c.woken() <- struct{}{}:
	default:
	}
	return true
}

// has reports whether a topic is a crowd.
func (c *crowds) has(t whisper.Topic) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.on[t] != nil
}

func (c *crowds) woken() chan struct{} {
	if c.wake == nil {
		c.wake = make(chan struct{}, 1)
	}
	return c.wake
}

// limit is the cursor up to which matching is complete, if the log was read
// up to read.
func (c *crowds) limit(read uint64) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, x := range c.turns {
		if x.oldest > 0 {
			read = min(read, x.oldest-1)
		}
	}
	return read
}

// round is what the registrations of one crowd are to be told.
type round struct {
	*crowd
	entries []pushext.Entry
	left    uint32
}

// next waits for a round that is due and returns it, or nil if ctx ends first.
func (c *crowds) next(ctx context.Context) *round {
	for {
		now := time.Now()
		c.mu.Lock()
		wake := c.woken()
		pause := time.Hour
		for i := 0; i < len(c.turns); i++ {
			x := c.turns[i]
			wait := x.due.Sub(now)
			switch {
			case wait > 0:
				pause = min(pause, wait)
				continue
			case len(x.entries) > 0:
				c.turns = append(append(c.turns[:i], c.turns[i+1:]...), x) // next time the others come first
				r := &round{crowd: x, entries: x.entries, left: x.left}
				x.entries, x.left, x.due = nil, 0, now.Add(crowdEvery)
				c.mu.Unlock()
				return r
			}
			delete(c.on, x.topic) // quiet for long enough
			c.turns = append(c.turns[:i], c.turns[i+1:]...)
			i--
		}
		c.mu.Unlock()
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-wake:
		case <-timer.C:
		}
		timer.Stop()
		if ctx.Err() != nil {
			return nil
		}
	}
}

// done notes that a round is recorded.
func (c *crowds) done(r *round) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r.oldest = 0
	if len(r.crowd.entries) > 0 {
		r.oldest = r.crowd.entries[0].Seq // the dropped ones are counted in the next round
	}
}

// fanOut goes through the crowds until ctx ends.
func (f *Follower) fanOut(ctx context.Context) {
	for r := f.crowds.next(ctx); r != nil; r = f.crowds.next(ctx) {
		var ids []registration.ID
		f.who.Match(r.topic, time.Now(), func(id registration.ID) { ids = append(ids, id) })
		ids, err := f.capped(ctx, ids, r.matches())
		if err != nil {
			return
		}
		var chunk []outbox.Match
		for i, id := range ids {
			for j, e := range r.entries {
				m := outbox.Match{ID: id, Hash: e.Hash, At: e.Received, Seq: e.Seq, Crowd: true, Quiet: e.Quiet}
				if j == 0 {
					m.Left = r.left
				}
				chunk = append(chunk, m)
			}
			if len(chunk) >= crowdChunk || i == len(ids)-1 {
				if !f.give(ctx, chunk) {
					return
				}
				chunk = chunk[:0]
			}
		}
		f.crowds.done(r)
		f.advance(ctx)
	}
}

// matches is how many envelopes of the round are to wake each registration, if they
// may.
func (r *round) matches() int {
	n := int(r.left)
	for _, e := range r.entries {
		if !e.Quiet {
			n++
		}
	}
	return n
}

// capped limits the registrations that one envelope wakes. The ones left out are
// drawn by lot, so that they are not always the same. It fails only with ctx's
// error.
func (f *Follower) capped(ctx context.Context, ids []registration.ID, matches int) ([]registration.ID, error) {
	limit := int(f.limit.Load())
	if limit == 0 || len(ids) <= limit {
		return ids, nil
	}
	rand.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	err := f.persist(ctx, "note whom a crowded topic leaves out", func() error { return f.box.LeftOut(ids[limit:], matches) })
	return ids[:limit], err
}

// give records matches of a crowd. It retries until it succeeds or ctx ends.
func (f *Follower) give(ctx context.Context, chunk []outbox.Match) bool {
	return f.persist(ctx, "record the matches of a crowded topic", func() error { return f.box.Match(ctx, chunk, 0, time.Now()) }) == nil
}

// persist retries do until it succeeds or ctx ends.
func (f *Follower) persist(ctx context.Context, what string, do func() error) error {
	for failed := 1; ; failed++ {
		err := do()
		if err == nil || ctx.Err() != nil {
			return err
		}
		f.log.Error("cannot "+what+"; trying again", "err", err)
		wait := time.NewTimer(time.Until(followBackoff.Next(time.Now(), failed, rand.Float64())))
		select {
		case <-ctx.Done():
		case <-wait.C:
		}
		wait.Stop()
	}
}

// advance moves the durable cursor up to what has been matched.
func (f *Follower) advance(ctx context.Context) {
	_ = f.box.Match(ctx, nil, f.crowds.limit(f.read.Load()), time.Now()) // on failure, the next entry does it
}
