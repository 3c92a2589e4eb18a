package dispatch

import (
	"cmp"
	"slices"
	"time"
)

// State describes a provider.
type State struct {
	Name    string // as it was configured
	Linked  bool   // it rings devices over their own links, and no service is asked
	Failing bool   // its attempts failed often enough for the log to say so, and none succeeded since
	Paused  bool   // nothing is sent to any of its devices for now
	Held    bool   // nothing is sent because the operator said so
	Trying  int    // attempts under way
	Cause   string // why the latest attempt failed, if none succeeded since: one of the fixed phrases of metrics
	Queued  int    // devices that wait for it, outdated places in its queues included
}

// States are the states of all providers at now, by name.
func (d *Dispatcher) States(now time.Time) []State {
	d.mu.Lock()
	defer d.mu.Unlock()
	lines := *d.lines.Load()
	of := make(map[*line]*State, len(lines))
	for name, p := range lines {
		if p.gone.Load() {
			continue
		}
		of[p] = &State{Name: name, Linked: p.linked, Failing: p.health.told, Cause: p.health.cause, Paused: now.Before(p.breaker.until), Held: p.held, Trying: p.attempts}
	}
	for _, l := range d.lanes {
		state := of[l.line]
		if state == nil {
			continue // the lobby, or of a provider that is gone
		}
		state.Queued += l.waiting()
		state.Paused = state.Paused || l.line.laner == nil && now.Before(l.breaker.until)
	}
	states := make([]State, 0, len(of))
	for _, state := range of {
		states = append(states, *state)
	}
	slices.SortFunc(states, func(a, b State) int { return cmp.Compare(a.Name, b.Name) })
	return states
}

// SilentAfter is how many wake-ups in a row a device may leave unfetched; 0 is any number.
func (d *Dispatcher) SilentAfter() int { return d.cfg.Load().SilentAfter }
