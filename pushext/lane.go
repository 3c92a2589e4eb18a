package pushext

import "time"

// laneKey names a lane. The host is a secret of the devices behind it.
type laneKey struct {
	provider string
	host     string // "" if the provider has one lane only
}

// lane is the queue of everything that goes to one provider, or to one host of
// a provider whose addresses lead to many. Lanes share nothing but the bound
// on all attempts in flight, for which they take turns.
type lane struct {
	key      laneKey
	line     *line
	breaker  breaker
	queue    []ticket // from head
	head     int
	flying   int
	runnable bool // in dispatcher.runnable
	timer    *time.Timer
}

// ticket is a place in a lane's queue. A job that went elsewhere meanwhile has
// a newer one; the old is skipped.
type ticket struct {
	job    *job
	number uint64
}

// push queues a job, at the front if it had its turn already.
func (l *lane) push(j *job, front bool) {
	t := ticket{j, j.ticket}
	switch {
	case front && l.head > 0:
		l.head--
		l.queue[l.head] = t
	case front:
		l.queue = append([]ticket{t}, l.queue...)
	default:
		l.queue = append(l.queue, t)
	}
}

// pop returns the next job, or nil.
func (l *lane) pop() *job {
	for l.head < len(l.queue) {
		t := l.queue[l.head]
		l.queue[l.head] = ticket{}
		l.head++
		if l.head > 64 && l.head*2 > len(l.queue) {
			n := copy(l.queue, l.queue[l.head:])
			clear(l.queue[n:])
			l.queue, l.head = l.queue[:n], 0
		}
		if t.job.ticket == t.number && t.job.state == queued {
			return t.job
		}
	}
	if cap(l.queue) > 1024 {
		l.queue = nil
	}
	l.queue, l.head = l.queue[:0], 0
	return nil
}

// waiting is how many tickets are queued, outdated ones included.
func (l *lane) waiting() int { return len(l.queue) - l.head }
