// Package clocktest makes readings of a clock that was set in between, which package
// testing/synctest cannot do. Only tests import it.
package clocktest

import (
	"time"
	"unsafe"
)

// Set returns the reading now as if somebody had set the clock by that many whole
// seconds before it: the wall clock differs, the monotonic clock does not. now is a
// reading of time.Now. Set panics if package time no longer stores readings as it
// did.
func Set(now time.Time, by time.Duration) time.Time {
	set := now
	// The first word holds the wall clock's seconds above 30 bits of nanoseconds.
	*(*uint64)(unsafe.Pointer(&set)) += uint64(by/time.Second) << 30
	if set.Sub(now) != 0 || set.Round(0).Sub(now.Round(0)) != by.Truncate(time.Second) {
		panic("clocktest: package time keeps readings in another form, or this is none of time.Now")
	}
	return set
}
