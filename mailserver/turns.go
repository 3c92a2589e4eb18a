package mailserver

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// stallAfter is how long a peer may take for what is handed to it before it has
// no worker any more: a link that carries anything takes sendBytes sooner.
const stallAfter = 250 * time.Millisecond

// turns are the workers: each request being answered has one, but for the time in
// which its peer takes nothing. As many requests as there are workers may wait like
// that, so slow peers keep nobody else waiting; of one more, the peer that has
// taken nothing for longest is given up.
type turns struct {
	free    chan struct{} // one for each turn that nobody has
	stalled int           // requests that may wait for their peers

	mu      sync.Mutex
	waiting list.List // of context.CancelFunc, longest first
}

func newTurns(workers int) *turns {
	t := &turns{free: make(chan struct{}, workers), stalled: workers}
	for range workers {
		t.free <- struct{}{}
	}
	return t
}

// turn is what a worker holds, unless its peer keeps it waiting.
type turn struct {
	all  *turns
	held bool
}

// take waits for a turn. It returns false once the context has ended.
func (t *turns) take(ctx context.Context) (*turn, bool) {
	select {
	case <-ctx.Done():
		return nil, false
	case <-t.free:
		return &turn{all: t, held: true}, true
	}
}

// give ends a turn.
func (t *turn) give() {
	if t.held {
		t.held = false
		t.all.free <- struct{}{}
	}
}

// lend does what waits for a peer, and gives the turn away meanwhile if that takes
// long. It has the turn back when it returns, but with an error: then nothing is
// left to do.
func (t *turn) lend(ctx context.Context, wait func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	all := t.all
	var place *list.Element // once the turn is given away; guarded by all.mu
	over := false           // guarded by all.mu
	timer := time.AfterFunc(stallAfter, func() {
		all.mu.Lock()
		defer all.mu.Unlock()
		if over {
			return
		}
		t.give()
		place = all.waiting.PushBack(cancel)
		if all.waiting.Len() > all.stalled {
			all.waiting.Remove(all.waiting.Front()).(context.CancelFunc)()
		}
	})
	err := wait(ctx)
	timer.Stop()
	all.mu.Lock()
	over = true
	if place != nil {
		all.waiting.Remove(place) // unless it was given up
	}
	all.mu.Unlock()
	if place != nil && err == nil {
		<-all.free
		t.held = true
	}
	return err
}
