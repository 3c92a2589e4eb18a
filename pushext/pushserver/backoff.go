package pushserver

import (
	"math/rand/v2"
	"time"
)

// backoff is a schedule of growing pauses: base, 2·base, 4·base … up to cap,
// each shortened by up to a quarter so that what failed together is not
// repeated together.
type backoff struct {
	base, cap time.Duration
}

var (
	// retryBackoff spaces the attempts of one wake-up (FCM and APNs advise 1, 2, 4 … s).
	retryBackoff = backoff{base: time.Second, cap: time.Minute}
	// breakerBackoff spaces the probes of a broken lane.
	breakerBackoff = backoff{base: time.Second, cap: time.Minute}
	// deadBackoff spaces the attempts at an address that its provider calls
	// dead while the mass-deletion gate does not believe it.
	deadBackoff = backoff{base: 30 * time.Second, cap: time.Hour}
	// diskBackoff spaces the attempts to write while the disk fails.
	diskBackoff = backoff{base: 100 * time.Millisecond, cap: 5 * time.Second}
)

// next is the time of the attempt after the given number of failed ones (≥ 1).
// jitter is in [0, 1).
func (b backoff) next(now time.Time, failed int, jitter float64) time.Time {
	pause := b.cap
	if shift := max(failed, 1) - 1; shift < 32 {
		if grown := b.base << shift; grown > 0 && grown < b.cap {
			pause = grown
		}
	}
	return now.Add(pause - time.Duration(jitter*float64(pause)/4))
}

// after is next with random jitter.
func (b backoff) after(now time.Time, failed int) time.Time {
	return b.next(now, failed, rand.Float64())
}
