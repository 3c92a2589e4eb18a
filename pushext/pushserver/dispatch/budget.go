package dispatch

import (
	"maps"
	"time"

	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/spacing"
)

// quieted is what devices of one provider were sent that is not Visible, by
// registration, as a challenge and the dismissals after it are different jobs.
// A challenge, for which a user waits, is only counted; dismissals wait and
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

// quiet is a provider's budget of what is not Visible, zero without a bound.
func quiet(p pushext.Provider) (b pushext.Budget) {
	if quieter, ok := p.(pushext.Quieter); ok {
		b = quieter.Quiet()
	}
	return b
}

// collapsible is a provider's budget of what has a collapse id, zero without a bound.
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
