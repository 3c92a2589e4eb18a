package attempt

import "time"

// clockStep is how far the clock may be set, in either direction, before what was
// signed by it counts as signed by a wrong clock. Push services allow for about a
// minute.
const clockStep = 30 * time.Second

// Stepped reports whether the clock was set between two readings of time.Now, or
// stood still while the computer slept: the times on the wall are then apart by
// another span than the one that has passed. A token that was signed in between says
// a time that is wrong, or that nobody knows to be right, and has to be renewed.
func Stepped(then, now time.Time) bool {
	passed := now.Sub(then)                   // by the monotonic clock
	onWall := now.Round(0).Sub(then.Round(0)) // Round(0) leaves the wall clock
	return (onWall - passed).Abs() > clockStep
}
