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
	q := quieted{spent: make(map[registration.ID]spacing.Bucket), sweep: sweepQuieted}
	if quieter, ok := p.(pushext.Quieter); ok {
		q.budget = quieter.Quiet()
	}
	return q
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
