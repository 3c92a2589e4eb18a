package registry

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"whisperpush/durable"
	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// challengeDay is the time in which an address gets at most Limits.Challenges.
const challengeDay = 24 * time.Hour

// challenge makes a code for every route that needs proof, and holds what it
// takes to send them: the caller calls release if the record is not written.
func (c *decision) challenge(rec *Record, source whisper.Source, now time.Time) (errands []*registration.Errand, err error) {
	for i := range rec.Routes {
		route := &rec.Routes[i]
		if c.unchallenged(route.Provider) {
			route.Proven = true
		}
		if route.Proven {
			continue
		}
		e := &registration.Errand{
			ID: rec.ID, Provider: route.Provider, Address: route.Address, Until: now.Add(c.terms.Load().limits.ChallengeLife),
			Fare: registration.Fare{Lane: c.laneOf(route), Source: source, Address: c.addressFingerprint(route)},
		}
		rand.Read(e.Code[:])
		if err := c.holdCode(e, now); err != nil {
			c.release(errands)
			if refused, ok := errors.AsType[*registration.Refusal](err); ok {
				err = registration.Refuse(refused.Code, "route %d: %s", i+1, refused.Text)
			}
			return nil, err
		}
		errands = append(errands, e)
		rec.challenges = append(rec.challenges, challenge{route: i, code: e.Code, until: e.Until})
	}
	return errands, nil
}

func (c *decision) holdCode(e *registration.Errand, now time.Time) error {
	served, err := c.served(e.Fare.Address, now)
	if err != nil {
		return err
	}
	elsewhere, err := c.elsewhere(prefixChallenged, e.Fare.Address, 1)
	if err != nil {
		return err
	}
	for _, value := range elsewhere {
		served = append(served, servedSince(value, now)...)
	}
	day := c.terms.Load().limits.Challenged
	if len(served) == 0 && c.challenged >= day {
		return registration.Refuse(pushwire.Busy, "too many addresses were challenged today; repeat tomorrow")
	}
	left := max(day-c.challenged, 1) // none: this address was challenged before
	return c.codes.hold(&e.Fare, len(served), float64(left)/float64(day), now)
}

// release gives back what was held for errands that are not sent.
func (r *Registry) release(errands []*registration.Errand) {
	for _, e := range errands {
		r.codes.release(e.Fare, pushext.Retry)
	}
}

// laneOf is the lane of a route.
func (r *Registry) laneOf(route *registration.Route) registration.Lane {
	key := registration.Lane{Provider: route.Provider}
	if laner, ok := r.terms.Load().providers[route.Provider].(pushext.Laner); ok {
		key.Host = laner.Lane(route.Address)
	}
	return key
}

// Proving returns the registration that an errand is for and the number of its route, or
// false if it does not have that challenge any more.
func (r *Registry) Proving(e *registration.Errand) (registration.Registration, int, bool) {
	rec, err := r.settled().read(e.ID, false)
	if err != nil {
		r.log.Error("a registration that is to be challenged cannot be read", "registration", uint64(e.ID), "err", err)
		return registration.Registration{}, 0, false
	}
	at := rec.challengeOf(e)
	if at < 0 || time.Now().After(rec.challenges[at].until) {
		return registration.Registration{}, 0, false
	}
	return rec.Registration, rec.challenges[at].route, true
}

// challengeOf finds the challenge of an errand, -1 if the record, which may be nil, does
// not have it any more.
func (r *Record) challengeOf(e *registration.Errand) int {
	if r == nil || !r.Live() {
		return -1
	}
	return slices.IndexFunc(r.challenges, func(c challenge) bool {
		route := &r.Routes[c.route]
		return c.code == e.Code && !route.Proven && route.Provider == e.Provider && route.Address.Token == e.Address.Token
	})
}

// ChallengeOver ends an errand, and charges for what the push service did: Delivered
// counts for the address and the source, TokenDead for the source alone. After TokenDead
// the registration dies if nothing else is known of it.
func (r *Registry) ChallengeOver(e *registration.Errand, v pushext.Verdict, now time.Time) (died bool) {
	defer r.codes.release(e.Fare, v.Class) // after it is counted, so that nothing passes in between
	switch v.Class {
	case pushext.Delivered:
		if err := r.countChallenge(e.Fare.Address, now); err != nil {
			r.log.Error("a challenge that was sent cannot be counted; its address may get one more", "err", err)
		}
	case pushext.TokenDead:
		var err error
		if died, err = r.refute(e, v.Reason); err != nil {
			r.log.Error("a registration whose address is dead cannot be ended; it is forgotten when it is not confirmed", "registration", uint64(e.ID), "err", err)
		}
	}
	return died
}

// refute removes a challenge whose address is dead from its record. A registration that
// has no proven address, and waits for no other code, is dead.
func (r *Registry) refute(e *registration.Errand, reason string) (died bool, err error) {
	err = r.apply(func(c *decision) error {
		old, err := c.read(e.ID, true)
		if err != nil {
			return err
		}
		at := old.challengeOf(e)
		if at < 0 {
			return nil
		}
		rec := old.clone()
		rec.challenges = slices.Delete(rec.challenges, at, at+1)
		if died = len(rec.challenges) == 0 && rec.State == registration.Waiting; died {
			rec.die(reason)
			c.after = append(c.after, func() { c.m.ended.WithLabelValues("provider").Inc() })
		}
		c.put(edit{old: old, next: rec})
		return nil
	})
	return died && err == nil, err
}

// served is when an address was sent challenges in the past challengeDay, in Unix
// milliseconds. Older ones do not count: an address gets back each of its challenges a
// day after it was sent.
func (v reader) served(address [16]byte, now time.Time) ([]uint64, error) {
	value, err := v.value(challengedKey(address))
	if errors.Is(err, durable.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read a challenged address: %w", err)
	}
	return servedSince(value, now), nil
}

// servedSince decodes what counts at now of a record at prefixChallenged.
func servedSince(value []byte, now time.Time) (served []uint64) {
	if len(value) == 9 { // an earlier version's: the first of a day, and how many
		value = slices.Repeat(value[:8], int(value[8]))
	}
	for ; len(value) >= 8; value = value[8:] {
		if at := binary.BigEndian.Uint64(value); now.Sub(registration.FromMillis(at)).Abs() < challengeDay {
			served = append(served, at)
		}
	}
	return served
}

// countChallenge counts a challenge that was sent.
func (r *Registry) countChallenge(address [16]byte, now time.Time) error {
	return r.apply(func(c *decision) error {
		key := challengedKey(address)
		value, err := c.value(key)
		switch {
		case errors.Is(err, durable.ErrNotFound):
			c.addresses(1)
		case err != nil:
			return fmt.Errorf("read a challenged address: %w", err)
		}
		var next []byte
		for _, at := range append(servedSince(value, now), registration.Millis(now)) {
			next = binary.BigEndian.AppendUint64(next, at)
		}
		c.set(key, next)
		return nil
	})
}

// addresses counts n more challenged addresses.
func (c *decision) addresses(n int) {
	c.counting(func(sign int) { c.challenged += sign * n })
}

func challengedKey(address [16]byte) []byte { return append([]byte{prefixChallenged}, address[:]...) }

// sweepChallengedBatch is how many challenged addresses one write looks at.
const sweepChallengedBatch = 4096

// sweepChallenged forgets addresses that were challenged more than a day ago, a
// batch at a time: nothing can be counted between the look and the change.
func (r *Registry) sweepChallenged(now time.Time) error {
	var from []byte
	for more := true; more; {
		err := r.apply(func(c *decision) (err error) {
			from, more, err = c.sweepChallenged(from, now)
			return err
		})
		if err != nil {
			return fmt.Errorf("forget challenged addresses: %w", err)
		}
	}
	return nil
}

// sweepChallenged does that with the next keys after from, and returns the last that it
// looked at.
func (c *decision) sweepChallenged(from []byte, now time.Time) (last []byte, more bool, err error) {
	seen := 0
	err = c.scanFrom([]byte{prefixChallenged}, from, func(key, value []byte) bool {
		if bytes.Equal(key, from) {
			return true
		}
		if seen++; seen > sweepChallengedBatch {
			more = true
			return false
		}
		last = slices.Clone(key)
		if len(servedSince(value, now)) == 0 {
			c.delete(last)
			c.addresses(-1)
		}
		return true
	})
	return last, more, err
}
