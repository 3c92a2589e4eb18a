package dispatch

import (
	"context"
	"fmt"
	"time"

	"whisperpush/pushext/pushserver/registration"
)

// Hold lets no attempt through a provider begin until Release. Jobs that wait for it
// stay, and attempts under way end by themselves. The error says that there is no such
// provider.
func (d *Dispatcher) Hold(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	l, err := d.named(name)
	if err == nil {
		l.held = true
	}
	return err
}

// Release ends Hold: what waited is sent.
func (d *Dispatcher) Release(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	l, err := d.named(name)
	if err != nil || !l.held {
		return err
	}
	l.held = false
	for _, one := range d.lanes {
		if one.line == l {
			d.offer(one)
		}
	}
	d.schedule(time.Now())
	return nil
}

// Drain is Hold, and returns when no attempt through the provider is under way, or when
// ctx ends.
func (d *Dispatcher) Drain(ctx context.Context, name string) error {
	if err := d.Hold(name); err != nil {
		return err
	}
	for {
		d.mu.Lock()
		l, err := d.named(name)
		if err != nil || l.attempts == 0 {
			d.mu.Unlock()
			return err
		}
		if l.landed == nil {
			l.landed = make(chan struct{})
		}
		landed := l.landed
		d.mu.Unlock()
		select {
		case <-landed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// named returns the line of a provider. The caller holds mu.
func (d *Dispatcher) named(name string) (*line, error) {
	if l := d.line(name); l != nil && !l.gone.Load() {
		return l, nil
	}
	return nil, fmt.Errorf("there is no provider %q", name)
}

// Waiting is what the dispatcher does for a device.
type Waiting struct {
	Provider string // whose turn it is or was last; empty: none's yet
	Trying   bool   // an attempt is under way
	Queued   bool   // it waits in the provider's queue
	Cause    string // what held it up last: one of the causes of metrics; empty: nothing did
	Failed   int    // attempts since the latest that was accepted
}

// Waiting tells what the dispatcher is doing for a device; false if nothing.
func (d *Dispatcher) Waiting(id registration.ID) (w Waiting, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	j := d.jobs[id]
	if j == nil || j.state == idle {
		return Waiting{}, false
	}
	w = Waiting{Trying: j.state == flying, Queued: j.state == queued, Cause: j.cause, Failed: j.failed}
	if j.lane != nil {
		w.Provider = j.lane.key.Provider
	}
	return w, true
}
