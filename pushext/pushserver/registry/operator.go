package registry

import (
	"encoding/binary"
	"time"

	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/topics"
	"whisperpush/pushext/pushwire"
)

// Summary is what an operator is told of a registration. No address, key or topic is in it.
type Summary struct {
	ID         registration.ID
	State      registration.State
	Proved     bool // it proved an address once
	Moved      bool // of a dead one: another registration confirmed its address
	Registered time.Time
	Expires    time.Time
	Routes     []RouteSummary // in ladder order
	Every      int            // channels on which each envelope wakes it
	Mentions   int            // channels on which only a mention does
	Muted      int            // channels that are silent now
}

// RouteSummary is a way to wake a device, without the address.
type RouteSummary struct {
	Provider string
	Proven   bool
}

// reasonRevoked is told to the device.
const reasonRevoked = "ended by the server's operator"

// List returns the registrations above an id, ascending, at most limit of them, including
// those that ended. next is the id to go on from, 0 if there are no more. Damaged ones
// are left out.
func (r *Registry) List(after registration.ID, limit int, now time.Time) (all []Summary, next registration.ID, err error) {
	v := r.settled()
	var ids []registration.ID
	err = v.scanFrom([]byte{PrefixRecord}, idKey(PrefixRecord, after+1), func(key, _ []byte) bool {
		if len(ids) == limit {
			next = ids[limit-1]
			return false
		}
		if len(key) == 9 {
			ids = append(ids, registration.ID(binary.BigEndian.Uint64(key[1:])))
		}
		return true
	})
	if err != nil {
		return nil, 0, err
	}
	for _, id := range ids {
		rec, err := v.read(id, true)
		if err != nil {
			return nil, 0, err
		}
		if rec != nil {
			all = append(all, rec.summary(now))
		}
	}
	return all, next, nil
}

// Summary tells about one registration, or one that ended; false if there is none.
func (r *Registry) Summary(id registration.ID, now time.Time) (Summary, bool, error) {
	rec, err := r.settled().read(id, true)
	if err != nil || rec == nil {
		return Summary{}, false, err
	}
	return rec.summary(now), true, nil
}

func (r *Record) summary(now time.Time) Summary {
	s := Summary{
		ID: r.ID, State: r.State, Proved: r.Proved, Moved: r.State == registration.Dead && r.Reason == reasonMoved,
		Registered: r.Registered, Expires: r.Expires,
	}
	for _, route := range r.Routes {
		s.Routes = append(s.Routes, RouteSummary{route.Provider, route.Proven})
	}
	for i := range r.Channels {
		switch c := &r.Channels[i]; {
		case c.Muted > topics.Seconds(now), c.Mode == pushwire.Muted:
			s.Muted++
		case c.Mode == pushwire.Mentions:
			s.Mentions++
		default:
			s.Every++
		}
	}
	return s
}

// Revoke ends a registration for the operator. The device learns of it with its next request, and may register again. It
// reports whether there was a registration.
func (r *Registry) Revoke(id registration.ID, now time.Time) (ended bool, err error) {
	err = r.apply(func(c *decision) error {
		old, err := c.read(id, true)
		if err != nil || old == nil || !old.Live() {
			return err
		}
		ended = true
		if !old.Proved {
			c.put(edit{old: old, reason: reasonRevoked})
		} else {
			rec := old.clone()
			rec.bury(registration.Terminated, reasonRevoked, now, c.terms.Load().limits.Tombstone)
			c.put(edit{old: old, next: rec})
		}
		c.after = append(c.after, func() { c.m.ended.WithLabelValues("revoked").Inc() })
		return nil
	})
	return ended && err == nil, err
}

// Limits are those that registrations are held to now.
func (r *Registry) Limits() registration.Limits { return r.terms.Load().limits }
