package dispatch

import (
	"context"
	"sync"
	"time"
)

const (
	// pilotRest is how long a pilot without an attempt stays.
	pilotRest = 10 * time.Second
	// maxRested is how many attempts may be handed to pilots that wait; beyond that, new
	// pilots are started.
	maxRested = 1024
)

// pilots are the goroutines that make attempts. A pilot makes one after the other: the
// stack of a new goroutine grows from nothing each time, which takes as long as sealing a
// wake-up.
type pilots struct {
	all  sync.WaitGroup
	over context.Context // ends them
	end  context.CancelFunc
	next chan departure

	// free is how many wait and have nothing in next. Guarded by Dispatcher.mu.
	free int
}

// departure is an attempt that a pilot is to make.
type departure struct {
	flight *flight
	job    *job
}

func (p *pilots) init() {
	p.next = make(chan departure, maxRested)
	p.over, p.end = context.WithCancel(context.Background())
}

// stop ends them, and returns when none is left. Nothing may depart any more.
func (p *pilots) stop() {
	p.end()
	p.all.Wait()
}

// depart has a pilot make an attempt. The caller holds mu.
func (d *Dispatcher) depart(f *flight, j *job) {
	d.wg.Add(1)
	next := departure{f, j}
	if d.pilots.free > 0 && len(d.pilots.next) < maxRested {
		d.pilots.free--
		d.pilots.next <- next // mu is held: nobody else fills it
		return
	}
	d.pilots.all.Go(func() { d.pilot(next) })
}

// pilot makes an attempt, and then those that it is given, until it has rested too long.
func (d *Dispatcher) pilot(next departure) {
	rest := time.NewTimer(pilotRest)
	defer rest.Stop()
	for {
		d.fly(next.flight, next.job)
		d.mu.Lock()
		d.pilots.free++
		d.mu.Unlock()
		rest.Reset(pilotRest)
		select {
		case next = <-d.pilots.next:
			continue
		case <-d.pilots.over.Done():
			return
		case <-rest.C:
		}
		d.mu.Lock()
		leaves := d.pilots.free > 0
		if leaves {
			d.pilots.free--
		}
		d.mu.Unlock()
		if leaves {
			return
		}
		next = <-d.pilots.next // the last one that waits has been given something
	}
}
