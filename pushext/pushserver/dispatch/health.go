package dispatch

import (
	"slices"
	"time"

	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushwire"
)

const (
	// failingAfter is how many attempts in a row must fail before a provider is said
	// to fail. Single ones do, and say nothing.
	failingAfter = 3
	// failingHosts and failingFor are for hosts that users name, of which some are
	// always away: so many different ones must have failed, and nobody was reached
	// at any host for so long.
	failingHosts = 3
	failingFor   = time.Minute
	// sayEvery is how often a provider is said to fail at most. What goes on then,
	// and began within that time, is said at its end.
	sayEvery = 10 * time.Minute
)

// health is what an operator is told of a provider: that it fails, with the cause
// and what to do about it, that it is paused, and that it works again. It is once
// each, and seldom enough that a service that comes and goes fills no log. Guarded
// by Dispatcher.mu.
type health struct {
	failed int                 // attempts in a row
	since  time.Time           // of the first of those
	hosts  []registration.Lane // different ones that failed, failingHosts of them at most
	told   bool                // it was said
	cause  string              // why the latest of those failed
	paused bool                // that too
	mute   time.Time           // nothing is said of a failure before
	frozen time.Time           // nothing is said of dead addresses before
}

// evident reports whether a provider fails, and not this or that attempt.
func (h *health) evident(p *line, v pushext.Verdict, now time.Time) bool {
	switch {
	case p.laner != nil:
		return h.failed >= failingAfter && len(h.hosts) >= failingHosts && now.Sub(h.since) >= failingFor
	case v.Class == pushext.ProviderBroken:
		return true
	}
	return h.failed >= failingAfter
}

// notice tells the operator what a verdict shows of its provider. paused says that the
// lane, or all of them, have just been paused by it. The caller holds mu.
func (d *Dispatcher) notice(l *lane, kind pushwire.Kind, v pushext.Verdict, paused bool, now time.Time) {
	p := l.line
	if p.linked || d.stopped {
		return // there is no service; or attempts are cancelled
	}
	h := &p.health
	switch {
	case v.Class == pushext.Delivered:
		if h.told {
			d.log.Info("push provider works again", "provider", p.name, "after", now.Sub(h.since).Round(time.Second), "failed", h.failed)
		}
		*h = health{mute: h.mute, frozen: h.frozen}
		return
	case v.Class != pushext.Retry && v.Class != pushext.RetryAt && v.Class != pushext.ProviderBroken, p.scope(v) == pushext.ScopeAddress:
		return
	case p.laner != nil && kind == pushwire.Challenge:
		return // of an address that a stranger made up
	}
	if h.failed == 0 {
		h.since = now
	}
	h.failed++
	h.cause = d.m.reason(v.Reason)
	if p.laner != nil {
		paused = paused && p.scope(v) == pushext.ScopeProvider
		if len(h.hosts) < failingHosts && !slices.Contains(h.hosts, l.key) {
			h.hosts = append(h.hosts, l.key)
		}
	}
	event := "push provider fails"
	switch {
	case !h.told && now.Before(h.mute):
		return
	case paused && !h.paused:
		event, h.paused = "push provider is paused", true
	case h.told || !h.evident(p, v, now):
		return
	}
	h.told, h.mute = true, now.Add(sayEvery)
	args := []any{"provider", p.name, "cause", d.m.reason(v.Reason), "failed", h.failed, "for", now.Sub(h.since).Round(time.Second)}
	if h.paused {
		args = append(args, "pause", l.paused().Sub(now).Round(time.Millisecond))
	}
	remedy := v.Remedy()
	if p.laner != nil && p.scope(v) != pushext.ScopeProvider {
		remedy = "users named the hosts that do not answer: if none does, check name resolution, firewall and network; otherwise it is theirs to mend"
	}
	d.log.Warn(event, append(args, "remedy", remedy)...)
}

// noticeFrozen tells the operator that no dead verdict of a lane is believed, or
// that they are again. The caller holds mu.
func (d *Dispatcher) noticeFrozen(l *lane, now time.Time) {
	p := l.line
	args := []any{"provider", p.name}
	switch {
	case p.laner != nil && l.gate.frozen && !now.Before(p.health.frozen):
		p.health.frozen = now.Add(sayEvery)
		d.log.Warn("a host that users named calls too many addresses dead to be believed; no registration there is removed",
			append(args, "devices", len(l.gate.dead), "window", gateWindow)...)
	case p.laner != nil:
	case l.gate.frozen:
		d.log.Error("push provider calls too many addresses dead to be believed; no registration is removed",
			append(args, "devices", len(l.gate.dead), "window", gateWindow,
				"remedy", "see whether credentials and app are the right ones; nobody is lost meanwhile")...)
	default:
		d.log.Warn("push provider's dead verdicts count again", args...)
	}
}
