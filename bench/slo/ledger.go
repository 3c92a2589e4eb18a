package main

import (
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
)

// message is what is known about one message.
type message struct {
	device   int
	written  time.Time
	accepted time.Time // when a push service accepted a wake-up that names it, or its device was rung; zero: not yet
	via      string    // what accepted it
	shown    time.Time // when its device showed the preview; zero: not yet
	again    int       // times it was shown again
	stumbles int       // times that its device had to handle the wake-up again
}

// trouble is a fault as it happened. A restart of the server has no duration.
type trouble struct {
	from, until time.Time
	provider    string // empty: the server
	what        string
}

// ledger is what happened in a run. Its methods are safe for concurrent use.
type ledger struct {
	mu       sync.Mutex // guards the following fields
	messages map[common.Hash]*message
	missing  int           // messages not shown yet
	done     chan struct{} // closed when everything planned was shown
	planned  int

	wakeups   int   // pushes that reached a device, except challenges
	repeated  int   // of those, pushes that named nothing new
	pushBytes int64 // their bodies
	strangers int   // previews of messages that nobody wrote
	failed    int   // wake-ups that a device could not handle at once
	troubles  []trouble
}

func newLedger(planned int) *ledger {
	return &ledger{messages: make(map[common.Hash]*message, planned), missing: planned, done: make(chan struct{}), planned: planned}
}

// wrote notes that a message is about to be written.
func (l *ledger) wrote(hash common.Hash, device int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.messages[hash] = &message{device: device, written: time.Now()}
}

// woke notes an accepted push and what it names.
func (l *ledger) woke(at time.Time, size int, hashes []common.Hash, via string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wakeups++
	l.pushBytes += int64(size)
	fresh := false
	for _, hash := range hashes {
		m := l.messages[hash]
		if m == nil {
			continue
		}
		if m.accepted.IsZero() {
			m.accepted, m.via, fresh = at, via, true
		}
	}
	if !fresh {
		l.repeated++
	}
}

// showed notes a preview.
func (l *ledger) showed(hash common.Hash, at time.Time, woken time.Time, via string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := l.messages[hash]
	switch {
	case m == nil:
		l.strangers++
		return
	case !m.shown.IsZero():
		m.again++
		return
	}
	m.shown = at
	if m.accepted.IsZero() { // announced by a wake-up that said "more"
		m.accepted, m.via = woken, via
	}
	if l.missing--; l.missing == 0 {
		close(l.done)
	}
}

// stumbled notes that a wake-up must be handled again.
func (l *ledger) stumbled(hashes []common.Hash) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed++
	for _, hash := range hashes {
		if m := l.messages[hash]; m != nil && m.shown.IsZero() {
			m.stumbles++
		}
	}
}

// broke notes the beginning of a fault.
func (l *ledger) broke(t trouble) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.troubles = append(l.troubles, t)
}

// progress returns the numbers of messages written and shown.
func (l *ledger) progress() (written, shown int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.messages), l.planned - l.missing
}
