package dispatch

import (
	"maps"
	"time"

	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/spacing"
)

// quieted counts the notifications sent through one provider that are not Visible. It
// counts by registration, because a challenge and the dismissals after it are different
// jobs. A challenge is only counted, because a user waits for it; dismissals wait and
// coalesce.
type quieted struct {
	budget pushext.Budget
	spent  map[registration.ID]spacing.Bucket // those that are not full, and some that are
	sweep  int                                // size of spent at which to look for full ones
}

// sweepQuieted is how many buckets are kept before the full ones are looked for.
const sweepQuieted = 1024

func newQuieted(p pushext.Provider) quieted {
	return quieted{budget: quiet(p), spent: make(map[registration.ID]spacing.Bucket), sweep: sweepQuieted}
}

// quiet is a provider's budget for notifications that are not Visible; zero is no bound.
func quiet(p pushext.Provider) (b pushext.Budget) {
	if quieter, ok := p.(pushext.Quieter); ok {
		b = quieter.Quiet()
	}
	return b
}

// collapsible is a provider's budget for notifications with a collapse id; zero is no
// bound.
func collapsible(p pushext.Provider) (b pushext.Budget) {
	if c, ok := p.(pushext.Collapser); ok {
		b = c.Collapsible()
	}
	return b
}

// wait is how long until a device may be sent another one.
func (q *quieted) wait(now time.Time, id registration.ID) time.Duration {
	b := q.spent[id]
	return b.Wait(now, q.budget)
}

// take counts one that was sent.
func (q *quieted) take(now time.Time, id registration.ID) {
	if q.budget.Every <= 0 {
		return
	}
	if len(q.spent) >= q.sweep {
		maps.DeleteFunc(q.spent, func(_ registration.ID, b spacing.Bucket) bool { return !now.Before(b.Full) })
		q.sweep = max(2*len(q.spent), sweepQuieted)
	}
	b := q.spent[id]
	b.Take(now, q.budget)
	q.spent[id] = b
}
