package dispatch

import (
	"time"

	"whisperpush/pushext/pushserver/registration"
)

const (
	// gateWindow is how far back the gate looks.
	gateWindow = 10 * time.Minute
	// gateFloor is how many devices may be called dead in the window whatever
	// their share is, so that a small server can forget its old devices.
	gateFloor = 10
	// gateShare is the limit above the floor: more than one device in gateShare called dead
	// is a mass.
	gateShare = 100
	// gateTracked bounds the devices remembered for one lane; so many are a mass by any
	// count.
	gateTracked = 4096
	// maxDoubted bounds the devices remembered for all lanes. When so many are called dead,
	// no verdict is believed.
	maxDoubted = 65536
)

// gate stands between dead-token verdicts and the removal of registrations. Push services
// have called all tokens dead during outages and after mistakes in their configuration,
// and servers that believed them lost every user.
//
// Each lane has its own: what one host says tells nothing about another, and what another
// accepts does not make the first credible. A verdict counts only if the same lane
// accepted something in the window and since it first called this device dead, and unless
// the devices called dead are more than gateFloor and more than 1 % of the window's. So a
// host with a single device is never believed: nobody can tell that device's end from the
// host's mistake. Believing it wrongly costs a user all messages; not believing it costs
// one attempt in deadBackoff.Cap until the registration ends.
type gate struct {
	lastOK  time.Time
	minutes [int(gateWindow / time.Minute)]struct {
		minute int64
		ok     int
	}
	dead    map[registration.ID]time.Time // latest verdict, in the window as of expired
	latest  time.Time                     // of those
	expired time.Time
	frozen  bool // as last counted and told

	doubted *int // devices in dead of all gates
}

// success counts an accepted notification.
func (g *gate) success(now time.Time, id registration.ID) {
	g.lastOK = now
	minute := now.Unix() / 60
	slot := &g.minutes[minute%int64(len(g.minutes))]
	if slot.minute != minute {
		slot.minute, slot.ok = minute, 0
	}
	slot.ok++
	g.forget(id)
}

// verdict counts a dead-token verdict.
func (g *gate) verdict(now time.Time, id registration.ID) {
	g.latest = now
	if _, known := g.dead[id]; !known {
		if len(g.dead) >= gateTracked || *g.doubted >= maxDoubted {
			return
		}
		*g.doubted++
	}
	if g.dead == nil {
		g.dead = make(map[registration.ID]time.Time)
	}
	g.dead[id] = now
}

func (g *gate) forget(id registration.ID) {
	if _, known := g.dead[id]; known {
		delete(g.dead, id)
		*g.doubted--
	}
}

// expire forgets, now and then, what has left the window.
func (g *gate) expire(now time.Time) {
	if now.Sub(g.expired) < gateWindow/60 {
		return
	}
	g.expired = now
	for id, at := range g.dead {
		if now.Sub(at) >= gateWindow {
			g.forget(id)
		}
	}
}

// mass reports whether too many devices are called dead to believe it.
func (g *gate) mass(now time.Time) bool {
	g.expire(now)
	if *g.doubted >= maxDoubted {
		return true
	}
	if len(g.dead) <= gateFloor {
		return false
	}
	if len(g.dead) >= gateTracked {
		return true
	}
	oldest := now.Unix()/60 - int64(len(g.minutes))
	ok := 0
	for _, slot := range g.minutes {
		if slot.minute > oldest {
			ok += slot.ok
		}
	}
	return len(g.dead)*gateShare > ok+len(g.dead)
}

// working reports whether the lane accepted something in the window and after the
// given time.
func (g *gate) working(now, since time.Time) bool {
	return g.lastOK.After(since) && now.Sub(g.lastOK) < gateWindow
}

// keep is the time until which there is something to remember.
func (g *gate) keep() time.Time {
	if g.lastOK.After(g.latest) {
		return g.lastOK.Add(gateWindow)
	}
	if g.latest.IsZero() {
		return time.Time{}
	}
	return g.latest.Add(gateWindow)
}

// close forgets everything.
func (g *gate) close() {
	*g.doubted -= len(g.dead)
	g.dead = nil
}
