// Package spacing keeps things apart in time, with a token bucket under a budget and
// with growing pauses between attempts.
package spacing

import (
	"math/rand/v2"
	"time"

	"whisperpush/pushext"
)

// Bucket is the token bucket of one device under a Budget. The zero value is
// full. It holds only the time at which it will be full again.
type Bucket struct {
	Full time.Time // not after now: it is full
}

// Wait returns how long it takes from now until a wake-up is allowed, 0 if it already
// is.
func (b *Bucket) Wait(now time.Time, budget pushext.Budget) time.Duration {
	// Burst-1 tokens may be missing before the next one is taken.
	free := b.Full.Add(-time.Duration(max(budget.Burst, 1)-1) * budget.Every)
	return max(free.Sub(now), 0)
}

// Left returns how many wake-ups are allowed at now at once; without a bound that is
// Burst.
func (b *Bucket) Left(now time.Time, budget pushext.Budget) int {
	owed := b.Full.Sub(now)
	if budget.Every <= 0 || owed <= 0 {
		return budget.Burst
	}
	return max(budget.Burst-int((owed+budget.Every-1)/budget.Every), 0)
}

// Take spends a token for a wake-up.
func (b *Bucket) Take(now time.Time, budget pushext.Budget) {
	if b.Full.Before(now) {
		b.Full = now
	}
	b.Full = b.Full.Add(budget.Every)
}

// Backoff is a schedule of growing pauses: Base, 2·Base, 4·Base … up to Cap.
// Each is shortened by up to a quarter, so that attempts that failed
// together are not repeated together.
type Backoff struct {
	Base, Cap time.Duration // the first pause and the longest
}

// Next returns the time of the attempt after the given number of failed ones
// (≥ 1). jitter is in [0, 1).
func (b Backoff) Next(now time.Time, failed int, jitter float64) time.Time {
	pause := b.Cap
	if shift := max(failed, 1) - 1; shift < 32 {
		if grown := b.Base << shift; grown > 0 && grown < b.Cap {
			pause = grown
		}
	}
	return now.Add(pause - time.Duration(jitter*float64(pause)/4))
}

// After is Next with random jitter.
func (b Backoff) After(now time.Time, failed int) time.Time {
	return b.Next(now, failed, rand.Float64())
}
