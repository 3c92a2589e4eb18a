package dispatch

import (
	"slices"
	"time"

	"whisperpush/pushext/pushserver/measure"
	"whisperpush/pushext/pushserver/registration"
)

const (
	// breakerThreshold is how many different devices must fail in a row before
	// a lane pauses. Different ones: an address that fails for reasons of its
	// own has its own backoff, and must not hold up the others of its lane.
	breakerThreshold = 5
	// probeOpens is how far the pauses of a lane grow (to 1 s) while what waits
	// for it can still be delivered within PromisedLatency. One probe a second is
	// no load for a push service, and a short outage stays short.
	probeOpens = 1
	// breakerMemory is how long a lane's failures count together. It is longer than the
	// pauses between a device's first attempts, so few devices are enough to notice an
	// outage. Failures further apart are unrelated.
	breakerMemory = time.Minute
	// maxPause bounds what a provider may demand with RetryAt; a wrong clock
	// or header must not silence a lane for longer than an outage lasts.
	maxPause = 6 * time.Hour
)

// breaker decides how many attempts a lane may make at once: its limit, none while it is
// paused, one to probe after a pause, and then twice as many after each success, so that
// an outage does not end in a burst.
type breaker struct {
	limit   int       // attempts at once when all is well
	allowed int       // attempts at once now, if not paused
	opens   int       // pauses since the latest success that make the next one longer
	since   time.Time // of the first of those
	until   time.Time
	failed  []registration.ID // different devices that failed since the latest success
	latest  time.Time         // failure or pause
	back    time.Time         // the earliest time at which those were told to come back; zero if one was told none
}

func newBreaker(limit int) breaker { return breaker{limit: limit, allowed: limit} }

// capacity is how many attempts may be in flight at now.
func (b *breaker) capacity(now time.Time) int {
	if now.Before(b.until) {
		return 0
	}
	return b.allowed
}

func (b *breaker) success() {
	b.opens = 0
	b.failed = b.failed[:0]
	b.allowed = min(2*b.allowed, b.limit)
}

// failure counts an attempt that failed for no lasting reason. back is when the device
// was told to come back, zero if it was not. failure reports whether that paused the
// lane: the word of one device alone does not, but if all that failed were told to wait,
// the lane waits with them, within bounds.
func (b *breaker) failure(now time.Time, id registration.ID, back time.Time) bool {
	if now.Before(b.until) {
		return false // sent before the pause: its cause is known
	}
	if now.Sub(b.latest) >= breakerMemory {
		b.failed = b.failed[:0]
	}
	b.latest = now
	if !slices.Contains(b.failed, id) {
		if len(b.failed) == 0 || back.Before(b.back) {
			b.back = back
		}
		b.failed = append(b.failed, id)
	}
	if b.opens == 0 && len(b.failed) < breakerThreshold {
		return false
	}
	if b.opens == 0 {
		b.since = now
		back = b.back
	} else {
		if now.Sub(b.since) < measure.PromisedLatency {
			b.opens = min(b.opens, probeOpens-1) // what waits can still be in time
		}
		back = time.Time{} // it is one probe's only
	}
	b.open(now)
	if limit := now.Add(breakerBackoff.Cap); back.After(limit) {
		b.until = limit
	} else if back.After(b.until) {
		b.until = back
	}
	return true
}

// open pauses the lane, longer each time.
func (b *breaker) open(now time.Time) bool {
	if now.Before(b.until) {
		return false
	}
	b.opens++
	b.allowed = 1
	b.failed = b.failed[:0]
	b.latest = now
	b.until = breakerBackoff.After(now, b.opens)
	return true
}

// probe ends a pause: one attempt shows whether its cause is gone.
func (b *breaker) probe(now time.Time) {
	if now.Before(b.until) {
		b.until = now
	}
}

// pause obeys a provider that says when to come back. A time that is not ahead counts as
// none, like zero: a provider that always says "now" would otherwise be called without a
// pause.
func (b *breaker) pause(now, until time.Time) bool {
	if !until.After(now) {
		return b.open(now)
	}
	if limit := now.Add(maxPause); until.After(limit) {
		until = limit
	}
	if !until.After(b.until) {
		return false
	}
	b.until, b.allowed, b.latest = until, 1, now
	return true
}

// keep is the time until which the breaker knows something that a new one would not.
func (b *breaker) keep() time.Time {
	if b.opens == 0 && len(b.failed) == 0 && b.allowed == b.limit {
		return b.until
	}
	keep := b.latest.Add(breakerMemory)
	if b.until.After(keep) {
		return b.until
	}
	return keep
}
