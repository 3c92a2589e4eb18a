package registry

import (
	"math"
	"slices"
	"time"

	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushwire"
)

// decideState derives state and due time from the routes.
func (r *Registry) decideState(rec *Record, now time.Time) {
	rec.State, rec.Reason = registration.Waiting, ""
	if slices.ContainsFunc(rec.Routes, func(route registration.Route) bool { return route.Proven }) {
		rec.State = registration.Active
		rec.Proved = rec.Proved || r.provenElsewhere(rec)
	}
	rec.due = rec.Expires
	if !rec.Proved && rec.State == registration.Waiting {
		// Time for the challenge to arrive, be it at the last moment.
		if due := now.Add(2 * r.terms.Load().limits.ChallengeLife); due.Before(rec.due) {
			rec.due = due
		}
	}
}

// Confirm proves an address by the code that was pushed to it. Another
// registration that owned the address loses it, and dies if it was its last;
// until then it keeps it, whatever anybody else claims.
func (r *Registry) Confirm(key [33]byte, proves func(code [pushwire.CodeSize]byte) bool, now time.Time) (rec *Record, err error) {
	err = r.apply(func(c *decision) error {
		rec, err = c.confirm(key, proves, now)
		return err
	})
	return rec, err
}

// confirm decides. With an error it returns the record held.
func (c *decision) confirm(key [33]byte, proves func(code [pushwire.CodeSize]byte) bool, now time.Time) (held *Record, err error) {
	old, err := c.lookup(key)
	if err != nil {
		return nil, err
	}
	if old == nil || !old.Live() {
		return old, registration.Refuse(pushwire.NotRegistered, "there is no registration under this key")
	}
	rec := old.clone()
	at := slices.IndexFunc(rec.challenges, func(c challenge) bool { return proves(c.code) })
	switch {
	case at < 0:
		return old, registration.Refuse(pushwire.WrongCode, "this code was not sent, or a newer one was; register again for a new one")
	case rec.Routes[rec.challenges[at].route].Proven:
		return old, nil // said before
	case now.After(rec.challenges[at].until):
		return old, registration.Refuse(pushwire.WrongCode, "this code is too old; register again for a new one")
	}
	proven := &rec.Routes[rec.challenges[at].route]
	proven.Proven = true
	c.claim(proven, now)
	c.decideState(rec, now)
	c.put(edit{old: old, next: rec})
	if !old.Proved {
		if err := c.checkProof(rec); err != nil {
			return old, err
		}
	}
	all, err := c.members(prefixAddress, c.addressFingerprint(proven), math.MaxInt)
	if err != nil {
		return old, err
	}
	for _, m := range all {
		if m.id == rec.ID || len(m.value) != 1 || m.value[0] != 1 {
			continue
		}
		loser, err := c.read(m.id, true)
		if err != nil {
			return old, err
		}
		if loser != nil {
			c.lose(loser, proven)
		}
	}
	return rec, nil
}

// lose takes an address from its owner, which is dead if it was the last one.
func (c *decision) lose(loser *Record, lost *registration.Route) {
	next := loser.without(lost)
	if !slices.ContainsFunc(next.Routes, func(route registration.Route) bool { return route.Proven }) {
		next.State, next.Reason = registration.Dead, reasonMoved
	}
	c.put(edit{old: loser, next: next})
	c.after = append(c.after, func() { c.m.ended.WithLabelValues("moved").Inc() })
}

// without returns a record without an address.
func (r *Record) without(lost *registration.Route) *Record {
	rec := r.clone()
	rec.Routes, rec.challenges = nil, nil
	moved := make(map[int]int)
	for i := range r.Routes {
		if !lost.LeadsTo(r.Routes[i]) {
			moved[i] = len(rec.Routes)
			rec.Routes = append(rec.Routes, r.Routes[i])
		}
	}
	for _, sent := range r.challenges {
		if to, stays := moved[sent.route]; stays {
			sent.route = to
			rec.challenges = append(rec.challenges, sent)
		}
	}
	return rec
}

// Update changes some channels of a registration.
func (r *Registry) Update(key [33]byte, g *pushwire.Channels, now time.Time) (rec *Record, err error) {
	digest, err := digestOf(g)
	if err != nil {
		return nil, err
	}
	err = r.apply(func(c *decision) error {
		rec, err = c.update(key, g, digest, now)
		return err
	})
	return rec, err
}

// update decides. With an error it returns the record held.
func (c *decision) update(key [33]byte, g *pushwire.Channels, digest [32]byte, now time.Time) (held *Record, err error) {
	old, err := c.lookup(key)
	if err != nil {
		return nil, err
	}
	switch {
	case old == nil || !old.Live():
		return old, registration.Refuse(pushwire.NotRegistered, "there is no registration under this key")
	case g.Version > old.Version:
	case g.Version == old.Version && old.digest == digest:
		return old, nil
	default:
		return old, registration.Refuse(pushwire.Stale, "version %d is not above %d, which the server holds", g.Version, old.Version)
	}
	rec := old.clone()
	rec.Version, rec.digest = g.Version, digest
	for i := range g.Channels {
		next := newChannel(&g.Channels[i])
		at, known := rec.find(next.Topic)
		switch {
		case next.Mode == pushwire.Removed && known:
			rec.Channels = slices.Delete(rec.Channels, at, at+1)
		case next.Mode == pushwire.Removed:
		case known:
			rec.Channels[at] = next
		default:
			rec.Channels = slices.Insert(rec.Channels, at, next)
		}
	}
	for _, holder := range g.Revoked {
		if !slices.Contains(rec.Revoked, holder) {
			rec.Revoked = append(rec.Revoked, holder)
		}
	}
	switch limits := c.terms.Load().limits; {
	case len(rec.Channels) > limits.Channels:
		return old, registration.Refuse(pushwire.Limit, "%d channels, at most %d", len(rec.Channels), limits.Channels)
	case len(rec.Revoked) > limits.Revoked:
		return old, registration.Refuse(pushwire.Limit, "%d revoked holders, at most %d; register again with a new root", len(rec.Revoked), limits.Revoked)
	}
	if len(rec.Channels) > len(old.Channels) { // what it has stays until it is renewed
		if err := c.pay(rec, old, Payment{}, now); err != nil {
			return old, err
		}
		if rec.Expires.Before(rec.due) {
			rec.due = rec.Expires
		}
	}
	c.put(edit{old: old, next: rec})
	if err := c.makeRoom(rec, old); err != nil {
		return old, err
	}
	return rec, nil
}

// clone copies what a change may write to.
func (r *Record) clone() *Record {
	c := *r
	c.Routes = slices.Clone(r.Routes)
	c.Channels = slices.Clone(r.Channels)
	c.challenges = slices.Clone(r.challenges)
	c.Revoked = slices.Clone(r.Revoked)
	return &c
}

func newChannel(c *pushwire.Channel) registration.Channel {
	return registration.Channel{Topic: c.Topic, Mode: c.Mode, Muted: uint32(min(c.MutedUntil, math.MaxUint32))}
}

func newChannels(wire []pushwire.Channel) []registration.Channel {
	channels := make([]registration.Channel, len(wire))
	for i := range wire {
		channels[i] = newChannel(&wire[i])
	}
	slices.SortFunc(channels, func(a, b registration.Channel) int { return slices.Compare(a.Topic[:], b.Topic[:]) })
	return channels
}
