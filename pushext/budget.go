package pushext

import "time"

// Budget limits the wake-ups of one device, so that a flooded topic drains no
// battery and stays below the platform's own limits. A device may be woken
// Burst times at once, and then once every Every; what matches meanwhile waits
// and is in the next wake-up, so nothing is lost by it.
type Budget struct {
	Burst int           // wake-ups at once, at least 1
	Every time.Duration // until one more is allowed; 0 is no limit
}

// collapsible is what FCM takes of collapsible messages to one device before it
// delays them (firebase.google.com/docs/cloud-messaging/throttling-and-quotas:
// 20 at once, then one in 3 minutes).
var collapsible = Budget{Burst: 20, Every: 3 * time.Minute}

// bucket is the token bucket of one device under a Budget. The zero value is
// full. It keeps the time at which it will be full again, nothing else.
type bucket struct {
	full time.Time
}

// wait is how long until a wake-up is allowed at now, 0 if it is.
func (b *bucket) wait(now time.Time, budget Budget) time.Duration {
	// Burst-1 tokens may be missing before the next one is taken.
	free := b.full.Add(-time.Duration(max(budget.Burst, 1)-1) * budget.Every)
	return max(free.Sub(now), 0)
}

// take spends a wake-up.
func (b *bucket) take(now time.Time, budget Budget) {
	if b.full.Before(now) {
		b.full = now
	}
	b.full = b.full.Add(budget.Every)
}
