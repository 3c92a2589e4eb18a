package pushext

import (
	"context"
)

// Linked is implemented by a Provider that reaches devices over connections which they
// keep open themselves, with no push service in between. The address of its routes is the
// registration key (33 bytes, compressed), which the registry checks. It needs no
// challenge, because every request is signed with it.
type Linked interface {
	Provider

	// Heard says that a request signed with the key in addr has just come through
	// link. It reports whether the device is newly connected: whether its former
	// link, if any, was a different one.
	Heard(addr Address, link Link) (fresh bool)
}

// Link is a connection through which a device has proved that it is there. Two are
// equal (==) if they are the same connection to the same device. Any connection
// that can carry requests and wake-ups may be one.
type Link interface {
	// Ring hands the body of a wake-up to the device, and returns when it is
	// written. The error says that the link is no longer usable, or is ctx's.
	Ring(ctx context.Context, body []byte) error
	// Up tells whether the connection stands, as far as is known without
	// sending anything.
	Up() bool
}

// Carried is implemented by a Link whose connection may carry the links of other
// registrations too, which cost their owner nothing. All wake-ups for one connection
// wait in one lane, so that a connection that does not read holds up only itself.
type Carried interface {
	Link
	// Connection names the connection. It is a map key only.
	Connection() string
}
