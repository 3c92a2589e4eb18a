package registration

import "time"

// Doubt means that a push service calls an address dead and is not believed yet.
type Doubt struct {
	Since  time.Time // zero: there is no doubt
	Reason string
}
