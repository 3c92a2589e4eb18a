package pushserver

import (
	"time"

	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// errand is a code on its way to an address. It names all that it is about, and
// not a place in a record that may be another's meanwhile: it is over when its
// registration has that challenge no more.
type errand struct {
	id       registration.ID
	provider string
	address  pushext.Address
	code     [pushwire.CodeSize]byte
	until    time.Time // when the code is good for nothing any more
	fare     fare
}

// fare is what an errand holds, until it is over, of what challenges share.
type fare struct {
	lane    laneKey
	source  whisper.Source // of who asked for it
	address [16]byte       // fingerprint of the address
}
