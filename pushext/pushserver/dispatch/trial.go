package dispatch

import (
	"maps"
	"time"

	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/spacing"
	"whisperpush/pushext/pushwire"
)

// trialBudget is how often a device may ask for test pushes, one on each of its routes: three
// times at once, then once in ten minutes. A test counts against the device's budgets as any
// push does, and none is sent where one of them is spent.
var trialBudget = pushext.Budget{Burst: 3, Every: 10 * time.Minute}

const (
	// maxTrials bounds the devices whose test pushes are remembered. To make room, those
	// that may ask as often as ever are forgotten; without room, no test push is sent.
	maxTrials = 8192
	// trialPatience is how long a test push may wait for its push service.
	trialPatience = time.Minute
)

// trials are the test pushes of a device. They are in memory: a restart forgets them.
type trials struct {
	spent  spacing.Bucket
	routes map[string]registration.Trial // by provider and token of the route
}

// trial is a test push on its way.
type trial struct {
	route registration.Route
	lane  registration.Lane
	of    *trials
}

func trialKey(r registration.Route) string { return r.Provider + "\x00" + r.Address.Token }

// Test sends one test push through every route in use of a registration, and reports
// whether it does; it does not if too many were asked for.
func (d *Dispatcher) Test(reg registration.Registration) bool {
	reg, err := d.usable(reg)
	if err != nil {
		return false
	}
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	of := d.trials[reg.ID]
	if of == nil {
		if len(d.trials) >= maxTrials {
			maps.DeleteFunc(d.trials, func(_ registration.ID, t *trials) bool { return !now.Before(t.spent.Full) })
		}
		if len(d.trials) >= maxTrials {
			return false
		}
		of = &trials{routes: make(map[string]registration.Trial)}
		d.trials[reg.ID] = of
	}
	if d.stopped || of.spent.Wait(now, trialBudget) > 0 {
		return false
	}
	of.spent.Take(now, trialBudget)
	clear(of.routes) // of addresses that it may not have any more
	device := d.job(reg.ID)
	for i, r := range reg.Routes {
		line := d.line(r.Provider)
		one := registration.Trial{Asked: now, Outcome: pushwire.TestWaiting}
		if device.spent[i].Wait(now, line.budget) > 0 || line.quiet.wait(now, reg.ID) > 0 {
			one.Outcome = pushwire.TestHeld
			of.routes[trialKey(r)] = one
			continue
		}
		device.spent[i].Take(now, line.budget)
		of.routes[trialKey(r)] = one
		t := &trial{route: r, lane: registration.Lane{Provider: line.name}, of: of}
		if line.laner != nil {
			t.lane.Host = line.laner.Lane(r.Address)
		}
		j := &job{id: reg.ID, trial: t, nonce: nonce()}
		j.deadline = time.AfterFunc(trialPatience, func() { d.expire(j) })
		d.enqueue(j, now)
	}
	if device.state == idle && device.ladder == nil {
		d.finish(device, now)
	}
	return true
}

// Trials returns, for each route of a registration, how its latest test push went and
// what is left of its budget, and in left how many test pushes may be asked for now.
func (d *Dispatcher) Trials(reg registration.Registration) (routes []registration.Trial, left int) {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	of, device := d.trials[reg.ID], d.jobs[reg.ID]
	if of == nil {
		of = &trials{}
	}
	if device == nil {
		device = &job{}
	}
	routes = make([]registration.Trial, len(reg.Routes))
	used := 0 // as usable numbers them
	for i, r := range reg.Routes {
		if d.leads(r) {
			routes[i] = of.routes[trialKey(r)]
			routes[i].Budget = device.spent[used].Left(now, d.line(r.Provider).budget)
			used++
		}
	}
	return routes, of.spent.Left(now, trialBudget)
}

// flyTrial makes the one attempt of a test push.
func (d *Dispatcher) flyTrial(f *flight, j *job) {
	reg, err := d.lookup(j.id)
	route := -1
	for i, r := range reg.Routes {
		if err == nil && r.Equal(&j.trial.route) {
			route = i
		}
	}
	if route < 0 { // it ended, or has another address
		now := time.Now()
		d.mu.Lock()
		f.lane.restore()
		d.tried(j, pushext.Verdict{Class: pushext.Retry, Reason: "the route is not in use any more"})
		d.land(f, now)
		d.mu.Unlock()
		return
	}
	c := cargo{kind: pushwire.Canary, reg: reg, route: route}
	n, err := d.notification(j, c)
	v, took := pushext.Verdict{Class: pushext.MessageBad, Reason: "cannot seal"}, time.Duration(0)
	if err == nil {
		start := time.Now()
		v = d.attempt(f, n)
		took = time.Since(start)
	}
	d.observe(f.lane, j, v, took)
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.judge(f.lane, j, c, v, now)
	d.tried(j, v)
	d.land(f, now)
}

// tried notes how a test push went. The caller holds mu.
func (d *Dispatcher) tried(j *job, v pushext.Verdict) {
	j.deadline.Stop()
	key := trialKey(j.trial.route)
	one, asked := j.trial.of.routes[key]
	if !asked {
		return
	}
	one.Outcome, one.Reason = pushwire.TestAccepted, ""
	if v.Class != pushext.Delivered {
		one.Outcome, one.Reason = pushwire.TestFailed, v.Reason
		if one.Reason == "" {
			one.Reason = v.Class.String()
		}
	}
	j.trial.of.routes[key] = one
}
