package engine

import "time"

const (
	// paceWait is how far apart commits begin at a busy time, at least.
	paceWait = 4 * time.Millisecond
	// It is a busy time from paceFrom to paceUpTo envelopes a second, over paceWindow. With
	// fewer, waiting would make wake-ups late for little. With more, a group is large
	// without it.
	paceFrom, paceUpTo = 3000, 50_000
	paceWindow         = 100 * time.Millisecond
	// paceRest is how long nothing waits after a wait that was for nothing.
	paceRest = 250 * time.Millisecond
)

// Pace tells a writer how long to wait for more envelopes before it commits those it has.
//
// A writer that commits whenever the disk is free has a few envelopes in each group at some
// thousands a second. Each group then wakes the disk, the follower, the matcher and the
// connections to push services one after the other, and waking them takes more processor
// time than their work. With a few milliseconds between commits they find a dozen
// envelopes each time, and a wake-up takes two thirds of the processor time.
//
// Senders that wait for a commit before they send the next envelope gain nothing: then a
// wait brings less than the rate before it promised, and none follows for a while.
//
// The zero value is ready. It belongs to the writer's goroutine.
type Pace struct {
	began     time.Time // the window that is being counted
	envelopes int       // committed in it
	rate      float64   // envelopes a second in the window before
	commit    time.Time // when the last commit began
	rested    time.Time // until then nothing waits
}

// Wait returns how long a writer should wait before it commits, or 0.
func (p *Pace) Wait(now time.Time) time.Duration {
	if p.rate < paceFrom || p.rate > paceUpTo || now.Sub(p.began) > 2*paceWindow || now.Before(p.rested) {
		return 0
	}
	return max(0, paceWait-now.Sub(p.commit))
}

// Waited notes how many envelopes a wait brought. At random moments a quarter of what the
// rate promises almost always comes.
func (p *Pace) Waited(now time.Time, wait time.Duration, brought int) {
	if wait >= paceWait/2 && float64(brought) < p.rate*wait.Seconds()/4 {
		p.rested = now.Add(paceRest)
	}
}

// Commit notes that a commit of as many envelopes begins.
func (p *Pace) Commit(now time.Time, envelopes int) {
	p.commit = now
	if span := now.Sub(p.began); span >= paceWindow {
		p.rate = float64(p.envelopes) / span.Seconds()
		p.began, p.envelopes = now, 0
	}
	p.envelopes += envelopes
}
