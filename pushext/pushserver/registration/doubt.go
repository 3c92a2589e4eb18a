package registration

import "time"

// Doubt is that a push service calls an address dead and is not believed yet.
type Doubt struct {
	Since  time.Time // zero: it does not
	Reason string
}
