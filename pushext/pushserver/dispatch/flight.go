package dispatch

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/outbox"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushwire"
)

// flight is an attempt in flight. In a lane without a site, one stands for all. Guarded
// by Dispatcher.mu, except lane.
type flight struct {
	lane *lane

	// For attempts of a share:
	since  time.Time
	place  *list.Element      // in share.flights, nil once it gave way
	cancel context.CancelFunc // nil until the attempt is made
}

// cargo is what one attempt carries.
type cargo struct {
	kind    pushwire.Kind
	wake    outbox.Wakeup // of Messages
	dismiss []common.Hash // of Dismiss, as in job.dismiss
	reg     registration.Registration
	route   int // of reg
}

// last reports that the registration has no further route.
func (c *cargo) last() bool { return c.route >= len(c.reg.Routes)-1 }

var (
	errUnregistered = errors.New("not registered")
	errNoRoute      = errors.New("no route leads to a configured provider")
	errOtherLane    = errors.New("the route leads to another lane now")
)

// fly makes one attempt for a job that is flying, and settles it.
func (d *Dispatcher) fly(f *flight, j *job) {
	defer d.wg.Done()
	l := f.lane
	if d.hold != nil && l != d.lobby {
		if err := d.hold(); err != nil { // the dispatcher is being stopped
			d.mu.Lock()
			defer d.mu.Unlock()
			d.land(f, time.Now())
			return
		}
	}
	if j.errand != nil {
		d.flyChallenge(f, j)
		return
	}
	if j.trial != nil {
		d.flyTrial(f, j)
		return
	}
	reg, err := d.lookup(j.id)
	if err != nil {
		d.abort(f, j, err)
		return
	}
	if j.era != d.era.Load() {
		d.mu.Lock()
		d.renumber(j)
		d.mu.Unlock()
	}
	key := d.keyOf(reg, j)
	if l == d.lobby {
		now := time.Now()
		d.mu.Lock()
		defer d.mu.Unlock()
		j.state = idle
		d.admit(j, key, now)
		d.land(f, now)
		return
	}
	if key != l.key {
		d.abort(f, j, errOtherLane)
		return
	}
	c, err := d.load(l.line, j, reg)
	if err != nil {
		d.abort(f, j, err)
		return
	}
	n, err := d.notification(j, c)
	if err != nil {
		// As final as a provider's verdict, and not expected: the registry has
		// checked the seal key.
		d.log.Error("cannot seal a wake-up", "registration", uint64(j.id), "err", err)
		d.settle(f, j, c, pushext.Verdict{Class: pushext.MessageBad, Reason: "cannot seal"}, 0)
		return
	}
	d.way(j, "tried", slog.String("provider", l.key.Provider), slog.Int("route", c.route+1), slog.Uint64("number", c.wake.Seq))
	start := time.Now()
	v := d.attempt(f, n)
	d.settle(f, j, c, v, time.Since(start))
}

// lookup asks the registry for a registration, with the routes through which its
// device may be woken.
func (d *Dispatcher) lookup(id registration.ID) (registration.Registration, error) {
	reg, ok := d.dir.Get(id)
	if !ok {
		return reg, errUnregistered
	}
	all := reg
	reg, err := d.usable(reg)
	if errors.Is(err, errNoRoute) && d.withdrawn(all) {
		d.box.Withdrawn(id)
		return reg, outbox.ErrNothing
	}
	if errors.Is(err, errNoRoute) {
		d.log.Warn("no route of a registration leads to a configured provider; its wake-ups wait", "registration", uint64(id))
		err = outbox.ErrNothing
	}
	return reg, err
}

// usable keeps the routes through which a device may be woken: those that are proven, and
// whose provider is configured here.
func (d *Dispatcher) usable(reg registration.Registration) (registration.Registration, error) {
	if reg.State != registration.Active || reg.Plain && d.cfg.Load().SealedOnly {
		return reg, outbox.ErrNothing // it is rung again once it is active, or has a seal key
	}
	useless := func(r registration.Route) bool { return !d.leads(r) }
	if slices.ContainsFunc(reg.Routes, useless) { // rarely; the slice belongs to the registry
		reg.Routes = slices.DeleteFunc(slices.Clone(reg.Routes), useless)
	}
	if len(reg.Routes) == 0 {
		return reg, errNoRoute
	}
	return reg, nil
}

// leads reports whether a route is proven and its provider configured here.
func (d *Dispatcher) leads(r registration.Route) bool {
	l := d.line(r.Provider)
	return r.Proven && l != nil && !l.gone.Load()
}

// withdrawn reports whether a proven route of a registration led to a provider that was
// taken out of the settings since the start.
func (d *Dispatcher) withdrawn(reg registration.Registration) bool {
	return slices.ContainsFunc(reg.Routes, func(r registration.Route) bool {
		l := d.line(r.Provider)
		return r.Proven && l != nil && l.gone.Load()
	})
}

// load decides what an attempt through a provider is to carry.
func (d *Dispatcher) load(p *line, j *job, reg registration.Registration) (cargo, error) {
	d.mu.Lock()
	c := cargo{kind: pushwire.Messages, reg: reg, route: j.route, dismiss: slices.Clone(j.dismiss)}
	repeat, heir := j.repeat, j.heir
	d.mu.Unlock()
	w, err := d.box.Compose(j.id, j.wake, repeat, p.collapsible, reg.Chain)
	if errors.Is(err, outbox.ErrNothing) && len(c.dismiss) > 0 {
		c.kind = pushwire.Dismiss
		return c, d.hush(j.id, c)
	}
	if err != nil {
		return c, err
	}
	if j.wake == nil || j.wake.Seq != w.Seq {
		j.nonce = nonce()
	}
	w.Unreplaced = w.Unreplaced && !heir // its twin may wait at the service
	c.wake = w
	return c, nil
}

// hush returns a hushed if a dismissal has to wait: for the device's quiet budget, or
// until the device has fetched what it was woken for, because a service with such a
// budget keeps only the newest notification for a device that is offline.
func (d *Dispatcher) hush(id registration.ID, c cargo) error {
	s, err := d.box.Status(id)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	quiet := &d.line(c.reg.Routes[c.route].Provider).quiet
	pause := quiet.wait(time.Now(), id)
	if s.Unread > 0 {
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

// notification seals an attempt's cargo.
func (d *Dispatcher) notification(j *job, c cargo) (pushext.Notification, error) {
	to, number := c.reg.Routes[c.route], j.nonce
	n := pushext.Notification{Address: to.Address, TTL: d.cfg.Load().TTL, Urgent: true}
	p := pushwire.Payload{Kind: c.kind}
	switch c.kind {
	case pushwire.Messages:
		p.Seq, p.Hashes, p.More = c.wake.Seq, c.wake.Hashes, c.wake.More
		n.Visible, n.Unreplaced = true, c.wake.Unreplaced
	case pushwire.Dismiss:
		p.Hashes = c.dismiss
		n.Urgent, number = false, nonce()
	case pushwire.Challenge:
		p.Code, p.Server, p.Account = j.errand.Code[:], j.errand.Server[:], c.reg.Key[:]
	}
	seen := faceOf(c.reg.Collapse, c.kind, to, number)
	n.CollapseID, n.ID = seen.collapse, seen.id
	var err error
	switch {
	case c.reg.Plain:
		n.Body, err = pushwire.PlainPayload(p)
	case c.kind == pushwire.Messages && c.wake.Key != nil:
		n.Body, err = pushwire.SealChained(p, c.reg.SealKey, *c.wake.Key)
	default:
		n.Body, err = d.sealers.seal(p, c.reg.ID, c.reg.SealKey, time.Now())
	}
	if err == nil && len(n.Body) > pushext.MaxBody {
		err = fmt.Errorf("body of %d bytes, at most %d", len(n.Body), pushext.MaxBody)
	}
	return n, err
}

// attempt calls the provider, within AttemptTimeout, and survives its panics.
func (d *Dispatcher) attempt(f *flight, n pushext.Notification) (v pushext.Verdict) {
	line := f.lane.line
	ctx, cancel := context.WithTimeout(d.ctx, d.cfg.Load().AttemptTimeout)
	defer cancel()
	if f.lane.site != nil {
		d.mu.Lock()
		f.cancel = cancel
		gaveWay := f.place == nil
		d.mu.Unlock()
		if gaveWay {
			cancel()
		}
	}
	defer func() {
		if p := recover(); p != nil {
			// Not p: it may hold what was to be sent.
			d.log.Error("provider panicked", "provider", line.name)
			v = pushext.Verdict{Class: pushext.Retry, Reason: "panic"}
		}
	}()
	return (*line.provider.Load()).Push(ctx, n)
}

// land counts an attempt as over, after its job was sent on, and lets the next begin. The
// caller holds mu.
func (d *Dispatcher) land(f *flight, now time.Time) {
	l := f.lane
	if l.site != nil {
		l.site.share.land(f, now)
	}
	l.flying--
	d.flying--
	l.line.flying.Dec()
	if l.line.attempts--; l.line.attempts == 0 && l.line.landed != nil {
		close(l.line.landed)
		l.line.landed = nil
	}
	d.offer(l)
	d.tidy(l, now)
	d.schedule(now)
}

// abort ends an attempt that was not made.
func (d *Dispatcher) abort(f *flight, j *job, err error) {
	now := time.Now()
	if errors.Is(err, errUnregistered) && d.dir.Absent(j.id) {
		// It ended while it was matched or woken, and its matches are nobody's any more.
		// Otherwise the registry could not read it, which passes.
		err = d.box.Forget(j.id, outbox.OutcomeGone, outbox.ReasonAbsent)
		if err == nil {
			err = outbox.ErrNothing
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	f.lane.restore()
	again, there := j.again || j.there, j.there
	j.again, j.there = false, false
	if there {
		j.anew()
	}
	pause, quiet := errors.AsType[hushed](err)
	switch {
	case errors.Is(err, errOtherLane), (errors.Is(err, outbox.ErrReserving) || quiet) && again:
		d.enqueue(j, now)
	case errors.Is(err, outbox.ErrReserving):
		j.state = waiting // until it is rung
	case quiet:
		j.cause = causeQuiet
		d.wait(j, now.Add(time.Duration(pause)))
	case errors.Is(err, outbox.ErrNothing):
		j.repeat, j.step, j.heir, j.doubts, j.failed, j.died, j.cause = there, false, false, nil, 0, 0, ""
		if again {
			d.enqueue(j, now)
		} else {
			d.finish(j, now)
		}
	default:
		j.cause = causeDisk
		j.failed++
		d.log.Error("cannot read what to wake a device for", "err", err)
		d.wait(j, retryBackoff.After(now, j.failed))
	}
	d.land(f, now)
}
