package pushext

import "time"

// Budget limits the wake-ups of one device, so that a flooded topic drains no
// battery and stays below the platform's own limits. A device may be woken
// Burst times at once, and then once every Every; what matches meanwhile waits
// and is in the next wake-up, so nothing is lost by it.
type Budget struct {
	Burst int           // wake-ups at once, at least 1
	Every time.Duration // until one more is allowed; 0 is no limit
}

// Quieter is implemented by a Provider whose push service limits notifications
// that are not Visible apart from the others, as Apple does with background
// pushes. Such a service is also taken to keep one notification for a device that
// is offline, whatever its CollapseID, so that a dismissal must not follow a
// wake-up that may wait there.
type Quieter interface {
	// Quiet is how many of them one device may be sent; the zero Budget is no limit.
	Quiet() Budget
}

// Collapser is implemented by a Provider whose push service delays the
// notifications of a device that have a CollapseID once there were many of them.
type Collapser interface {
	// Collapsible is how many of them one device may be sent before the next one is
	// late; the zero Budget is no limit. Wake-ups beyond it that are Unreplaced are
	// to be sent without CollapseID.
	Collapsible() Budget
}

// Paced is implemented by a Provider whose push service documents how many
// requests it takes. Delivery.Rates replaces what it says.
type Paced interface {
	// Rate is how many attempts a second one lane may make.
	Rate() float64
}
