package pushext

import (
	"time"
)

const (
	// gateWindow is how far back the gate looks.
	gateWindow = 10 * time.Minute
	// gateFloor is how many devices may be called dead in the window whatever
	// their share is, so that a small server can forget its old devices.
	gateFloor = 10
	// gateShare is 1/share: the part of the devices that may be called dead in
	// the window above the floor.
	gateShare = 100
	// gateTracked bounds the devices remembered; so many are a mass by any count.
	gateTracked = 4096
)

// gate stands between a provider's dead-token verdicts and the removal of
// registrations. Providers have called all tokens dead during outages and
// after mistakes in their configuration, and who believed them lost every user.
//
// A verdict counts only if the same provider accepted something for another
// device in the window and since it first called this one dead; and if not more
// than 1 % of the window's devices (and more than gateFloor) are called dead.
type gate struct {
	lastOK  time.Time
	minutes [int(gateWindow / time.Minute)]struct {
		minute int64
		ok     int
	}
	dead    map[registrationID]time.Time // latest verdict, in the window as of expired
	expired time.Time
	frozen  bool // as last logged
}

// success counts an accepted notification.
func (g *gate) success(now time.Time, id registrationID) {
	g.lastOK = now
	minute := now.Unix() / 60
	slot := &g.minutes[minute%int64(len(g.minutes))]
	if slot.minute != minute {
		slot.minute, slot.ok = minute, 0
	}
	slot.ok++
	delete(g.dead, id)
}

// verdict counts a dead-token verdict.
func (g *gate) verdict(now time.Time, id registrationID) {
	if g.dead == nil {
		g.dead = make(map[registrationID]time.Time)
	}
	if _, known := g.dead[id]; known || len(g.dead) < gateTracked {
		g.dead[id] = now
	}
}

// expire forgets what left the window, now and then.
func (g *gate) expire(now time.Time) {
	if now.Sub(g.expired) < gateWindow/60 {
		return
	}
	g.expired = now
	for id, at := range g.dead {
		if now.Sub(at) >= gateWindow {
			delete(g.dead, id)
		}
	}
}

// mass reports whether too many are called dead to believe it.
func (g *gate) mass(now time.Time) bool {
	g.expire(now)
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

// working reports whether the provider accepted something in the window and
// after the given time.
func (g *gate) working(now, since time.Time) bool {
	return g.lastOK.After(since) && now.Sub(g.lastOK) < gateWindow
}
