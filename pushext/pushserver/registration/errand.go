package registration

import (
	"time"

	"whisperpush/pushext"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// Errand is a code on its way to an address. It holds everything needed to send it,
// rather than a position in a record that may have changed meanwhile. It is over when
// its registration no longer has that challenge.
type Errand struct {
	ID       ID
	Provider string
	Address  pushext.Address
	Code     [pushwire.CodeSize]byte
	Until    time.Time // when the code expires
	Fare     Fare
	// Server is the push key, compressed, that the challenge names: the one that the device
	// uses.
	Server [pushwire.PushKeySize]byte
}

// Fare is the part of the limits on challenges that an errand uses until it is over.
type Fare struct {
	Lane    Lane
	Source  whisper.Source // of whoever asked for it
	Address [16]byte       // fingerprint of the address
	Cost    time.Duration  // its cost to the source's budget, set when it is held
}
