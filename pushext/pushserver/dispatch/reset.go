package dispatch

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"whisperpush/pushext"
)

// reset gives a line an instance of its provider and the settings of its devices. The
// caller holds Dispatcher.mu, or nobody else knows the line yet.
func (p *line) reset(to pushext.Provider, cfg *Delivery) {
	p.provider.Store(&to)
	p.patience = cfg.LadderDelay
	if p.linked {
		p.patience = cfg.LinkDelay
	}
	p.budget, p.pace = cfg.budget(p.name), cfg.pace(to)
}

// takes reports whether another instance of the provider can replace a line's: what the
// line remembers of its devices has to mean the same.
func (p *line) takes(to pushext.Provider) bool {
	_, linked := to.(pushext.Linked)
	_, laner := to.(pushext.Laner)
	return linked == p.linked && laner == (p.laner != nil) && collapsible(to) == p.collapsible && quiet(to) == p.quiet.budget
}

// knows refuses settings for unknown providers.
func knows(cfg Delivery, providers []pushext.Provider) error {
	known := func(name string) bool {
		return slices.ContainsFunc(providers, func(p pushext.Provider) bool { return p.Name() == name })
	}
	for name := range cfg.Budgets {
		if !known(name) {
			return fmt.Errorf("%w: budget of unknown provider %q", errDelivery, name)
		}
	}
	for name := range cfg.Rates {
		if !known(name) {
			return fmt.Errorf("%w: rate of unknown provider %q", errDelivery, name)
		}
	}
	return nil
}

// CanReset returns why Reset cannot take these settings, which are complete, and these
// providers.
func (d *Dispatcher) CanReset(cfg Delivery, providers []pushext.Provider) error {
	if err := checkProviders(providers); err != nil {
		return err
	}
	for _, p := range providers {
		if l := d.line(p.Name()); l != nil && !l.takes(p) {
			return fmt.Errorf("the provider %q wakes devices under other rules than before", p.Name())
		}
	}
	if err := fits(*d.cfg.Load(), providers); err != nil {
		return err
	}
	return knows(cfg, providers)
}

// Reset goes on with other settings and providers, which CanReset has passed. Nothing
// that waits is lost or sent twice: an attempt under way ends with the instance and the
// settings it began with, and later ones with the new. Where a provider has another
// instance a pause ends with one attempt as a probe, because its cause may be mended.
// What waits for a provider that was removed goes through the next route of its device;
// without one its matches end, counted as undeliverable. A provider that comes back goes
// on where it was. Concurrency, HostConcurrency and MaxInFlight stay as they were.
func (d *Dispatcher) Reset(cfg Delivery, providers []pushext.Provider) {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := d.cfg.Load()
	cfg.AttemptTimeout, cfg.Concurrency, cfg.HostConcurrency, cfg.MaxInFlight = before.AttemptTimeout, before.Concurrency, before.HostConcurrency, before.MaxInFlight
	d.cfg.Store(&cfg)
	now := time.Now()
	lines := maps.Clone(*d.lines.Load())
	fresh, there := make(map[*line]bool), make(map[*line]bool)
	others := false // providers came or went
	for _, p := range providers {
		l := lines[p.Name()]
		if l == nil {
			l = d.newLine(p, &cfg)
			lines[p.Name()] = l
			others = true
		} else {
			if fresh[l] = *l.provider.Load() != p; fresh[l] {
				l.breaker.probe(now)
			}
			l.reset(p, &cfg)
			others = l.gone.Swap(false) || others
		}
		there[l] = true
	}
	for _, l := range lines {
		if !there[l] && !l.gone.Swap(true) {
			others = true
			l.breaker = breaker{}
		}
	}
	d.lines.Store(&lines)
	if others {
		d.era.Add(1)
		d.divide()
	}
	for _, l := range d.lanes {
		switch {
		case l == d.lobby:
		case l.line.gone.Load(): // what is in it is sent on
			l.breaker = newBreaker(max(l.line.limit, 1))
			d.offer(l)
		case others && l.site == nil && l.breaker.limit != l.line.limit:
			l.breaker.limit = l.line.limit
			l.breaker.allowed = min(max(l.breaker.allowed, 1), l.line.limit)
			d.offer(l)
		case fresh[l.line]:
			l.breaker.probe(now)
			d.offer(l)
		}
	}
	if others {
		for _, j := range d.jobs { // those that wait for a provider that went
			if j.state == waiting && j.timer != nil && j.lane != nil && j.lane.line.gone.Load() && (j.cause == causeProvider || j.cause == causeAbsent) {
				j.failed = 0
				d.enqueue(j, now)
			}
		}
	}
	d.schedule(now)
}

// renumber makes a job whose route was numbered among other providers begin with the
// first one. What it has spent on any route counts for all, so that no push service is
// asked more than it allows. The caller holds mu.
func (d *Dispatcher) renumber(j *job) {
	era := d.era.Load()
	if j.era == era {
		return
	}
	j.era = era
	j.route, j.doubts = 0, nil
	most := j.spent[0]
	for _, b := range j.spent {
		if b.Full.After(most.Full) {
			most = b
		}
	}
	for i := range j.spent {
		j.spent[i] = most
	}
}
