package outbox

import "sync/atomic"

// accounts are the books of matches: whatever matched has ended, with an outcome, or waits in
// the outbox. What waits when the outbox begins is known after its first sweep; from then on
// each sweep counts what waits on disk, and the difference is told.
type accounts struct {
	matched, ended atomic.Int64 // in this run

	// The rest is Sweep's. What waited at the beginning is between these.
	begun     bool
	low, high int64
}

// mark is what was counted at a moment.
type mark struct{ matched, ended int64 }

func (a *accounts) mark() mark { return mark{a.matched.Load(), a.ended.Load()} }

// settle takes a count of what waits that was made between two moments, with all on disk that
// had happened before the first. It returns by how much the books are wrong, 0 if they may be
// right.
func (a *accounts) settle(before, after mark, open int64) (wrong int64) {
	if !a.begun {
		a.begun = true
		a.low, a.high = open-(after.matched-before.ended), open-(before.matched-after.ended)
		return 0
	}
	return max(0, a.low+before.matched-after.ended-open, open-(a.high+after.matched-before.ended))
}
