package engine

import "time"

const (
	// paceWait is the shortest time between the starts of two commits at a busy time.
	paceWait = 4 * time.Millisecond
	// A time is busy with paceFrom to paceUpTo envelopes a second, over paceWindow. With
	// fewer, waiting would delay wake-ups for little gain. With more, a group is large
	// without waiting.
	paceFrom, paceUpTo = 3000, 50_000
	paceWindow         = 100 * time.Millisecond
	// paceRest is how long nothing waits after a wait that brought too little.
	paceRest = 250 * time.Millisecond
)

// Pace tells a writer how long to wait for more envelopes before it commits those it has.
//
// A writer that commits whenever the disk is free has few envelopes in each group when some
// thousands arrive a second. Each group then wakes the disk, the follower, the matcher and
// the connections to push services one after the other, and waking them takes more
// processor time than their work. With a few milliseconds between commits they find a dozen
// envelopes each time, and a wake-up takes two thirds of the processor time.
//
// Senders that wait for a commit before they send the next envelope gain nothing. Then a
// wait brings less than the previous rate promised, and for a while none follows.
//
// The zero value is ready. It belongs to the writer's goroutine.
type Pace struct {
	began     time.Time // when the current window began
	envelopes int       // committed in it
	rate      float64   // envelopes a second in the window before
	commit    time.Time // when the last commit began
	rested    time.Time // nothing waits until then
}

// Wait returns how long a writer should wait before it commits, or 0.
func (p *Pace) Wait(now time.Time) time.Duration {
	if p.rate < paceFrom || p.rate > paceUpTo || now.Sub(p.began) > 2*paceWindow || now.Before(p.rested) {
		return 0
	}
	return max(0, paceWait-now.Sub(p.commit))
}

// Waited notes how many envelopes a wait brought. With random arrivals, at least a
// quarter of what the rate promises almost always comes.
func (p *Pace) Waited(now time.Time, wait time.Duration, brought int) {
	if wait >= paceWait/2 && float64(brought) < p.rate*wait.Seconds()/4 {
		p.rested = now.Add(paceRest)
	}
}

// Commit notes that a commit of that many envelopes begins.
func (p *Pace) Commit(now time.Time, envelopes int) {
	p.commit = now
	if span := now.Sub(p.began); span >= paceWindow {
		p.rate = float64(p.envelopes) / span.Seconds()
		p.began, p.envelopes = now, 0
	}
	p.envelopes += envelopes
}
