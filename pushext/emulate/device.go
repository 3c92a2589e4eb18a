package emulate

import (
	"slices"
	"time"
)

// rules are what a push service does with pushes on their way to one device.
type rules struct {
	one   bool          // for an offline device one push is stored, the newest, whatever its collapse id
	keys  int           // collapse ids stored at once; beyond that the oldest is dropped. 0: unbounded
	loose int           // pushes stored without one; at one more all are dropped, and the app is told. 0: unbounded
	burst int           // pushes with a collapse id that may be sent at once, before they are held back
	every time.Duration // interval after which one more may be sent; 0: no such limit
}

var (
	// Apple, "Sending notification requests to APNs": one stored notification for
	// each bundle id and device. A notification with an apns-expiration of 0 is
	// not stored.
	apnsRules = rules{one: true}

	// firebase.google.com/docs/cloud-messaging: throttling-and-quotas (20
	// collapsible messages at once to a device, one more every 3 minutes, not
	// with a TTL of 0) and concept-options (four collapse keys; 100 messages
	// without one, then all are discarded and the app gets onDeletedMessages).
	fcmRules = rules{keys: 4, loose: 100, burst: 20, every: 3 * time.Minute}
)

// device is one installation of the app, as the push service knows it.
type device struct {
	pushes  chan Push // the app reads them here
	offline bool
	stored  []Push    // for its return, oldest first
	deleted bool      // the service dropped the stored pushes
	full    time.Time // when burst pushes with a collapse id may again be sent at once
	held    []Push    // held back by that limit: the newest of each collapse id, oldest first
	timer   *time.Timer
}

// Disconnect takes a device off the network. From now on the service stores the
// pushes that it accepts for the device, by its own rules.
func (s *Service) Disconnect(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.devices[token]; d != nil {
		d.offline = true
	}
}

// Connect brings a device back. The device gets the stored pushes that have not
// expired, oldest first. If the service had dropped all stored pushes, a Push
// with Deleted comes first.
func (s *Service) Connect(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.devices[token]
	if d == nil || !d.offline {
		return
	}
	now := time.Now()
	if d.deleted {
		d.send(Push{At: now, Token: token, Deleted: true})
	}
	for _, p := range d.stored {
		if now.Before(p.At.Add(p.TTL)) {
			d.send(p)
		}
	}
	d.offline, d.stored, d.deleted = false, nil, false
}

// Forget silently drops what is stored for an offline device, like a factory
// reset, an app that was stopped by force, or a fault.
func (s *Service) Forget(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.devices[token]; d != nil {
		d.stored = nil
	}
}

// Stored returns what is stored for an offline device, oldest first.
func (s *Service) Stored(token string) []Push {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.devices[token]; d != nil {
		return slices.Clone(d.stored)
	}
	return nil
}

// throttled reports whether a push has to be held back, and counts it if not.
func (d *device) throttled(p Push, by rules, now time.Time) bool {
	if by.every == 0 || p.CollapseID == "" || p.TTL == 0 || d.offline {
		return false
	}
	if d.pause(by, now) > 0 {
		return true
	}
	d.spend(by, now)
	return false
}

// pause is the time until the next push with a collapse id may be sent.
func (d *device) pause(by rules, now time.Time) time.Duration {
	return d.full.Add(-time.Duration(by.burst-1) * by.every).Sub(now)
}

func (d *device) spend(by rules, now time.Time) {
	if d.full.Before(now) {
		d.full = now
	}
	d.full = d.full.Add(by.every)
}

// hold keeps a push until its turn comes. The caller holds mu.
func (s *Service) hold(d *device, p Push) {
	d.held = s.rules.collapse(d.held, p)
	if d.timer == nil {
		d.timer = time.AfterFunc(d.pause(s.rules, time.Now()), func() { s.release(d) })
	}
}

// release sends the oldest held push, and schedules the next.
func (s *Service) release(d *device) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.timer = nil
	if s.closed || len(d.held) == 0 {
		return
	}
	p, now := d.held[0], time.Now()
	d.held = d.held[1:]
	d.spend(s.rules, now)
	if now.Before(p.At.Add(p.TTL)) {
		d.take(p, s.rules)
	}
	if len(d.held) > 0 {
		d.timer = time.AfterFunc(d.pause(s.rules, now), func() { s.release(d) })
	}
}

// close stops a device's timer. The caller holds mu.
func (d *device) close() {
	if d.timer != nil {
		d.timer.Stop()
	}
	d.held = nil
}

// take delivers a push, or stores it for later. The caller holds mu.
func (d *device) take(p Push, by rules) {
	if !d.offline {
		d.send(p)
		return
	}
	loose := 0
	for _, other := range d.stored {
		if other.CollapseID == "" {
			loose++
		}
	}
	switch {
	case p.TTL <= 0: // deliver now or never
	case by.one:
		d.stored = []Push{p}
	case p.CollapseID != "":
		d.stored = by.collapse(d.stored, p)
	case by.loose > 0 && loose == by.loose:
		d.stored, d.deleted = nil, true
	default:
		d.stored = append(d.stored, p)
	}
	if len(d.stored) > maxWaiting {
		d.stored = d.stored[1:]
	}
}

// collapse adds a push with a collapse id. It replaces an older one with the same
// id and, if there are too many ids, the oldest push with another id.
func (by rules) collapse(list []Push, p Push) []Push {
	list = slices.DeleteFunc(list, func(other Push) bool { return other.CollapseID == p.CollapseID })
	keys := 0
	for _, other := range list {
		if other.CollapseID != "" {
			keys++
		}
	}
	if by.keys > 0 && keys == by.keys {
		oldest := slices.IndexFunc(list, func(other Push) bool { return other.CollapseID != "" })
		list = slices.Delete(list, oldest, oldest+1)
	}
	return append(list, p)
}

// send hands a push to the app. An app that does not read loses the oldest push.
// The caller holds mu.
func (d *device) send(p Push) {
	for {
		select {
		case d.pushes <- p:
			return
		default:
		}
		select {
		case <-d.pushes: // full: the oldest goes
		default:
		}
	}
}
