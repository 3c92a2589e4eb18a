package requests

import (
	"context"

	"whisperpush/desk"
	"whisperpush/whisper"
)

// Caller is where a request came from, and where its answer goes: a peer of devp2p
// (shh.go), or whatever else carries envelopes both ways. Two are equal (==) if they are
// the same connection.
type Caller interface {
	// ID names the connection. It takes turns at the desk as one.
	ID() desk.ID
	// Source is whom a limit on strangers counts: the network the caller comes from, as
	// connections are free. It is asked once, when a request comes.
	Source() whisper.Source
	// Up tells whether the connection stands, as far as is known without sending.
	Up() bool
	// Stays tells whether the connection goes on after the answer, so that a ring may come
	// over it as long as it is up.
	Stays() bool
	// Send hands envelopes to the other side and returns when it has taken them, or ctx
	// ends.
	Send(ctx context.Context, envs ...*whisper.Envelope) error
	// Useful is called when a request was granted, and Proved when one came that was
	// signed by a registration which proved an address once: the connection is worth
	// more than a stranger's.
	Useful()
	Proved()
	// Answered is called once for each request that was handed in: nothing more comes for
	// it, be it answered, refused or dropped. It is not called for what waits when the
	// server stops.
	Answered()
}
