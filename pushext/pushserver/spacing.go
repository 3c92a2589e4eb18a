package pushserver

import (
	"math/rand/v2"
	"time"

	"whisperpush/pushext"
)

// bucket is the token bucket of one device under a Budget. The zero value is
// full. It keeps the time at which it will be full again, nothing else.
type bucket struct {
	full time.Time
}

// wait is how long until a wake-up is allowed at now, 0 if it is.
func (b *bucket) wait(now time.Time, budget pushext.Budget) time.Duration {
	// Burst-1 tokens may be missing before the next one is taken.
	free := b.full.Add(-time.Duration(max(budget.Burst, 1)-1) * budget.Every)
	return max(free.Sub(now), 0)
}

// take spends a wake-up.
func (b *bucket) take(now time.Time, budget pushext.Budget) {
	if b.full.Before(now) {
		b.full = now
	}
	b.full = b.full.Add(budget.Every)
}

// backoff is a schedule of growing pauses: base, 2·base, 4·base … up to cap,
// each shortened by up to a quarter so that what failed together is not
// repeated together.
type backoff struct {
	base, cap time.Duration
}

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
