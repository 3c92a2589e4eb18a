package pushext

import (
	"bytes"
	"crypto/subtle"
	"math"
	"slices"
	"time"

	"github.com/syndtr/goleveldb/leveldb"

	"whisperpush/pushext/pushwire"
)

// decide derives state and due time from the routes.
func (r *registry) decide(rec *record, now time.Time) {
	rec.state, rec.reason = unconfirmed, ""
	if slices.ContainsFunc(rec.routes, func(route route) bool { return route.proven }) {
		rec.state = confirmed
		rec.fresh = rec.fresh && !r.provenElsewhere(rec)
	}
	rec.due = rec.expires
	if rec.fresh && rec.state == unconfirmed {
		// Time for the challenge to arrive, be it at the last moment.
		if due := now.Add(2 * r.limits.ChallengeLife); due.Before(rec.due) {
			rec.due = due
		}
	}
}

// confirm proves an address by the code that was pushed to it. Another
// registration that owned the address loses it, and dies if it was its last;
// until then it keeps it, whatever anybody else claims.
func (r *registry) confirm(key [33]byte, code [pushwire.CodeSize]byte, now time.Time) (*record, error) {
	r.change.Lock()
	defer r.change.Unlock()
	old, err := r.lookup(key)
	if err != nil {
		return nil, err
	}
	if old == nil || !old.live() {
		return old, refuse(pushwire.NotRegistered, "there is no registration under this key")
	}
	rec := old.clone()
	at := slices.IndexFunc(rec.challenges, func(c challenge) bool {
		return subtle.ConstantTimeCompare(c.code[:], code[:]) == 1
	})
	switch {
	case at < 0:
		return old, refuse(pushwire.WrongCode, "this code was not sent, or a newer one was; register again for a new one")
	case rec.routes[rec.challenges[at].route].proven:
		return old, nil // said before
	case now.After(rec.challenges[at].until):
		return old, refuse(pushwire.WrongCode, "this code is too old; register again for a new one")
	}
	proven := &rec.routes[rec.challenges[at].route]
	proven.proven = true
	r.decide(rec, now)
	edits := []edit{{old: old, next: rec}}
	all, err := r.members(prefixAddress, r.addressFingerprint(proven), math.MaxInt)
	if err != nil {
		return old, err
	}
	for _, m := range all {
		if m.id == rec.id || len(m.value) != 1 || m.value[0] != 1 {
			continue
		}
		loser, err := r.read(m.id, true)
		if err != nil {
			return old, err
		}
		if loser != nil {
			edits = append(edits, edit{old: loser, next: r.without(loser, proven)})
		}
	}
	var b leveldb.Batch
	if err := r.commit(&b, edits...); err != nil {
		return old, err
	}
	r.m.ended.WithLabelValues("moved").Add(float64(len(edits) - 1))
	return rec, nil
}

// without returns a record that has lost an address.
func (r *registry) without(old *record, lost *route) *record {
	rec := old.clone()
	rec.routes, rec.challenges = nil, nil
	moved := make(map[int]int)
	for i := range old.routes {
		if route := old.routes[i]; route.provider != lost.provider || route.address.Token != lost.address.Token {
			moved[i] = len(rec.routes)
			rec.routes = append(rec.routes, route)
		}
	}
	for _, c := range old.challenges {
		if to, stays := moved[c.route]; stays {
			c.route = to
			rec.challenges = append(rec.challenges, c)
		}
	}
	if !slices.ContainsFunc(rec.routes, func(route route) bool { return route.proven }) {
		rec.state, rec.reason = dead, reasonMoved
	}
	return rec
}

// update changes some channels of a registration.
func (r *registry) update(key [33]byte, c *pushwire.Channels, now time.Time) (*record, error) {
	digest, err := digestOf(c)
	if err != nil {
		return nil, err
	}
	r.change.Lock()
	defer r.change.Unlock()
	old, err := r.lookup(key)
	if err != nil {
		return nil, err
	}
	switch {
	case old == nil || !old.live():
		return old, refuse(pushwire.NotRegistered, "there is no registration under this key")
	case c.Version > old.version:
	case c.Version == old.version && old.digest == digest:
		return old, nil
	default:
		return old, refuse(pushwire.Stale, "version %d is not above %d, which the server holds", c.Version, old.version)
	}
	rec := old.clone()
	rec.version, rec.digest = c.Version, digest
	for i := range c.Channels {
		next := newChannel(&c.Channels[i])
		at, known := rec.find(next.topic)
		switch {
		case next.mode == pushwire.Removed && known:
			rec.channels = slices.Delete(rec.channels, at, at+1)
		case next.mode == pushwire.Removed:
		case known:
			rec.channels[at] = next
		default:
			rec.channels = slices.Insert(rec.channels, at, next)
		}
	}
	for _, holder := range c.Revoked {
		if !slices.Contains(rec.revoked, holder) {
			rec.revoked = append(rec.revoked, holder)
		}
	}
	switch {
	case len(rec.channels) > r.limits.Channels:
		return old, refuse(pushwire.Limit, "%d channels, at most %d", len(rec.channels), r.limits.Channels)
	case r.channels-len(old.channels)+len(rec.channels) > r.limits.AllChannels:
		return old, refuse(pushwire.Limit, "this server has no room for more channels")
	case len(rec.revoked) > r.limits.Revoked:
		return old, refuse(pushwire.Limit, "%d revoked holders, at most %d; register again with a new root", len(rec.revoked), r.limits.Revoked)
	}
	var b leveldb.Batch
	if err := r.commit(&b, edit{old: old, next: rec}); err != nil {
		return old, err
	}
	return rec, nil
}

// clone copies what a change may write to.
func (r *record) clone() *record {
	c := *r
	c.routes = slices.Clone(r.routes)
	c.channels = slices.Clone(r.channels)
	c.challenges = slices.Clone(r.challenges)
	c.revoked = slices.Clone(r.revoked)
	return &c
}

func (r *route) equal(o *route) bool {
	return r.provider == o.provider && r.address.Token == o.address.Token &&
		slices.EqualFunc(r.address.Keys, o.address.Keys, bytes.Equal)
}

func newChannel(c *pushwire.Channel) channel {
	return channel{topic: c.Topic, mode: c.Mode, muted: uint32(min(c.MutedUntil, math.MaxUint32))}
}

func newChannels(wire []pushwire.Channel) []channel {
	channels := make([]channel, len(wire))
	for i := range wire {
		channels[i] = newChannel(&wire[i])
	}
	slices.SortFunc(channels, func(a, b channel) int { return slices.Compare(a.topic[:], b.topic[:]) })
	return channels
}
