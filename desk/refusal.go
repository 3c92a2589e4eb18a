package desk

import (
	"container/list"
	"context"
	"time"

	"golang.org/x/time/rate"
)

// Refusals are sent on a best-effort basis: telling a stranger anything takes work
// and waits for the stranger.
const (
	// refusalsPerSecond and refusalsPerSource are how many are sent a second, in all
	// and to one group. At about 0.5 ms each they take a twentieth of a processor.
	refusalsPerSecond = 100
	refusalsPerSource = 10
	// maxRefusals is how many may wait to be sent, and refusalsAtOnce how many of
	// those may be for one group. A peer has at most one.
	maxRefusals    = 64
	refusalsAtOnce = 4
	// refusers is how many are sent at a time.
	refusers = 4
	// refusalTimeout is the longest time that sending one may take.
	refusalTimeout = 2 * time.Second
)

// refusal is a request that is not served, and why.
type refusal struct {
	peer  *peer
	group *group // of the peer when it was refused
	ask   any
	why   *Busy
}

// refusals are the ones waiting to be sent.
type refusals struct {
	bucket *rate.Limiter
	queue  list.List // of *refusal
	busy   int       // goroutines that send
}

func newRefusals() refusals {
	return refusals{bucket: rate.NewLimiter(refusalsPerSecond, maxRefusals)}
}

// turnAway queues the refusal of a request, to be sent to its peer. It returns the
// refusal if that would exceed a limit.
func (r *room) turnAway(f *refusal, now time.Time) *refusal {
	p, g, all := f.peer, f.peer.group, &r.refusals
	if !r.open || p.slow || p.telling || g.telling >= refusalsAtOnce || all.queue.Len() >= maxRefusals ||
		!g.told.AllowN(now, 1) || !all.bucket.AllowN(now, 1) {
		return f
	}
	f.group = g
	g.telling++
	r.change(p, func() { p.telling = true })
	all.queue.PushBack(f)
	if all.busy < refusers {
		all.busy++
		ctx := r.ctx
		r.wg.Go(func() { r.tell(ctx) })
	}
	return nil
}

// tell sends refusals until none is left.
func (r *room) tell(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := &r.refusals
	for all.queue.Len() > 0 && ctx.Err() == nil {
		f := all.queue.Remove(all.queue.Front()).(*refusal)
		r.mu.Unlock()
		var err error
		r.guard(func() {
			ctx, cancel := context.WithTimeout(ctx, refusalTimeout)
			defer cancel()
			err = r.refuse(ctx, f.peer.id, f.ask, f.why)
		})
		r.mu.Lock()
		f.group.telling--
		f.peer.slow = f.peer.slow || err != nil
		r.change(f.peer, func() { f.peer.telling = false })
	}
	all.busy--
}
