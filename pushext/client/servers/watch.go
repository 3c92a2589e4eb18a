package servers

import (
	"sync"
	"time"
)

const (
	// A server is dead after deadAsks checks in a row without an answer, over at least
	// deadAfter.
	deadAfter = 3 * time.Minute
	deadAsks  = 3
	// grace is how long a message may take through a server that does not withhold it.
	// A server withholds after withheld messages in a row that did not arrive: a push
	// service may lose one.
	grace    = 2 * time.Minute
	withheld = 2
)

// Verdict is what a Watch says of a server.
type Verdict int

const (
	Fine      Verdict = iota
	Unsure            // it did not answer lately, or something that it should have announced has not arrived
	Dead              // it does not answer
	Withholds         // it answers, but does not ring for what is on the network, or what it signed proves that
)

func (v Verdict) String() string {
	return [...]string{"fine", "unsure", "dead", "withholds"}[v]
}

// Watch judges one server by observations. The zero value has none. It is safe for
// concurrent use.
type Watch struct {
	mu     sync.Mutex // guards the following
	silent int        // times it was asked since its last answer
	since  time.Time  // the first of those times
	probes []time.Time
	missed int // probes in a row that did not arrive
	proved bool
}

// Proved notes that there is evidence against the server. It is never forgotten.
func (w *Watch) Proved() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.proved = true
}

// Answered notes an answer.
func (w *Watch) Answered() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.silent = 0
}

// Silent notes that no answer came although the network is up.
func (w *Watch) Silent(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.silent == 0 {
		w.since = now
	}
	w.silent++
}

// Probed notes that a message for which the server should ring was put on the network.
func (w *Watch) Probed(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.expire(now)
	w.probes = append(w.probes, now)
}

// Rang notes that such a message arrived.
func (w *Watch) Rang() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.probes, w.missed = nil, 0
}

// expire counts the probes that are overdue. The caller holds mu.
func (w *Watch) expire(now time.Time) {
	for len(w.probes) > 0 && now.Sub(w.probes[0]) >= grace {
		w.probes = w.probes[1:]
		w.missed++
	}
}

// Verdict judges the server.
func (w *Watch) Verdict(now time.Time) Verdict {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.expire(now)
	switch {
	case w.silent >= deadAsks && now.Sub(w.since) >= deadAfter:
		return Dead
	case w.missed >= withheld || w.proved:
		return Withholds
	case w.silent > 0 || w.missed > 0:
		return Unsure
	}
	return Fine
}
