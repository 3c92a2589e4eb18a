package dispatch

import (
	"log/slog"
	"slices"
	"time"

	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/spacing"
)

// enqueue queues a job in the lane of its route, or in the lobby if that has to be
// looked up on disk. The caller holds mu.
func (d *Dispatcher) enqueue(j *job, now time.Time) {
	if j.errand != nil {
		d.queue(d.laneOf(j.errand.Fare.Lane), j, now)
		return
	}
	if j.trial != nil {
		d.queue(d.laneOf(j.trial.lane), j, now)
		return
	}
	if reg, ok := d.dir.Cached(j.id); ok {
		if reg, err := d.usable(reg); err == nil {
			d.renumber(j)
			d.admit(j, d.keyOf(reg, j), now)
			return
		}
	}
	d.queue(d.lobby, j, now)
}

// queue puts a job into a lane, behind the others. The caller holds mu.
func (d *Dispatcher) queue(l *lane, j *job, now time.Time) {
	d.way(j, "queued", slog.String("provider", l.key.Provider))
	halt(j.timer)
	j.timer = nil
	j.ticket++ // out of whatever queue it was in
	j.state = queued
	before := l.waiting()
	j.lane = l
	l.push(j)
	l.line.queued.Add(float64(l.waiting() - before))
	d.offer(l)
	d.schedule(now)
}

// admit lets a job into the lane of its route, as soon as its budget allows. The caller holds mu.
func (d *Dispatcher) admit(j *job, key registration.Lane, now time.Time) {
	line := d.line(key.Provider)
	cause, at := d.cfg.Load().departure(now, &j.spent[j.route], line.budget, !j.blurred && !line.linked)
	j.blurred = j.blurred || !line.linked && cause != causeBudget
	if cause != "" {
		j.cause = cause
		d.wait(j, at)
		return
	}
	d.queue(d.laneOf(key), j, now)
}

// laneOf returns the lane of a name. The caller holds mu.
func (d *Dispatcher) laneOf(key registration.Lane) *lane {
	l := d.lanes[key]
	if l == nil {
		p := d.line(key.Provider)
		l = &lane{key: key, line: p, breaker: newBreaker(p.limit), gate: gate{doubted: &d.doubted}}
		switch {
		case p.share == nil:
			l.flight = &flight{lane: l}
		case p.linked:
			p.share.enter(l, key.Host)
		default:
			p.share.enter(l, siteOf(key.Host))
		}
		d.lanes[key] = l
		d.m.lanes.Set(float64(len(d.lanes)))
	}
	return l
}

// wait lets a job come back at a time. The caller holds mu.
func (d *Dispatcher) wait(j *job, until time.Time) {
	d.way(j, "waits", slog.String("cause", j.cause), slog.Time("until", until))
	j.state = waiting
	halt(j.timer)
	ticket := j.ticket
	j.timer = time.AfterFunc(time.Until(until), func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if j.state == waiting && j.ticket == ticket {
			d.enqueue(j, time.Now())
		}
	})
}

// finish lets a job rest when nothing is left to do. The caller holds mu.
func (d *Dispatcher) finish(j *job, now time.Time) {
	halt(j.timer)
	j.timer, j.lane, j.state = nil, nil, idle
	j.again, j.blurred, j.crowd = false, false, false
	if j.ladder == nil {
		if j.wake != nil {
			j.wake.Key = nil // nothing is sent under it any more
		}
		d.resting = append(d.resting, j)
	}
	for len(d.resting) > 0 {
		r := d.resting[0]
		if r.state == idle && r.ladder == nil && d.jobs[r.id] == r {
			if slices.ContainsFunc(r.spent[:], func(b spacing.Bucket) bool { return now.Before(b.Full) }) {
				break // its budget is to be remembered
			}
			delete(d.jobs, r.id)
		}
		d.resting[0] = nil
		d.resting = d.resting[1:]
	}
}

// keyOf names the lane of a job's route, one of reg's as lookup returned it.
// The job is flying, or the caller holds mu.
func (d *Dispatcher) keyOf(reg registration.Registration, j *job) registration.Lane {
	if j.route >= len(reg.Routes) {
		j.route = 0 // the registration has fewer than before
	}
	r := reg.Routes[j.route]
	line := d.line(r.Provider)
	key := registration.Lane{Provider: line.name}
	if line.laner != nil {
		key.Host = line.laner.Lane(r.Address)
	}
	return key
}

// offer makes a lane runnable if it has something queued. The caller holds mu.
func (d *Dispatcher) offer(l *lane) {
	if l.runnable || l.waiting() == 0 {
		return
	}
	l.runnable = true
	if l.site == nil {
		d.runnable.push(l)
	} else {
		l.site.share.offer(l)
	}
}

// schedule starts attempts, up to the bounds of each lane and of each share, in
// which sites take turns. The caller holds mu.
func (d *Dispatcher) schedule(now time.Time) {
	if !d.started || d.stopped {
		return
	}
	for l, ok := d.runnable.pop(); ok; l, ok = d.runnable.pop() {
		d.launch(l, now)
	}
	for _, s := range d.shares {
		for l := s.next(); l != nil; l = s.next() {
			d.launch(l, now)
			s.line(l.site)
		}
		if rest := s.giveWay(now); rest > 0 && s.timer == nil {
			s.timer = time.AfterFunc(rest, func() {
				d.mu.Lock()
				defer d.mu.Unlock()
				s.timer = nil
				d.schedule(time.Now())
			})
		}
	}
}

// launch starts one attempt of a lane whose turn it is, if it may. The caller
// holds mu.
func (d *Dispatcher) launch(l *lane, now time.Time) {
	l.runnable = false
	if l.line.held && !l.line.gone.Load() {
		return // offered again by Release
	}
	if pause := l.hold(now); pause > 0 {
		d.park(l, pause)
		return
	}
	if l.flying >= l.breaker.capacity(now) {
		return // offered again when an attempt ends
	}
	before := l.waiting()
	j := l.pop()
	l.line.queued.Add(float64(l.waiting() - before))
	if j == nil {
		d.tidy(l, now)
		return
	}
	j.state = flying
	l.take(j, now)
	f := l.flight
	if l.site != nil {
		f = l.site.share.take(l, now)
	}
	l.flying++
	d.flying++
	l.line.flying.Inc()
	l.line.attempts++
	d.depart(f, j)
	d.offer(l)
}

// park offers a lane again after a pause. The caller holds mu.
func (d *Dispatcher) park(l *lane, pause time.Duration) {
	halt(l.timer)
	if d.stopped {
		return
	}
	l.timer = time.AfterFunc(pause, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		now := time.Now()
		l.timer = nil
		d.offer(l)
		d.tidy(l, now)
		d.schedule(now)
	})
}

// tidy forgets a lane to one host that has nothing to do, once it has nothing to
// remember, or at once if maxIdleLanes others are kept for that. The caller holds mu.
func (d *Dispatcher) tidy(l *lane, now time.Time) {
	if l.key.Host == "" || d.lanes[l.key] != l {
		return
	}
	if l.flying > 0 || l.waiting() > 0 {
		d.idles(l, false)
		return
	}
	if rest := l.keep().Sub(now); rest > 0 && (l.idle || d.idle < maxIdleLanes) {
		d.idles(l, true)
		if l.timer == nil { // one that is sooner looks again
			d.park(l, rest)
		}
		return
	}
	d.idles(l, false)
	halt(l.timer)
	if l.gate.frozen {
		d.freeze(l, false)
	}
	l.gate.close()
	if l.site != nil {
		l.site.share.leave(l)
	}
	delete(d.lanes, l.key)
	d.m.lanes.Set(float64(len(d.lanes)))
}

// idles notes whether a lane has nothing to do. The caller holds mu.
func (d *Dispatcher) idles(l *lane, idle bool) {
	switch {
	case idle && !l.idle:
		d.idle++
	case !idle && l.idle:
		d.idle--
	}
	l.idle = idle
}
