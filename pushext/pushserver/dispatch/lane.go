package dispatch

import (
	"time"

	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/spacing"
)

// lane is the queue of everything that goes to one provider, or to one host of a provider
// whose addresses lead to many. A provider's one lane has its own bound on the attempts
// in flight and shares nothing. Lanes to hosts share one bound, under which they take
// turns by site; so do lanes to links.
//
// Jobs of a crowd queue apart, and get one turn in crowdTurn while others wait: ten
// thousand devices that listen to a flooded topic do not hold up the one that does not,
// and are not starved by it.
type lane struct {
	key      registration.Lane
	line     *line
	site     *site   // of its host, nil if it has a bound of its own
	flight   *flight // all its attempts, if it has no site
	breaker  breaker
	gate     gate
	pace     spacing.Bucket // of attempts, under line.pace
	paced    bool           // pace holds up what waits
	queue    fifo           // of jobs that are alone
	crowd    fifo           // of jobs that are one of very many
	turn     int            // pops since the latest of the crowd's
	flying   int
	runnable bool // in dispatcher.runnable, or waits for a turn at its site
	idle     bool // it has nothing to do, and is one of dispatcher.idle
	timer    *time.Timer
}

// maxIdleLanes bounds the lanes to hosts that have nothing to do and are kept for what
// they remember: failures and pauses, the rate, and the devices they called dead. A lane
// that was forgotten begins again, and is not believed when it calls a device dead.
const maxIdleLanes = 16384

// keep is the time until which a lane that has nothing to do is to be remembered.
func (l *lane) keep() time.Time {
	keep := l.gate.keep()
	if l.line.linked {
		keep = time.Time{} // no link calls an address dead
	}
	for _, other := range [...]time.Time{l.pace.Full, l.breaker.keep()} {
		if other.After(keep) {
			keep = other
		}
	}
	return keep
}

// crowdTurn gives the crowd one pop in so many while others wait.
const crowdTurn = 4

// push queues a job.
func (l *lane) push(j *job) {
	if j.crowd {
		l.crowd.push(j)
		return
	}
	l.queue.push(j)
}

// pop returns the next job, or nil.
func (l *lane) pop() *job {
	l.turn++
	if l.turn >= crowdTurn {
		if j := l.crowd.pop(); j != nil {
			l.turn = 0
			return j
		}
	}
	if j := l.queue.pop(); j != nil {
		return j
	}
	l.turn = 0
	return l.crowd.pop()
}

// paused is the time until which nothing is sent to the lane.
func (l *lane) paused() time.Time {
	if l.line.breaker.until.After(l.breaker.until) {
		return l.line.breaker.until
	}
	return l.breaker.until
}

// breakerOf is the breaker for verdicts of a scope.
func (l *lane) breakerOf(scope pushext.Scope) *breaker {
	if scope == pushext.ScopeProvider && l.line.laner != nil {
		return &l.line.breaker
	}
	return &l.breaker
}

// hold is how long the next attempt has to wait at now, for a pause or for the
// rate, 0 if it need not.
func (l *lane) hold(now time.Time) time.Duration {
	if l.line.gone.Load() {
		return 0 // nothing is sent
	}
	pause := max(l.paused().Sub(now), 0)
	if l.line.pace.Every > 0 {
		wait := l.pace.Wait(now, l.line.pace)
		l.paced = l.paced || wait > 0
		pause = max(pause, wait)
	}
	return pause
}

// take spends an attempt of the lane's rate for a job.
func (l *lane) take(j *job, now time.Time) {
	if l.line.pace.Every == 0 {
		return
	}
	l.pace.Take(now, l.line.pace)
	if l.paced && j.cause == "" {
		j.cause = causeRate
	}
	l.paced = l.paced && l.waiting() > 0
}

// restore takes back what was spent for an attempt that was not made.
func (l *lane) restore() { l.pace.Full = l.pace.Full.Add(-l.line.pace.Every) }

// waiting is how many tickets are queued, outdated ones included.
func (l *lane) waiting() int { return l.queue.len() + l.crowd.len() }

// ticket is a place in a queue. A job that went elsewhere meanwhile has a newer
// one; the old is skipped.
type ticket struct {
	job    *job
	number uint64
}

// fifo is a queue of jobs.
type fifo struct{ waitlist[ticket] }

func (q *fifo) push(j *job) { q.waitlist.push(ticket{j, j.ticket}) }

func (q *fifo) pop() *job {
	for {
		t, ok := q.waitlist.pop()
		switch {
		case !ok:
			return nil
		case t.job.ticket == t.number && t.job.state == queued:
			return t.job
		}
	}
}

// waitlist is a first-in, first-out queue. The zero value is empty.
type waitlist[T any] struct {
	items []T // from head
	head  int
}

func (q *waitlist[T]) len() int { return len(q.items) - q.head }

func (q *waitlist[T]) push(v T) { q.items = append(q.items, v) }

func (q *waitlist[T]) pop() (v T, ok bool) {
	if q.head == len(q.items) {
		if cap(q.items) > 1024 {
			q.items = nil
		}
		q.items, q.head = q.items[:0], 0
		return v, false
	}
	var none T
	v, q.items[q.head] = q.items[q.head], none
	q.head++
	if q.head > 64 && q.head*2 > len(q.items) {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	return v, true
}
