package pushext

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/pushext/pushwire"
)

// absentPause is how often a device that can be reached over its link alone is
// looked for while it is away. Its coming back rings at once.
const absentPause = time.Hour

// cargo is what one attempt carries.
type cargo struct {
	kind    pushwire.Kind
	wake    wakeup        // of Messages
	dismiss []common.Hash // of Dismiss, as in job.dismiss
	reg     registration
	route   int // of reg
}

// last reports that the registration has no further route.
func (c *cargo) last() bool { return c.route >= len(c.reg.routes)-1 }

// climb is the route to be tried if no fetch comes, 0 for none.
func (c *cargo) climb() int {
	if c.last() {
		return 0
	}
	return c.route + 1
}

var (
	errUnregistered = errors.New("not registered")
	errNoRoute      = errors.New("no route leads to a configured provider")
	errOtherLane    = errors.New("the route leads to another lane now")
)

// fly makes one attempt for a job that is flying, and settles it.
func (d *dispatcher) fly(l *lane, j *job) {
	defer d.wg.Done()
	reg, err := d.lookup(j)
	if err != nil {
		d.abort(l, j, err)
		return
	}
	key := d.keyOf(reg, j)
	if l == d.lobby {
		now := time.Now()
		d.mu.Lock()
		defer d.mu.Unlock()
		j.state = idle
		d.admit(j, key, now)
		d.land(l, now)
		return
	}
	if key != l.key {
		d.abort(l, j, errOtherLane)
		return
	}
	c, err := d.load(j, reg)
	if err != nil {
		d.abort(l, j, err)
		return
	}
	n, err := d.notification(j, c)
	if err != nil {
		// As final as a provider's verdict, and not expected: the registry has
		// checked the seal key.
		d.log.Error("cannot seal a wake-up", "registration", uint64(j.id), "err", err)
		d.settle(l, j, c, Verdict{Class: MessageBad, Reason: "cannot seal"}, 0)
		return
	}
	start := time.Now()
	v := d.attempt(l.line, n)
	d.settle(l, j, c, v, time.Since(start))
}

// lookup asks the registry for the registration of a job, with the routes that
// may be used for it.
func (d *dispatcher) lookup(j *job) (registration, error) {
	reg, ok := d.dir.get(j.id)
	if !ok {
		return reg, errUnregistered
	}
	reg, err := d.usable(j, reg)
	if errors.Is(err, errNoRoute) {
		d.log.Warn("no route of a registration leads to a configured provider; its wake-ups wait", "registration", uint64(j.id))
		err = errNothing
	}
	return reg, err
}

// usable leaves the routes that may be used for a job: those that are configured
// here and, but for a challenge, proven.
func (d *dispatcher) usable(j *job, reg registration) (registration, error) {
	if j.kind == pushwire.Challenge {
		if j.route >= len(reg.routes) || reg.routes[j.route].proven || d.lines[reg.routes[j.route].provider] == nil {
			return reg, errNothing
		}
		return reg, nil
	}
	if reg.state != confirmed {
		return reg, errNothing // it is rung again once it is
	}
	useless := func(r route) bool { return !r.proven || d.lines[r.provider] == nil }
	if slices.ContainsFunc(reg.routes, useless) { // rarely; the routes are the registry's
		reg.routes = slices.DeleteFunc(slices.Clone(reg.routes), useless)
	}
	if len(reg.routes) == 0 {
		return reg, errNoRoute
	}
	return reg, nil
}

// load decides what an attempt is to carry.
func (d *dispatcher) load(j *job, reg registration) (cargo, error) {
	d.mu.Lock()
	c := cargo{kind: j.kind, reg: reg, route: j.route, dismiss: slices.Clone(j.dismiss)}
	repeat, heir := j.repeat, j.heir
	d.mu.Unlock()
	if c.kind == pushwire.Challenge {
		return c, nil
	}
	w, err := d.box.compose(j.id, j.wake, repeat)
	if errors.Is(err, errNothing) && len(c.dismiss) > 0 {
		c.kind = pushwire.Dismiss
		return c, d.hush(j.id, c)
	}
	if err != nil {
		return c, err
	}
	if j.wake == nil || j.wake.seq != w.seq {
		j.nonce = nonce()
	}
	w.fresh = w.fresh && !heir // its twin may wait at the service
	c.wake = w
	return c, nil
}

// hush returns a hushed if a dismissal has to wait: for the device's quiet
// budget, or until it has fetched what it was woken for, as a service with such a
// budget keeps one notification for a device that is offline, the newest.
func (d *dispatcher) hush(id registrationID, c cargo) error {
	s, err := d.box.status(id)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	quiet := &d.lines[c.reg.routes[c.route].provider].quiet
	pause := quiet.wait(time.Now(), id)
	if s.unread > 0 {
		pause = max(pause, quiet.budget.Every) // or until it fetches
	}
	if pause <= 0 {
		return nil
	}
	return hushed(pause)
}

// hushed is why a dismissal is not sent now, and for how long.
type hushed time.Duration

func (hushed) Error() string { return "a dismissal has to wait" }

// nonce is 128 random bits in 22 characters.
func nonce() string {
	var b [16]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// notification seals an attempt's cargo.
func (d *dispatcher) notification(j *job, c cargo) (Notification, error) {
	n := Notification{Address: c.reg.routes[c.route].address, CollapseID: c.reg.collapse, TTL: d.cfg.TTL, Urgent: true, ID: j.nonce}
	p := pushwire.Payload{Kind: c.kind}
	switch c.kind {
	case pushwire.Messages:
		p.Seq, p.Hashes, p.More = c.wake.seq, c.wake.hashes, c.wake.more
		n.Visible, n.Fresh = true, c.wake.fresh
	case pushwire.Dismiss:
		// An id of its own: it must not replace a wake-up that waits for the device.
		p.Hashes = c.dismiss
		n.CollapseID, n.Urgent, n.ID = "d"+c.reg.collapse, false, nonce()
	case pushwire.Challenge:
		p.Code = j.code
		if j.nonce == "" {
			j.nonce = nonce()
		}
		n.ID = j.nonce
	}
	var err error
	if c.reg.plain {
		n.Body, err = pushwire.PlainPayload(p)
	} else {
		d.sealing <- struct{}{}
		n.Body, err = pushwire.SealPayload(p, c.reg.sealKey)
		<-d.sealing
	}
	if err == nil && len(n.Body) > MaxBody {
		err = fmt.Errorf("body of %d bytes, at most %d", len(n.Body), MaxBody)
	}
	return n, err
}

// attempt asks the provider, within the time for it, and survives its panics.
func (d *dispatcher) attempt(line *line, n Notification) (v Verdict) {
	ctx, cancel := context.WithTimeout(d.ctx, d.cfg.AttemptTimeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			// Not p: it may hold what was to be sent.
			d.log.Error("provider panicked", "provider", line.name)
			v = Verdict{Class: Retry, Reason: "panic"}
		}
	}()
	return line.Push(ctx, n)
}

// land takes an attempt off the lane's account, after its job was sent on, and
// lets the next begin. The caller holds mu.
func (d *dispatcher) land(l *lane, now time.Time) {
	l.flying--
	d.flying--
	l.line.flying.Dec()
	d.offer(l)
	d.tidy(l, now)
	d.schedule(now)
}

// abort ends an attempt that was not made.
func (d *dispatcher) abort(l *lane, j *job, err error) {
	now := time.Now()
	if errors.Is(err, errUnregistered) {
		// Its end was, or is about to be, told to the outbox; unless the registry
		// could not read it, which passes.
		if s, unread := d.box.status(j.id); unread == nil && s.pending == 0 || j.kind == pushwire.Challenge {
			err = errNothing
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	l.restore()
	again := j.again
	j.again = false
	pause, quiet := errors.AsType[hushed](err)
	switch {
	case errors.Is(err, errOtherLane), (errors.Is(err, errReserving) || quiet) && again:
		d.enqueue(j, now)
	case errors.Is(err, errReserving):
		j.state = waiting // until it is rung
	case quiet:
		j.cause = causeQuiet
		d.wait(j, now.Add(time.Duration(pause)))
	case errors.Is(err, errNothing):
		j.repeat, j.step, j.heir, j.dead, j.failed, j.cause = false, false, false, nil, 0, ""
		if again {
			d.enqueue(j, now)
		} else {
			d.finish(j, now)
		}
	default:
		j.cause = causeDisk
		j.failed++
		d.log.Error("cannot read what to wake a device for", "err", err)
		d.wait(j, retryBackoff.after(now, j.failed))
	}
	d.land(l, now)
}

// settle obeys a verdict: tells the outbox, the lane's breaker and the
// provider's gate, and decides how the job goes on.
func (d *dispatcher) settle(l *lane, j *job, c cargo, v Verdict, took time.Duration) {
	now := time.Now()
	d.m.attempts.WithLabelValues(l.key.provider, v.Class.String(), d.m.reason(v.Reason)).Inc()
	d.m.attemptTime.WithLabelValues(l.key.provider).Observe(took.Seconds())

	// The outbox first, or the job would be sent on for what is done.
	if c.kind == pushwire.Messages {
		switch {
		case v.Class == Delivered:
			d.delivered(l, j, c, now)
		case v.Class == MessageBad && c.last():
			d.box.undeliverable(j.id, c.wake, v.Reason)
		}
	}
	d.mu.Lock()
	d.judge(l, j, c, v, now)
	killed := d.next(l, j, c, v, now)
	d.land(l, now)
	d.mu.Unlock()

	if killed {
		d.m.killed.WithLabelValues(l.key.provider).Inc()
		at := v.At
		if at.IsZero() {
			at = now
		}
		d.dir.kill(j.id, v.Reason, at) // which tells the outbox
	}
}

// delivered records that a provider accepted a wake-up, and how long that took.
func (d *dispatcher) delivered(l *lane, j *job, c cargo, now time.Time) {
	for _, received := range d.box.accepted(j.id, c.wake, l.key.provider, c.climb(), now) {
		latency := now.Sub(received)
		d.m.acceptSeconds.WithLabelValues(l.key.provider).Observe(latency.Seconds())
		if latency > PromisedLatency {
			d.mu.Lock()
			cause := j.cause
			d.mu.Unlock()
			if cause == "" {
				cause = causeNone
			}
			d.m.late.WithLabelValues(l.key.provider, cause).Inc()
		}
	}
}

// judge tells the lane's breaker and the provider's gate. The caller holds mu.
func (d *dispatcher) judge(l *lane, j *job, c cargo, v Verdict, now time.Time) {
	paused := false
	switch v.Class {
	case Delivered:
		l.breaker.success()
		l.line.gate.success(now, j.id)
		if c.kind != pushwire.Messages {
			l.line.quiet.take(now, j.id)
		}
	case Retry:
		paused = l.breaker.failure(now, j.id)
	case RetryAt:
		paused = l.breaker.pause(now, v.At)
	case ProviderBroken:
		paused = l.breaker.open(now)
	case TokenDead:
		if c.kind != pushwire.Challenge && !older(v, c) { // of what strangers register, many are dead
			l.line.gate.verdict(now, j.id)
		}
	}
	if paused {
		d.m.opened.WithLabelValues(l.key.provider).Inc()
		level := slog.LevelWarn
		if v.Class == ProviderBroken && !l.line.broken {
			level = slog.LevelError
		}
		d.log.Log(d.ctx, level, "lane of a push provider paused", "provider", l.key.provider,
			"verdict", v.Class, "reason", d.m.reason(v.Reason), "pause", l.breaker.until.Sub(now).Round(time.Millisecond))
	}
	l.line.broken = v.Class == ProviderBroken
	if mass := l.line.gate.mass(now); mass != l.line.gate.frozen {
		l.line.gate.frozen = mass
		if mass {
			d.m.frozen.WithLabelValues(l.key.provider).Set(1)
			d.log.Error("push provider calls too many addresses dead to be believed; no registration is removed",
				"provider", l.key.provider, "devices", len(l.line.gate.dead), "window", gateWindow)
		} else {
			d.m.frozen.WithLabelValues(l.key.provider).Set(0)
			d.log.Warn("push provider's dead verdicts count again", "provider", l.key.provider)
		}
	}
}

// next decides how a job goes on after an attempt, and whether its registration
// is dead. The caller holds mu.
func (d *dispatcher) next(l *lane, j *job, c cargo, v Verdict, now time.Time) (killed bool) {
	switch c.kind {
	case pushwire.Challenge:
		return d.nextChallenge(l, j, c, v, now)
	case pushwire.Dismiss:
		if v.Class == Delivered || v.Class == MessageBad || v.Class == Absent && c.last() || j.failed+1 >= sideAttempts {
			if v.Class != Delivered {
				d.m.dropped.WithLabelValues("dismiss").Inc()
			}
			j.dismiss = slices.DeleteFunc(j.dismiss, func(h common.Hash) bool { return slices.Contains(c.dismiss, h) })
		}
	case pushwire.Messages:
		if j.wake == nil || j.wake.seq != c.wake.seq {
			j.accepted = c.wake.again
		}
		j.wake = &c.wake
		if j.ladder == nil && !c.last() && v.Class != TokenDead && v.Class != MessageBad && v.Class != Absent {
			d.climb(j, l.line.patience)
		}
	}
	again, step := j.again, j.step
	j.again, j.step = false, false
	switch v.Class {
	case Delivered:
		j.spent[c.route].take(now, l.line.budget)
		j.failed, j.cause, j.repeat, j.blurred = 0, "", false, false
		delete(j.dead, c.route)
		if c.kind == pushwire.Messages {
			j.accepted, j.heir = true, false
		}
	case TokenDead:
		j.failed++
		if d.buried(l, j, c, v, now) {
			d.finish(j, now)
			return true
		}
		if !c.last() {
			d.stepTo(j, c.route+1, now)
			return false
		}
		j.cause = causeProvider
		d.wait(j, deadBackoff.after(now, j.failed))
		return false
	case MessageBad:
		if c.kind == pushwire.Messages && !c.last() {
			d.stepTo(j, c.route+1, now)
			return false
		}
		j.failed, j.cause, j.repeat = 0, "", false
	case Absent:
		if d.absent(l, j, c, v, now) {
			return false
		}
	default:
		j.failed++
		switch {
		case step && !c.last():
			d.stepTo(j, c.route+1, now)
			return false
		case c.last() && c.route > 0 && j.accepted && j.failed >= sideAttempts:
			j.repeat = false // another route took it
		case c.last() && c.route > 0 && !j.accepted && v.Class == Retry:
			j.route = 0 // no route took it: all of them again
			d.later(l, j, v, now)
			return false
		default:
			d.later(l, j, v, now)
			return false
		}
	}
	switch {
	case step && !c.last() && c.kind == pushwire.Messages:
		d.stepTo(j, c.route+1, now)
	case again || len(j.dismiss) > 0:
		d.enqueue(j, now)
	default:
		d.finish(j, now)
	}
	return false
}

// absent goes on with a job whose device has no link. It reports whether the
// job was sent on. The caller holds mu.
func (d *dispatcher) absent(l *lane, j *job, c cargo, v Verdict, now time.Time) bool {
	switch {
	case !c.last():
		// At once, and it is no step of the ladder: nothing was accepted yet.
		j.route = c.route + 1
		d.enqueue(j, now)
	case c.kind == pushwire.Dismiss, j.accepted:
		j.repeat = false // it finds out with its next fetch; or another route took it
		return false
	case c.route > 0:
		j.route = 0 // no route took it: all of them again
		j.failed++
		v.Class = Retry
		d.later(l, j, v, now)
	default:
		j.cause = causeAbsent
		d.wait(j, now.Add(absentPause)) // or until it is there
	}
	return true
}

// nextChallenge goes on with a challenge. A dead address ends a registration
// that has no other and is not confirmed: its client is told at once, and the
// mass-deletion gate, which is about devices that were reached, stops it only if it
// is frozen. The caller holds mu.
func (d *dispatcher) nextChallenge(l *lane, j *job, c cargo, v Verdict, now time.Time) (killed bool) {
	j.failed++
	switch v.Class {
	case Retry, RetryAt, ProviderBroken:
		if j.failed < sideAttempts {
			d.later(l, j, v, now)
			return false
		}
	}
	if v.Class != Delivered {
		d.m.dropped.WithLabelValues("challenge").Inc()
	}
	d.finish(j, now)
	return v.Class == TokenDead && c.reg.state == unconfirmed && len(c.reg.routes) == 1 && !l.line.gate.frozen
}

// later tries again: after the device's own backoff if only it failed, and
// with the lane if that is paused: behind the others, who may fare better as the
// next probe. Services say for the project what is true of one device alone, such
// as FCM's QUOTA_EXCEEDED, and that device would be every probe.
// The caller holds mu.
func (d *dispatcher) later(l *lane, j *job, v Verdict, now time.Time) {
	if v.Class != Retry {
		j.cause = causeLane
		d.queue(l, j, now)
		return
	}
	j.cause = causeProvider
	if v.At.IsZero() && l.breaker.capacity(now) == 0 {
		d.queue(l, j, now)
		return
	}
	failed := j.failed
	if failed > 3 {
		failed-- // 1, 2, 4, 4 s, then 8, 16 …: an attempt before PromisedLatency is over
	}
	at := retryBackoff.after(now, failed)
	if limit := now.Add(maxPause); v.At.After(limit) {
		at = limit
	} else if v.At.After(at) {
		at = v.At
	}
	d.wait(j, at)
}

// buried decides whether a dead verdict ends the registration: if the address
// was not proven current since, if the provider said it twice or with a
// time, if it works for others, and if no other route is left. The caller holds mu.
func (d *dispatcher) buried(l *lane, j *job, c cargo, v Verdict, now time.Time) bool {
	held := func(cause string) bool {
		d.m.gated.WithLabelValues(l.key.provider, cause).Inc()
		return false
	}
	if older(v, c) {
		return held("older")
	}
	if j.dead == nil {
		j.dead = make(map[int]time.Time)
	}
	since, again := j.dead[c.route]
	if !again {
		j.dead[c.route] = now
		since = now
	}
	if !v.At.IsZero() {
		since = now.Add(-gateWindow) // the provider's own memory is the second opinion
	}
	gate := &l.line.gate
	switch {
	case gate.frozen:
		return held("mass")
	case !again && v.At.IsZero():
		return held("unconfirmed")
	case !gate.working(now, since):
		return held("no_success")
	case len(j.dead) < len(c.reg.routes):
		return held("other_route")
	}
	return true
}

// older reports that an address was registered again after it is said to have died.
func older(v Verdict, c cargo) bool { return !v.At.IsZero() && v.At.Before(c.reg.registered) }

// climb lets the next route be tried if no fetch comes in time. The caller holds mu.
func (d *dispatcher) climb(j *job, patience time.Duration) {
	var t *time.Timer
	t = time.AfterFunc(patience, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if j.ladder != t || d.stopped {
			return
		}
		j.ladder = nil
		if j.state == flying {
			j.step = true
			return
		}
		d.stepTo(j, j.route+1, time.Now())
	})
	j.ladder = t
}

// stepTo repeats the wake-up through another route. The caller holds mu.
func (d *dispatcher) stepTo(j *job, route int, now time.Time) {
	halt(j.ladder)
	j.ladder = nil
	j.route, j.repeat, j.failed = route, true, 0
	d.m.ladder.Inc()
	d.enqueue(j, now)
}
