package pushext

import (
	"context"
)

// Linked is implemented by a Provider that reaches devices over connections
// which they keep open themselves, with nobody in between. The address of its
// routes is the registration key (33 bytes, compressed), which the registry
// checks; it needs no challenge, for every request is signed by it.
type Linked interface {
	Provider

	// Heard says that a request signed by the key in addr has come through link
	// just now. It reports whether the device is newly there: its former link,
	// if any, was another one.
	Heard(addr Address, link Link) (fresh bool)
}

// Link is a connection through which a device has proved to be there. Two are
// equal (==) if they are the same connection to the same device. Today it is a
// devp2p link; whatever can carry a request and a ring may be one.
type Link interface {
	// Ring hands the body of a wake-up to the device, and returns when it is
	// written. The error says that the link is of no use any more, or is ctx's.
	Ring(ctx context.Context, body []byte) error
	// Up tells whether the connection stands, as far as is known without
	// sending anything.
	Up() bool
}

// Carried is implemented by a Link whose connection may carry those of other
// registrations too, which cost their owner nothing. What goes over one connection
// waits in one lane, so that one which takes nothing holds up only itself.
type Carried interface {
	Link
	// Connection names the connection. It is a map key only.
	Connection() string
}
