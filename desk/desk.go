// Package desk takes requests from strangers, so that none of them can keep the
// others waiting. It knows nothing of what is asked.
//
// # Waiting
//
// Each peer waits in a short queue of its own, and one of its requests is served at
// a time. Peers are counted by their source, the network they come from, because
// node keys are free and networks are not: sources take turns, and the peers of a
// source do so among themselves. When there is no more room, the newest request of
// whoever waits with the most gives way to one of whoever waits with less. So a
// flood displaces itself, and whoever asks little always finds a place.
//
// # Turns
//
// A fixed number of requests are served at a time, and each holds a turn. A request
// that waits for its peer to read does so through Turn.Lend, which after a moment
// gives its turn to another request: peers that do not read hold nobody up. When
// too many wait like that, the one of the source with the most that has waited
// longest is given up.
//
// # Proven peers
//
// Turn.Vouch says that a peer has proved what not everybody can. Such a peer is
// counted by its account instead of its network, and proven peers and strangers
// each have a share of places and turns that the other cannot take: neither keeps
// the other out, however many there are.
//
// # Refusals
//
// A request that finds no place is refused with a Busy, which says when to come
// back. Refusals cost work too, so there is a bounded number of them a second; the
// others are dropped and counted.
package desk

import (
	"container/list"
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"whisperpush/whisper"
)

const (
	// Retry is when to come back to a desk that is full.
	Retry = 15 * time.Second
	// maxPeers is how many peers are remembered: those with a request here, and
	// of the others the latest, for their rates.
	maxPeers = 4096
	// vouchLife is how long a peer counts as proven after it has proved itself.
	vouchLife = time.Hour
	// placeShare and turnShare are the parts of all places and turns that strangers
	// leave to proven peers, and proven peers to strangers: one of so many.
	placeShare = 4
	turnShare  = 4
	// sourceTurns is the part of all turns that one source may hold.
	sourceTurns = 2
	// sourceLent is the part of all lent turns that one source may have.
	sourceLent = 4
)

// ID identifies a peer: a node's identity, or any other name of a connection.
type ID = [32]byte

// Limits bound what strangers can make a desk keep and do. Each is at least 1.
type Limits struct {
	Turns     int     // requests served at a time
	Lent      int     // requests beside them that may wait for their peers to read
	PerPeer   int     // requests of one peer that wait
	PerSource int     // requests of one source that wait
	Queue     int     // requests that wait
	Rate      float64 // requests a second of one peer
	Burst     int     // requests of one peer at once
}

// Server does the work at a desk. Its functions are called by many goroutines. Each
// request that is offered ends in exactly one of Serve, Refuse and Drop, unless the
// desk closes first. None may be nil.
type Server[T any] struct {
	// Serve answers a request. It may block on the peer only within Turn.Lend, and
	// returns soon after ctx ends.
	Serve func(ctx context.Context, turn *Turn, ask T)
	// Refuse tells a peer that its request will not be served. It returns an error
	// if the peer did not take that before ctx ended.
	Refuse func(ctx context.Context, peer ID, ask T, why *Busy) error
	// Drop counts a request that is neither served nor refused. It is called from
	// within Offer.
	Drop func(ask T, why *Busy)
	// Panicked reports a panic in Serve or Refuse. Only that request is lost.
	Panicked func(cause any)
}

// Busy is why a request finds no place.
type Busy struct {
	After time.Duration // when to come back
	Limit Limit         // the limit that was reached
}

// Limit names a limit that a request can meet.
type Limit string

// The limits that a request can meet.
const (
	LimitRate   Limit = "rate"   // Limits.Rate and Burst
	LimitPeer   Limit = "peer"   // Limits.PerPeer
	LimitSource Limit = "source" // Limits.PerSource
	LimitQueue  Limit = "queue"  // Limits.Queue
)

var limitTexts = map[Limit]string{
	LimitRate:   "too many requests from you",
	LimitPeer:   "your earlier requests are still being answered",
	LimitSource: "too many requests from your network",
	LimitQueue:  "too many requests",
}

// Text is a sentence for the peer, without when to come back.
func (b *Busy) Text() string { return limitTexts[b.Limit] }

// Error is the text and when to come back.
func (b *Busy) Error() string {
	return fmt.Sprintf("%s, come back in %v", b.Text(), b.After.Round(time.Second))
}

// Desk serves the requests of strangers. Create it with New and start it with Run.
type Desk[T any] struct{ room *room }

// New returns a desk that keeps what it is offered until it runs.
func New[T any](l Limits, s Server[T]) *Desk[T] {
	r := newRoom(l)
	r.serve = func(ctx context.Context, t *Turn, ask any) { s.Serve(ctx, t, ask.(T)) }
	r.refuse = func(ctx context.Context, peer ID, ask any, why *Busy) error {
		return s.Refuse(ctx, peer, ask.(T), why)
	}
	r.drop = func(ask any, why *Busy) { s.Drop(ask.(T), why) }
	r.panicked = s.Panicked
	return &Desk[T]{r}
}

// Offer takes a request of a peer. It does not block.
func (d *Desk[T]) Offer(peer ID, source whisper.Source, ask T, now time.Time) {
	d.room.offer(peer, source, ask, now)
}

// Run serves until ctx ends, and returns when no request is being served any more.
// Requests that still wait are forgotten. It is called once.
func (d *Desk[T]) Run(ctx context.Context) { d.room.run(ctx) }

// Waiting returns how many requests wait.
func (d *Desk[T]) Waiting() int {
	d.room.mu.Lock()
	defer d.room.mu.Unlock()
	return d.room.waiting
}

// Stalled returns how many requests have lent their turns because their peers do
// not read.
func (d *Desk[T]) Stalled() int {
	d.room.mu.Lock()
	defer d.room.mu.Unlock()
	return d.room.lent.Len()
}

// Load tells how crowded the desk is for strangers from a source, from 0 to 1: by
// their own waiting requests, or by the number of sources that wait, whichever is
// more. The waiting requests of one source are no load to another.
func (d *Desk[T]) Load(source whisper.Source) float64 { return d.room.load(source) }

// SetRate changes how many requests a second one peer may send, and how many at once.
func (d *Desk[T]) SetRate(perSecond float64, burst int) { d.room.setRate(perSecond, burst) }

// room is a Desk that does not know the type of its requests.
type room struct {
	limits   Limits // mu guards Rate and Burst
	serve    func(ctx context.Context, t *Turn, ask any)
	refuse   func(ctx context.Context, peer ID, ask any, why *Busy) error
	drop     func(ask any, why *Busy)
	panicked func(cause any)

	wg sync.WaitGroup // of goroutines that serve and refuse

	mu        sync.Mutex // guards the following fields
	ctx       context.Context
	open      bool
	peers     map[ID]*peer
	groups    map[groupKey]*group
	classes   [classes]class
	favoured  int       // the class that is served next if both have requests waiting
	waiting   int       // requests that wait
	asking    int       // peers with waiting requests
	free      int       // turns that nobody holds
	out       int       // requests being served, with and without a turn
	returning list.List // of *Turn, of requests that want it back
	lent      list.List // of *Turn, the longest first
	refusals  refusals
}

func newRoom(l Limits) *room {
	r := &room{limits: l, free: l.Turns, peers: make(map[ID]*peer), groups: make(map[groupKey]*group), refusals: newRefusals()}
	for i := range r.classes {
		c := &r.classes[i]
		c.index, c.turns, c.waits = i, l.Turns-l.Turns/turnShare, make(map[*group]struct{})
	}
	return r
}

func (r *room) setRate(perSecond float64, burst int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.limits.Rate, r.limits.Burst = perSecond, burst
	for _, p := range r.peers {
		p.bucket.SetLimit(rate.Limit(perSecond))
		p.bucket.SetBurst(burst)
	}
}

func (r *room) run(ctx context.Context) {
	r.mu.Lock()
	r.ctx, r.open = ctx, true
	r.begin()
	r.mu.Unlock()
	<-ctx.Done()
	r.mu.Lock()
	r.open = false
	r.mu.Unlock()
	r.wg.Wait()
}

func (r *room) offer(id ID, source whisper.Source, ask any, now time.Time) {
	r.mu.Lock()
	dropped := r.admit(r.peer(id, source, now), ask, now)
	r.begin()
	r.mu.Unlock()
	if dropped != nil {
		r.drop(dropped.ask, dropped.why)
	}
}
