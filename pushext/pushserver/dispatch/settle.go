package dispatch

import (
	"log/slog"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/measure"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushwire"
)

// absentPause is how often a device that has no route but its link is looked for while it
// is away. Its return rings it at once.
const absentPause = time.Hour

// settle obeys a verdict: it tells the outbox, the lane's breaker and the gate, and
// decides how the job goes on.
func (d *Dispatcher) settle(f *flight, j *job, c cargo, v pushext.Verdict, took time.Duration) {
	l, now := f.lane, time.Now()
	d.observe(l, j, v, took)

	// The outbox first, or the job would be sent on for what is already done.
	if c.kind == pushwire.Messages {
		switch {
		case v.Class == pushext.Delivered:
			d.delivered(l, j, c, now)
		case v.Class == pushext.MessageBad && c.last() && !d.isThere(j):
			d.box.Undeliverable(j.id, c.wake, v.Reason)
		}
	}
	d.mu.Lock()
	d.judge(l, j, c, v, now)
	killed := d.next(l, j, c, v, now)
	d.land(f, now)
	d.mu.Unlock()

	if killed {
		registration.Trace(d.log, "registration", j.id, "address is gone", slog.String("provider", l.key.Provider), slog.String("reason", d.m.reason(v.Reason)))
		d.m.killed.WithLabelValues(l.key.Provider).Inc()
		at := v.At
		if at.IsZero() {
			at = now
		}
		d.dir.Kill(j.id, v.Reason, at) // which tells the outbox
	}
}

// observe counts an attempt.
func (d *Dispatcher) observe(l *lane, j *job, v pushext.Verdict, took time.Duration) {
	d.way(j, "verdict", slog.String("provider", l.key.Provider), slog.String("class", v.Class.String()), slog.String("reason", d.m.reason(v.Reason)), slog.Duration("took", took))
	d.m.attempts.WithLabelValues(l.key.Provider, v.Class.String(), d.m.reason(v.Reason)).Inc()
	d.m.attemptTime.WithLabelValues(l.key.Provider).Observe(took.Seconds())
}

// delivered records that a provider accepted a wake-up, and how long that took.
func (d *Dispatcher) delivered(l *lane, j *job, c cargo, now time.Time) {
	for _, received := range d.box.Accepted(j.id, c.wake, l.key.Provider, l.line.collapsible, c.climb(), now) {
		latency := now.Sub(received)
		d.m.accepted(l.key.Provider, latency, j.id, registration.Traced(d.log))
		if latency > measure.PromisedLatency {
			d.mu.Lock()
			cause := j.cause
			d.mu.Unlock()
			if cause == "" {
				cause = causeNone
			}
			d.m.late.WithLabelValues(l.key.Provider, cause).Inc()
		}
	}
}

// judge tells the lane's breaker and its gate. The caller holds mu.
func (d *Dispatcher) judge(l *lane, j *job, c cargo, v pushext.Verdict, now time.Time) {
	if l.line.gone.Load() {
		return // it holds up nobody any more
	}
	paused := false
	switch v.Class {
	case pushext.Delivered:
		l.breaker.success()
		l.line.breaker.success()
		l.gate.success(now, j.id)
		if c.kind != pushwire.Messages {
			l.line.quiet.take(now, j.id)
		}
	case pushext.Retry, pushext.RetryAt, pushext.ProviderBroken:
		switch {
		case !l.line.pauses(v):
			paused = l.breaker.failure(now, j.id, v.At)
		case v.Class == pushext.RetryAt:
			paused = l.breakerOf(l.line.scope(v)).pause(now, v.At)
		default:
			paused = l.breakerOf(l.line.scope(v)).open(now)
		}
	case pushext.TokenDead:
		if c.kind != pushwire.Challenge && c.kind != pushwire.Canary && !older(v, c) { // many addresses that strangers register are dead
			l.gate.verdict(now, j.id)
		}
	}
	if paused {
		d.m.opened.WithLabelValues(l.key.Provider).Inc()
	}
	d.notice(l, c.kind, v, paused, now)
	if mass := l.gate.mass(now); mass != l.gate.frozen {
		d.freeze(l, mass)
	}
}

// freeze notes whether a lane calls too many addresses dead to be believed. The
// caller holds mu.
func (d *Dispatcher) freeze(l *lane, mass bool) {
	l.gate.frozen = mass
	if mass {
		l.line.frozen++
	} else {
		l.line.frozen--
	}
	d.noticeFrozen(l, time.Now())
	d.m.frozen.WithLabelValues(l.key.Provider).Set(float64(l.line.frozen))
}

// next decides how a job goes on after an attempt, and whether its registration
// is dead. The caller holds mu.
func (d *Dispatcher) next(l *lane, j *job, c cargo, v pushext.Verdict, now time.Time) (killed bool) {
	d.carried(l, j, c, v)
	at := landing{
		kind: c.kind, class: v.Class, pauses: l.line.pauses(v), last: c.last(), only: c.route == 0,
		failed: j.failed, accepted: j.accepted, again: j.again || len(j.dismiss) > 0, there: j.there, due: j.step,
	}
	j.again, j.step, j.there = false, false, false
	at.believed = v.Class == pushext.TokenDead && d.buried(l, j, c, v, now)
	to, what := at.next()
	switch what {
	case took:
		j.accept(l, c, now)
	case failure:
		j.failed++
	case settled:
		j.repeat = false
	case givenUp:
		j.failed++
		j.repeat = false
	case dropped:
		j.failed, j.cause, j.repeat = 0, "", false
	}
	d.goOn(to, l, j, c, v, now)
	return to == bury
}

// carried notes what an attempt carried. The caller holds mu.
func (d *Dispatcher) carried(l *lane, j *job, c cargo, v pushext.Verdict) {
	switch c.kind {
	case pushwire.Dismiss:
		if v.Class == pushext.Delivered || v.Class == pushext.MessageBad || v.Class == pushext.Absent && c.last() || j.failed+1 >= sideAttempts {
			if v.Class != pushext.Delivered {
				d.m.dropped.WithLabelValues("dismiss").Inc()
			}
			j.dismiss = slices.DeleteFunc(j.dismiss, func(h common.Hash) bool { return slices.Contains(c.dismiss, h) })
		}
	case pushwire.Messages:
		if j.wake == nil || j.wake.Seq != c.wake.Seq {
			j.accepted = c.wake.Again
		}
		j.wake = &c.wake
		if j.ladder == nil && !c.last() && v.Class != pushext.TokenDead && v.Class != pushext.MessageBad && v.Class != pushext.Absent {
			d.await(j, l.line.patience)
		}
	}
}

// goOn does what a landing decided. The caller holds mu.
func (d *Dispatcher) goOn(to move, l *lane, j *job, c cargo, v pushext.Verdict, now time.Time) {
	switch to {
	case rest, bury:
		d.finish(j, now)
	case queue:
		d.enqueue(j, now)
	case climb:
		d.stepTo(j, c.route+1, now)
	case pass:
		j.route = c.route + 1
		d.enqueue(j, now)
	case restart:
		j.anew()
		d.enqueue(j, now)
	case retry:
		d.later(l, j, v, now)
	case retryAll:
		j.route = 0
		if v.Class == pushext.Absent {
			v.Class = pushext.Retry // of the routes before
		}
		d.later(l, j, v, now)
	case doubtAll:
		j.died++
		j.route, j.cause = 0, causeProvider
		d.wait(j, deadBackoff.After(now, j.died))
	case awaitUp:
		j.cause = causeAbsent
		d.wait(j, now.Add(absentPause)) // or until it is there
	}
}

// isThere reports whether a job's device came through a link of its own meanwhile.
func (d *Dispatcher) isThere(j *job) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return j.there
}

// accept notes that a push service accepted what an attempt carried. The caller
// holds Dispatcher.mu.
func (j *job) accept(l *lane, c cargo, now time.Time) {
	j.spent[c.route].Take(now, l.line.budget)
	j.failed, j.died, j.cause, j.repeat, j.blurred = 0, 0, "", false, false
	delete(j.doubts, c.route)
	if c.kind == pushwire.Messages {
		j.accepted, j.heir = true, false
	}
}

// later tries again: after the device's own backoff if the verdict concerns it alone, or
// with the lane if that is paused. There it queues behind the others, which may fare
// better as the next probe: what a verdict says of all may be true of one device alone,
// which would otherwise be every probe. The caller holds mu.
func (d *Dispatcher) later(l *lane, j *job, v pushext.Verdict, now time.Time) {
	if l.line.gone.Load() {
		d.enqueue(j, now) // through another route, if there is one
		return
	}
	if l.line.pauses(v) {
		j.cause = causeLane
		d.queue(l, j, now)
		return
	}
	j.cause = causeProvider
	if v.At.IsZero() && now.Before(l.paused()) {
		d.queue(l, j, now)
		return
	}
	failed := j.failed
	if failed > 3 {
		failed-- // 1, 2, 4, 4 s, then 8, 16 …: an attempt before PromisedLatency is over
	}
	at := retryBackoff.After(now, failed)
	if limit := now.Add(maxPause); v.At.After(limit) {
		at = limit
	} else if v.At.After(at) {
		at = v.At
	}
	d.wait(j, at)
}

// buried decides whether a dead verdict ends the registration. It does if the address was
// not registered again since, if the provider said so twice or with a time, if the lane
// works for others, and if no other route is left. The caller holds mu.
func (d *Dispatcher) buried(l *lane, j *job, c cargo, v pushext.Verdict, now time.Time) bool {
	held := func(cause string) bool {
		d.m.gated.WithLabelValues(l.key.Provider, cause).Inc()
		return false
	}
	if older(v, c) {
		return held("older")
	}
	if j.doubts == nil {
		j.doubts = make(map[int]registration.Doubt)
	}
	said, again := j.doubts[c.route]
	since := said.Since
	if !again {
		since = now
		j.doubts[c.route] = registration.Doubt{Since: now, Reason: v.Reason}
	}
	if !v.At.IsZero() {
		since = now.Add(-gateWindow) // the provider's own memory is the second opinion
	}
	gate := &l.gate
	switch {
	case gate.frozen:
		return held("mass")
	case !again && v.At.IsZero():
		return held("unconfirmed")
	case !gate.working(now, since):
		return held("no_success")
	case len(j.doubts) < len(c.reg.Routes):
		return held("other_route")
	}
	return true
}

// older reports whether an address was registered again after it is said to have died.
func older(v pushext.Verdict, c cargo) bool { return !v.At.IsZero() && v.At.Before(c.reg.Registered) }
