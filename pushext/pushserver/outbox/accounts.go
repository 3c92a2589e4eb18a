package outbox

import "sync/atomic"

// accounts are the books of matches: every match has ended, with an outcome, or waits in
// the outbox. The first sweep tells how many waited at the beginning; from then on each
// sweep counts those that wait on disk, and the difference is reported.
type accounts struct {
	matched, ended atomic.Int64 // in this run

	// The rest is Sweep's. The number that waited at the beginning is between these.
	begun     bool
	low, high int64
}

// mark is what was counted at a moment.
type mark struct{ matched, ended int64 }

func (a *accounts) mark() mark { return mark{a.matched.Load(), a.ended.Load()} }

// settle takes the number of matches that wait, counted between two marks, with
// everything on disk that happened before the first. It returns by how much the books are
// wrong, 0 if they may be right.
func (a *accounts) settle(before, after mark, open int64) (wrong int64) {
	if !a.begun {
		a.begun = true
		a.low, a.high = open-(after.matched-before.ended), open-(before.matched-after.ended)
		return 0
	}
	return max(0, a.low+before.matched-after.ended-open, open-(a.high+after.matched-before.ended))
}
