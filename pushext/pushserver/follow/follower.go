// Package follow reads an archive's log from a durable cursor on, finds the registrations
// that listen to each envelope, and hands the matches to the outbox. A topic with very many
// listeners is matched beside the log (crowd.go), so that no other listener waits for it.
package follow

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/outbox"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/spacing"
	"whisperpush/whisper"
)

const (
	// maxFanOut bounds the matches given to the outbox at once.
	maxFanOut = 4096
	// catchUpLimit bounds how long a start delays its first wake-up until everything
	// archived before is matched. After a crash that takes milliseconds. If the
	// archive cannot be read, two thirds of PromisedLatency are left for what comes.
	catchUpLimit = 5 * time.Second
)

// followBackoff spaces the attempts while the log or the disk fails.
var followBackoff = spacing.Backoff{Base: 100 * time.Millisecond, Cap: 5 * time.Second}

// Matcher finds the registrations that listen to a topic.
type Matcher interface {
	// Match calls fn, which must not call back, for each registration to be woken.
	Match(t whisper.Topic, now time.Time, fn func(registration.ID))
}

// Follower reads the log from the outbox's cursor on and records the matches.
type Follower struct {
	source pushext.Log
	who    Matcher
	box    *outbox.Outbox
	limit  atomic.Int64 // most registrations of a crowd woken for one envelope, 0 = no bound
	log    *slog.Logger
	m      *metrics

	crowds crowds
	read   atomic.Uint64 // receive sequence up to which the log was read; some of it may still wait in crowds

	batch  []outbox.Match // owned by run
	passed uint64         // sequence up to which gaps were counted; owned by run
}

// Options of a follower. All are required; a nil Registerer registers no
// metrics.
type Options struct {
	Log        pushext.Log
	Matcher    Matcher
	Outbox     *outbox.Outbox
	FanOut     int // most registrations woken for one envelope on a topic with more than crowdSize; 0 is no bound
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// New builds a follower. It does nothing before Run.
func New(o Options) *Follower {
	f := &Follower{source: o.Log, who: o.Matcher, box: o.Outbox, log: o.Logger, m: newMetrics(o.Registerer)}
	f.SetFanOut(o.FanOut)
	return f
}

// SetFanOut changes how many registrations of a crowd an envelope that is matched from now on may wake; 0 is no bound.
func (f *Follower) SetFanOut(limit int) { f.limit.Store(int64(limit)) }

// End is the newest sequence of the log.
func (f *Follower) End() uint64 { return f.source.Last() }

// Begin sets the cursor of a server that never followed the log to the log's
// end. Nobody is to be woken for what was archived before push was switched
// on.
func (f *Follower) Begin() error {
	last := f.source.Last()
	if err := f.box.SetCursor(last); err != nil {
		return err
	}
	f.log.Info("push starts at the end of the archive", "sequence", last)
	return nil
}

// Run follows the log until ctx ends.
func (f *Follower) Run(ctx context.Context) {
	var fans sync.WaitGroup
	fans.Go(func() { f.fanOut(ctx) })
	defer fans.Wait()
	for failed := 0; ctx.Err() == nil; {
		before := f.box.Position()
		err := f.mend()
		if err == nil {
			f.read.Store(f.box.Position())
			f.m.cursor.Set(float64(f.box.Position()))
			err = f.source.Follow(ctx, f.box.Position(), func(entries []pushext.Entry) error { return f.take(ctx, entries) })
		}
		if ctx.Err() != nil {
			return
		}
		if f.box.Position() != before {
			failed = 0
		}
		failed++
		f.log.Error("cannot follow the archive; trying again", "cursor", f.box.Position(), "err", err)
		wait := time.NewTimer(time.Until(followBackoff.Next(time.Now(), failed, rand.Float64())))
		select {
		case <-ctx.Done():
		case <-wait.C:
		}
		wait.Stop()
	}
}

// CatchUp waits, for catchUpLimit at most, until the log is matched up to goal, which was
// its end at the start. It reports whether ctx is still alive. What a crash took from the
// outbox's last moments is then there again, and one wake-up covers all of it: a wake-up
// before that would wake the device twice.
func (f *Follower) CatchUp(ctx context.Context, goal uint64) bool {
	limit := time.NewTimer(catchUpLimit)
	defer limit.Stop()
	for f.box.Position() < goal {
		select {
		case <-ctx.Done():
			return false
		case <-f.box.Moved():
		case <-limit.C:
			f.log.Warn("matching is still behind the archive; waking devices meanwhile, some perhaps once too often",
				"cursor", f.box.Position(), "goal", goal)
			return true
		}
	}
	return ctx.Err() == nil
}

// mend moves a cursor that does not fit the log, because entries after it are
// gone or the log is another one.
func (f *Follower) mend() error {
	cursor, first, last := f.box.Position(), f.source.First(), f.source.Last()
	switch {
	case cursor > last:
		// What the new log holds was archived while the old one was in use, or
		// before this program started; there is no way to tell. Waking everybody
		// for all of it would be worse than waking nobody.
		f.m.gaps.Inc()
		f.passed = 0
		f.log.Error("the archive ends before the place where matching left off: it was replaced; going on at its end", "cursor", cursor, "last", last)
		return f.box.SetCursor(last)
	case first > cursor+1:
		f.gap(cursor, first)
		return f.box.SetCursor(first - 1)
	}
	return nil
}

// gap counts what was lost between two sequences that follow each other in the log.
func (f *Follower) gap(after, before uint64) {
	if before <= f.passed {
		return // it is read again
	}
	f.passed = before
	missed, sure := f.source.Lost(after, before)
	if missed == 0 && sure {
		return
	}
	f.m.gaps.Inc()
	f.m.missed.Add(float64(missed))
	text := "envelopes were dropped from the archive before they were matched; nobody was woken for them"
	if !sure {
		text += ", nor for what else a damaged part of the archive may have held"
	}
	f.log.Error(text, "cursor", after, "next", before, "missed", missed)
}

// take matches entries and hands them to the outbox, a bounded number of
// matches at a time.
func (f *Follower) take(ctx context.Context, entries []pushext.Entry) error {
	now := time.Now()
	cursor := f.read.Load()
	for _, e := range entries {
		if e.Seq <= cursor {
			continue
		}
		if e.Seq > cursor+1 {
			f.box.Skipped()
			f.gap(cursor, e.Seq)
		}
		e.Quiet = e.Quiet || f.box.MatchedBefore(e.Seq)
		before := len(f.batch)
		crowded := f.crowds.has(e.Topic)
		if !crowded {
			f.match(e, now)
		}
		if !e.Quiet && (crowded || len(f.batch) > before) {
			repeated, err := f.box.Repeated(e)
			if err != nil {
				f.batch = f.batch[:0]
				return err
			}
			if repeated {
				f.m.repeated.Inc()
				e.Quiet = true
				for i := range f.batch[before:] {
					f.batch[before+i].Quiet = true
				}
			}
		}
		e.Data = nil // a crowd keeps the entry
		if crowded && !f.crowds.add(e, false, now) {
			f.match(e, now) // it went quiet at this moment
		}
		if len(f.batch)-before > crowdSize {
			f.batch = f.batch[:before]
			f.crowds.add(e, true, now)
		}
		for len(f.batch) >= maxFanOut {
			if err := f.hand(ctx, maxFanOut, cursor, now); err != nil {
				return err
			}
		}
		cursor = e.Seq
	}
	if err := f.hand(ctx, len(f.batch), cursor, now); err != nil {
		return err
	}
	f.read.Store(cursor)
	f.m.followed.Add(float64(len(entries)))
	f.m.cursor.Set(float64(cursor))
	return nil
}

// match adds the matches of an entry to the batch.
func (f *Follower) match(e pushext.Entry, now time.Time) {
	f.who.Match(e.Topic, now, func(id registration.ID) {
		f.batch = append(f.batch, outbox.Match{ID: id, Hash: e.Hash, At: e.Received, Seq: e.Seq, Quiet: e.Quiet})
	})
}

// hand gives the first n matches to the outbox.
func (f *Follower) hand(ctx context.Context, n int, cursor uint64, now time.Time) error {
	if err := f.box.Match(ctx, f.batch[:n], f.crowds.limit(cursor), now); err != nil {
		f.batch = f.batch[:0]
		return fmt.Errorf("record matches: %w", err)
	}
	f.batch = append(f.batch[:0], f.batch[n:]...)
	return nil
}
