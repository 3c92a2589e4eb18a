package attempt

import "time"

// clockStep is how far the clock may be set, in either direction, before what was
// signed by it counts as signed by a wrong clock. Push services allow for about a
// minute.
const clockStep = 30 * time.Second

// Stepped reports whether the clock was set between two readings of time.Now, or stood
// still while the computer slept: the wall clock and the monotonic clock then disagree on
// how much time has passed. A token signed at the first names a time that is wrong, or not
// known to be right, and has to be renewed.
func Stepped(then, now time.Time) bool {
	passed := now.Sub(then)                   // by the monotonic clock
	onWall := now.Round(0).Sub(then.Round(0)) // Round(0) leaves the wall clock
	return (onWall - passed).Abs() > clockStep
}
