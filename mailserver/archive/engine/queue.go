// Package engine has what all engines of an archive do in the same way, whatever they
// keep envelopes in: the queue in front of the writer, the time that a partition covers,
// and the metrics. It knows neither disk nor database.
package engine

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/semaphore"

	"whisperpush/whisper"
)

// envelopeOverhead is what an envelope weighs in the queue besides its bytes.
const envelopeOverhead = 256

// Submission is one waiting call of an archive's Archive.
type Submission struct {
	Envelopes []*whisper.Envelope
	Weight    int64 // bytes of the queue, which End frees
	Done      func(error)
}

// Queue holds submissions until the writer takes them. It may be used concurrently.
type Queue struct {
	bytes  int64
	room   *semaphore.Weighted
	closed error         // the error for submissions after Stop
	wake   chan struct{} // holds one element: there may be something to take, or the queue stops

	mu       sync.Mutex // guards the following fields
	waiting  []Submission
	stopping bool
}

// NewQueue returns a queue for that many bytes. Submissions after Stop end with closed.
func NewQueue(bytes int64, closed error) *Queue {
	return &Queue{bytes: bytes, room: semaphore.NewWeighted(bytes), closed: closed, wake: make(chan struct{}, 1)}
}

// Offer queues envelopes, and blocks while the queue is full. done is called exactly
// once: by End, or at once if ctx ends or the queue was stopped.
func (q *Queue) Offer(ctx context.Context, envs []*whisper.Envelope, done func(error)) {
	s := Submission{Envelopes: envs, Done: done}
	for _, e := range envs {
		s.Weight += int64(len(e.Raw())) + envelopeOverhead
	}
	s.Weight = min(s.Weight, q.bytes)
	if err := q.room.Acquire(ctx, s.Weight); err != nil {
		done(fmt.Errorf("archive queue is full: %w", err))
		return
	}
	if !q.put(s) {
		q.room.Release(s.Weight)
		done(q.closed)
	}
}

// Nudge gives the writer an empty submission, so that it does what is due between two
// groups.
func (q *Queue) Nudge() { q.put(Submission{Done: func(error) {}}) }

// put hands s to the writer, unless the queue was stopped.
func (q *Queue) put(s Submission) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.stopping {
		return false
	}
	q.waiting = append(q.waiting, s)
	Signal(q.wake)
	return true
}

// Take takes submissions from the front, in order, until fits refuses one; a nil fits
// takes all. stopping says that no more will come.
func (q *Queue) Take(fits func(Submission) bool) (taken []Submission, stopping bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := len(q.waiting)
	if fits != nil {
		for n = 0; n < len(q.waiting) && fits(q.waiting[n]); n++ {
		}
	}
	taken, q.waiting = q.waiting[:n:n], q.waiting[n:]
	if len(q.waiting) == 0 {
		q.waiting = nil
	}
	return taken, q.stopping
}

// Wake receives when there may be something to take, or the queue was stopped.
func (q *Queue) Wake() <-chan struct{} { return q.wake }

// Stop refuses submissions from now on. It reports whether the queue was stopped before.
func (q *Queue) Stop() (before bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	before, q.stopping = q.stopping, true
	Signal(q.wake)
	return before
}

// End tells taken submissions their result, and frees their room.
func (q *Queue) End(submissions []Submission, err error) {
	weight := int64(0)
	for _, s := range submissions {
		weight += s.Weight
		s.Done(err)
	}
	q.room.Release(weight)
}

// Signal puts a token into a channel that holds one.
func Signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
