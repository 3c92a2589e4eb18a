package registration

import (
	"time"

	"whisperpush/pushext/pushwire"
)

// Trial is the latest test push on a route.
type Trial struct {
	Asked   time.Time // zero: there was none lately
	Outcome pushwire.Outcome
	Reason  string // if it was not accepted
	Budget  int    // wake-ups that may go through the route now
}
