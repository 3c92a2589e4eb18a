package dispatch

import (
	"slices"
	"time"

	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushwire"
)

const (
	// failingAfter is how many attempts in a row must fail before a provider is said to
	// fail. Single failures mean nothing.
	failingAfter = 3
	// failingHosts and failingFor are for hosts that users name, of which some are always
	// away: that many different ones must have failed, with nobody reached at any host for
	// that long.
	failingHosts = 3
	failingFor   = time.Minute
	// sayEvery is the least time between two reports that a provider fails. A failure that
	// begins within it is reported at its end, if it still goes on.
	sayEvery = 10 * time.Minute
)

// health is what the log tells an operator about a provider: that it fails, with the
// cause and what to do about it, that it is paused, and that it works again. Each is told
// once, and seldom enough that a service that comes and goes does not fill the log.
// Guarded by Dispatcher.mu.
type health struct {
	failed int                 // attempts in a row
	since  time.Time           // of the first of those
	hosts  []registration.Lane // different ones that failed, failingHosts of them at most
	told   bool                // the log says that it fails
	cause  string              // why the latest of those failed
	paused bool                // the log says that it is paused
	mute   time.Time           // the log says nothing of a failure before
	frozen time.Time           // the log says nothing of dead addresses before
}

// evident reports whether the provider fails, and not only this or that attempt.
func (h *health) evident(p *line, v pushext.Verdict, now time.Time) bool {
	switch {
	case p.laner != nil:
		return h.failed >= failingAfter && len(h.hosts) >= failingHosts && now.Sub(h.since) >= failingFor
	case v.Class == pushext.ProviderBroken:
		return true
	}
	return h.failed >= failingAfter
}

// notice logs what a verdict shows about its provider. paused says that it has just
// paused the lane, or all lanes. The caller holds mu.
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

// noticeFrozen logs that a lane's dead verdicts are not believed, or that they are again.
// The caller holds mu.
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
