package dispatch

import (
	"fmt"
	"time"

	"whisperpush/pushext"
)

// reset gives a line an instance of its provider, and the settings of its devices. The caller holds Dispatcher.mu, or
// nobody else knows the line yet.
func (p *line) reset(to pushext.Provider, cfg *Delivery) {
	p.provider.Store(&to)
	p.patience = cfg.LadderDelay
	if p.linked {
		p.patience = cfg.LinkDelay
	}
	p.budget, p.pace = cfg.budget(p.name), cfg.pace(to)
}

// takes tells whether another instance of the provider can take the place of the one that a line has: what the
// line keeps of its devices was kept under the same rules.
func (p *line) takes(to pushext.Provider) bool {
	_, linked := to.(pushext.Linked)
	_, laner := to.(pushext.Laner)
	return linked == p.linked && laner == (p.laner != nil) && collapsible(to) == p.collapsible && quiet(to) == p.quiet.budget
}

// knows refuses settings of providers that there are not.
func (d *Dispatcher) knows(cfg Delivery) error {
	for name := range cfg.Budgets {
		if d.lines[name] == nil {
			return fmt.Errorf("%w: budget of unknown provider %q", errDelivery, name)
		}
	}
	for name := range cfg.Rates {
		if d.lines[name] == nil {
			return fmt.Errorf("%w: rate of unknown provider %q", errDelivery, name)
		}
	}
	return nil
}

// CanReset tells why Reset cannot take these settings, which are complete, and these providers, of which there has to
// be one for each name that New was given.
func (d *Dispatcher) CanReset(cfg Delivery, providers []pushext.Provider) error {
	if len(providers) != len(d.lines) {
		return fmt.Errorf("%d providers cannot take the places of %d", len(providers), len(d.lines))
	}
	for _, p := range providers {
		l := d.lines[p.Name()]
		if l == nil {
			return fmt.Errorf("there was no provider %q", p.Name())
		}
		if !l.takes(p) {
			return fmt.Errorf("the provider %q wakes devices under other rules than before", p.Name())
		}
	}
	return d.knows(cfg)
}

// Reset goes on with other settings and other instances of the providers, which CanReset has passed. Nothing that waits
// is lost or sent twice: an attempt that is under way ends with the instance and the settings that it began with, and
// what begins later has the new ones. A pause ends where there is
// another instance, for what caused it may be mended: one attempt probes. Concurrency, HostConcurrency and MaxInFlight stay as they were.
func (d *Dispatcher) Reset(cfg Delivery, providers []pushext.Provider) {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := d.cfg.Load()
	cfg.AttemptTimeout, cfg.Concurrency, cfg.HostConcurrency, cfg.MaxInFlight = before.AttemptTimeout, before.Concurrency, before.HostConcurrency, before.MaxInFlight
	d.cfg.Store(&cfg)
	now := time.Now()
	fresh := make(map[*line]bool)
	for _, p := range providers {
		l := d.lines[p.Name()]
		if fresh[l] = *l.provider.Load() != p; fresh[l] {
			l.breaker.probe(now)
		}
		l.reset(p, &cfg)
	}
	for _, l := range d.lanes {
		if fresh[l.line] {
			l.breaker.probe(now)
			d.offer(l)
		}
	}
	d.schedule(now)
}
