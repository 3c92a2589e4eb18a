package dispatch

import (
	"time"

	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushwire"
)

// Challenge sends the code that proves an address, and nothing else.
func (d *Dispatcher) Challenge(e *registration.Errand) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopped {
		return
	}
	j := &job{id: e.ID, errand: e, nonce: nonce()}
	j.deadline = time.AfterFunc(time.Until(e.Until), func() { d.expire(j) })
	d.enqueue(j, time.Now())
}

// expire gives up an errand or a test push that waited too long, for example for a paused
// lane.
func (d *Dispatcher) expire(j *job) {
	d.mu.Lock()
	waits := j.state == queued || j.state == waiting
	if waits {
		halt(j.timer)
		j.ticket++ // out of its queue
		j.state = idle
	}
	d.mu.Unlock()
	switch {
	case waits && j.trial != nil:
		d.mu.Lock()
		d.tried(j, pushext.Verdict{Class: pushext.Retry, Reason: "the push service is paused or busy"})
		d.mu.Unlock()
	case waits:
		d.over(j, pushext.Verdict{Class: pushext.Retry})
	}
}

// flyChallenge makes one attempt to send a code, and settles it.
func (d *Dispatcher) flyChallenge(f *flight, j *job) {
	l := f.lane
	reg, route, ok := d.dir.Proving(j.errand)
	if !ok || l.line.gone.Load() {
		now := time.Now()
		d.mu.Lock()
		l.restore()
		d.land(f, now)
		d.mu.Unlock()
		d.over(j, pushext.Verdict{Class: pushext.Retry})
		return
	}
	c := cargo{kind: pushwire.Challenge, reg: reg, route: route}
	n, err := d.notification(j, c)
	v, took := pushext.Verdict{Class: pushext.MessageBad, Reason: "cannot seal"}, time.Duration(0)
	if err == nil {
		start := time.Now()
		v = d.attempt(f, n)
		took = time.Since(start)
	} else {
		d.log.Error("cannot seal a challenge", "registration", uint64(j.id), "err", err)
	}
	d.observe(l, j, v, took)
	now := time.Now()
	d.mu.Lock()
	d.judge(l, j, c, v, now)
	again := d.challengeAgain(l, j, v, now)
	if v.Class == pushext.TokenDead && l.gate.frozen {
		v.Class = pushext.Retry // it calls everything dead
	}
	d.land(f, now)
	d.mu.Unlock()
	if !again {
		d.over(j, v)
	}
}

// challengeAgain tries once more after a failure that says nothing lasting, and
// reports whether it does. The caller holds mu.
func (d *Dispatcher) challengeAgain(l *lane, j *job, v pushext.Verdict, now time.Time) bool {
	switch v.Class {
	case pushext.Retry, pushext.RetryAt, pushext.ProviderBroken:
		if j.failed++; j.failed < sideAttempts && now.Before(j.errand.Until) {
			d.later(l, j, v, now)
			return true
		}
	}
	return false
}

// over tells the registry how an errand ended. A dead address ends a registration of
// which nothing else is known, and its client is told at once. The mass-deletion gate is
// about devices that were reached, so it prevents this only while it is frozen.
func (d *Dispatcher) over(j *job, v pushext.Verdict) {
	j.deadline.Stop()
	if v.Class != pushext.Delivered {
		d.m.dropped.WithLabelValues("challenge").Inc()
	}
	if d.dir.ChallengeOver(j.errand, v, time.Now()) {
		d.m.killed.WithLabelValues(j.errand.Provider).Inc()
	}
}
