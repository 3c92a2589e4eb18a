package desk

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrGivenUp says that a peer took too long to read while too many others did.
var ErrGivenUp = errors.New("the peer does not read")

const (
	// Stall is how long a request may wait for its peer before its turn is lent. A
	// working link takes a packet sooner.
	Stall = 250 * time.Millisecond
	// minStall is Stall while very many peers wait for a turn.
	minStall = 2 * time.Millisecond
)

// Turn is held by a request while it is served. Only the goroutine that serves the
// request may call its methods.
type Turn struct {
	room *room
	peer *peer

	// Guarded by room.mu.
	held  bool
	place *list.Element // in room.lent, while it is lent
	give  context.CancelCauseFunc
	back  chan struct{} // closed when the request has its turn again
}

// Peer returns the peer that sent the request.
func (t *Turn) Peer() ID { return t.peer.id }

// Vouch says that the peer has proved something that not everybody can, under an
// account: it counts as proven for an hour, together with the other peers of the
// account, or of its source if the account is empty.
func (t *Turn) Vouch(account string) {
	r := t.room
	r.mu.Lock()
	defer r.mu.Unlock()
	t.peer.until = time.Now().Add(vouchLife)
	if account == "" {
		r.move(t.peer, groupKey{class: proven, name: string(t.peer.source)})
	} else {
		r.move(t.peer, groupKey{class: proven, account: true, name: account})
	}
	r.begin() // its turn counts for another class now
}

// Lend calls wait, which waits for the peer, and lends the turn to others if that
// takes long. When Lend returns nil, the request has its turn again. When it returns
// an error, the turn may be lost; Take gets it back if there is more to do. The error
// is wait's, and wraps ErrGivenUp if the peer was given up.
func (t *Turn) Lend(ctx context.Context, wait func(context.Context) error) error {
	if err := t.wait(ctx, wait); err != nil {
		return err
	}
	t.Take()
	return nil
}

// wait calls wait and lends the turn meanwhile.
func (t *Turn) wait(ctx context.Context, wait func(context.Context) error) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	began, over := time.Now(), false
	timer := t.room.lendAfter(t, func() bool { return over }, cancel)
	defer func() { // also when wait panics
		timer.Stop()
		cancel(nil)
		r := t.room
		r.mu.Lock()
		defer r.mu.Unlock()
		over = true
		t.peer.slow = time.Since(began) >= Stall || errors.Is(err, ErrGivenUp)
		r.unlend(t)
	}()
	err = wait(ctx)
	if err != nil && context.Cause(ctx) == ErrGivenUp {
		err = fmt.Errorf("%w: %w", ErrGivenUp, err)
	}
	return err
}

// Take waits until the request has its turn again, if it was lost.
func (t *Turn) Take() {
	r := t.room
	r.mu.Lock()
	if t.held {
		r.mu.Unlock()
		return
	}
	t.back = make(chan struct{})
	r.returning.PushBack(t)
	r.begin()
	r.mu.Unlock()
	<-t.back // every turn is given back eventually
}

// lendAfter lends a turn once its request has waited for long, unless the wait is
// over, and at once if the peer kept its last request waiting. The more peers want a
// turn, the sooner it is lent, so that all have had one after about a Stall.
func (r *room) lendAfter(t *Turn, over func() bool, give context.CancelCauseFunc) *time.Timer {
	r.mu.Lock()
	defer r.mu.Unlock()
	turns := r.limits.Turns
	patience := max(Stall*time.Duration(turns)/time.Duration(max(turns, r.asking)), minStall)
	if t.peer.slow {
		r.lendTurn(t, give)
	}
	return time.AfterFunc(patience, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if !over() {
			r.lendTurn(t, give)
		}
	})
}

// lendTurn lends the turn of a request that waits for its peer. If too many turns are
// lent, it gives up a peer of the group with the most: the one that has taken nothing
// for longest.
func (r *room) lendTurn(t *Turn, give context.CancelCauseFunc) {
	if !t.held {
		return
	}
	r.change(t.peer, func() {
		t.held, t.give = false, give
		t.place = r.lent.PushBack(t)
	})
	switch g := t.peer.group; {
	case g.lent > max(1, r.limits.Lent/sourceLent):
		r.giveUp(g)
	case r.lent.Len() > r.limits.Lent:
		r.giveUp(r.slowest())
	}
	r.begin()
}

// slowest returns the group to give up a peer of: the one with the most turns lent in
// the class that has lent more.
func (r *room) slowest() (most *group) {
	c := &r.classes[strangers]
	if other := &r.classes[proven]; other.lent > c.lent {
		c = other
	}
	for e := r.lent.Front(); e != nil; e = e.Next() {
		if g := e.Value.(*Turn).peer.group; g.class == c && (most == nil || g.lent > most.lent) {
			most = g
		}
	}
	return most
}

// giveUp ends what waits for the slowest peer of a group.
func (r *room) giveUp(g *group) {
	for e := r.lent.Front(); e != nil; e = e.Next() {
		if t := e.Value.(*Turn); t.peer.group == g {
			t.give(ErrGivenUp)
			r.unlend(t)
			return
		}
	}
}

func (r *room) unlend(t *Turn) {
	if t.place != nil {
		r.change(t.peer, func() {
			r.lent.Remove(t.place)
			t.place = nil
		})
	}
}

// begin starts serving requests as long as there are turns. Requests that want their
// turn back come first: they were admitted earlier and hold memory meanwhile.
func (r *room) begin() {
	for r.free > 0 {
		if first := r.returning.Front(); first != nil {
			t := r.returning.Remove(first).(*Turn)
			r.change(t.peer, func() { t.held = true })
			close(t.back)
			continue
		}
		if !r.open || r.ctx.Err() != nil || r.out >= r.limits.Turns+r.limits.Lent {
			return
		}
		p, ask := r.next()
		if p == nil {
			return
		}
		r.out++
		ctx, t := r.ctx, p.turn
		r.wg.Go(func() { r.work(ctx, t, ask) })
	}
}

// work serves one request.
func (r *room) work(ctx context.Context, t *Turn, ask any) {
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.out--
		r.change(t.peer, func() { t.held, t.peer.turn = false, nil })
		r.begin()
	}()
	r.guard(func() { r.serve(ctx, t, ask) })
}

// guard keeps a panic in the serving of one request from ending the process.
func (r *room) guard(do func()) {
	defer func() {
		if cause := recover(); cause != nil {
			r.panicked(cause)
		}
	}()
	do()
}
