package outbox

import (
	"whisperpush/pushext/pushserver/registration"
)

// Bell is what an outbox tells, without locks, about sending.
type Bell interface {
	// Ring says that a device may have something to be woken for, or that the number it
	// waited for is reserved. crowd says that it is one of very many, so that others go
	// first.
	Ring(id registration.ID, crowd bool)
	// Resume is Ring for what is left from before a restart.
	Resume(id registration.ID)
	// Calm says that a device showed a sign of life.
	Calm(id registration.ID)
	// Climb says that a device was woken through a route, has not fetched, and is
	// to be woken through the next one if it does not.
	Climb(id registration.ID, route int)
}

// mute is the bell before begin: nobody is woken yet.
type mute struct{}
