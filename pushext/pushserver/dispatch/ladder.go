package dispatch

import (
	"time"

	"whisperpush/pushext/pushserver/registration"
)

// climb is the route to be tried if no fetch comes, 0 for none.
func (c *cargo) climb() int {
	if c.last() {
		return 0
	}
	return c.route + 1
}

// stepTo repeats the wake-up through another route. The caller holds mu.
func (d *Dispatcher) stepTo(j *job, route int, now time.Time) {
	halt(j.ladder)
	j.ladder = nil
	j.route, j.repeat, j.failed = route, true, 0
	d.m.ladder.Inc()
	d.enqueue(j, now)
}

// Climb goes on with the ladder of a device that was woken before a restart or a sign of
// life, and has not fetched. route is tried if no fetch comes in time; that time is short
// where a link was rung.
func (d *Dispatcher) Climb(id registration.ID, route int) {
	reg, err := d.lookup(id)
	d.mu.Lock()
	defer d.mu.Unlock()
	patience := d.cfg.Load().LadderDelay
	if err == nil && route <= len(reg.Routes) {
		patience = d.line(reg.Routes[route-1].Provider).patience
	}
	j := d.job(id)
	if j.state != idle || j.ladder != nil {
		return // what it is woken for now has a ladder, or will
	}
	j.route, j.era = route-1, d.era.Load()
	d.await(j, patience)
}

// await lets the next route be tried if no fetch comes in time. The caller holds mu.
func (d *Dispatcher) await(j *job, patience time.Duration) {
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
