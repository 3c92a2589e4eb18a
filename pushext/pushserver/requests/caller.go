package requests

import (
	"context"

	"whisperpush/desk"
	"whisperpush/whisper"
)

// Caller is where a request came from and where its answer goes: a peer of devp2p
// (shh.go) or any other transport that carries envelopes both ways. Two Callers are
// equal (==) if they are the same connection.
type Caller interface {
	// ID names the connection. At the desk it takes turns as one.
	ID() desk.ID
	// Source is the unit that a limit on strangers counts: the network the caller comes
	// from, as connections are free. It is asked once, when a request comes.
	Source() whisper.Source
	// Up reports whether the connection stands, as far as is known without sending.
	Up() bool
	// Stays reports whether the connection outlives the answer, so that a ring may come
	// over it as long as it is up.
	Stays() bool
	// Send hands envelopes to the other side. It returns when the other side has taken
	// them, or ctx ends.
	Send(ctx context.Context, envs ...*whisper.Envelope) error
	// Useful is called when a request was granted. Proved is called when a request
	// was signed by a registration that once proved an address: the connection is
	// worth more than a stranger's.
	Useful()
	Proved()
	// Answered is called once for each request that was handed in, when nothing more will
	// be sent for it, whether it was answered, refused or dropped. It is not called for
	// requests that wait when the server stops.
	Answered()
}
