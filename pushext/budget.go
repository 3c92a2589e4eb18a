package pushext

import "time"

// Budget limits the wake-ups of one device, so that a flooded topic neither drains
// the battery nor exceeds the platform's own limits. A device may be woken Burst
// times at once, and then once every Every. Envelopes that match meanwhile wait for
// the next wake-up, so none is lost.
type Budget struct {
	Burst int           // wake-ups at once, at least 1
	Every time.Duration // until one more is allowed; 0 is no limit
}

// Quieter is implemented by a Provider whose push service limits notifications
// that are not Visible apart from the others, as Apple does with background
// pushes. Such a service is also assumed to keep only one notification for a device
// that is offline, whatever its CollapseID, so a dismissal must not follow a wake-up
// that may still wait there.
type Quieter interface {
	// Quiet is the limit on such notifications to one device; the zero Budget is no
	// limit.
	Quiet() Budget
}

// Collapser is implemented by a Provider whose push service delays notifications with a
// CollapseID once it has taken many of them for a device.
type Collapser interface {
	// Collapsible is how many of them one device may be sent before the service
	// delays the next; the zero Budget is no limit. The provider sends wake-ups
	// beyond it that are Unreplaced without CollapseID.
	Collapsible() Budget
}

// Paced is implemented by a Provider whose push service documents how many
// requests it takes. Delivery.Rates overrides it.
type Paced interface {
	// Rate is how many attempts a second one lane may make.
	Rate() float64
}
