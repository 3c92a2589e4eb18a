package registration

import (
	"time"

	"whisperpush/pushext"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// Errand is a code on its way to an address. It names all that it is about, and
// not a place in a record that may be another's meanwhile: it is over when its
// registration has that challenge no more.
type Errand struct {
	ID       ID
	Provider string
	Address  pushext.Address
	Code     [pushwire.CodeSize]byte
	Until    time.Time // when the code is good for nothing any more
	Fare     Fare
}

// Fare is what an errand holds, until it is over, of what challenges share.
type Fare struct {
	Lane    Lane
	Source  whisper.Source // of who asked for it
	Address [16]byte       // fingerprint of the address
	Cost    time.Duration  // what it takes of the source's budget, set when it is held
}
