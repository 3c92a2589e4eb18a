package pushserver

import (
	"errors"
	"time"

	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/registry"
	"whisperpush/pushext/pushwire"
	"whisperpush/pushext/voucher"
)

// Vouchers is the Admission of a server whose registrations are paid for by vouchers.
type Vouchers struct {
	// Keys are those whose vouchers are taken, one at least.
	Keys []*voucher.PublicKey
	// Term is for how long a voucher pays, from when it is first used, or from the end
	// of what was paid for before.
	Term time.Duration
	// FreeChannels is how many channels a registration may have without one. 0: there
	// are no registrations without one.
	FreeChannels int
}

// Free implements Admission.
func (v Vouchers) Free() int {
	if v.FreeChannels == 0 {
		return -1
	}
	return v.FreeChannels
}

// Redeem implements Admission.
func (v Vouchers) Redeem(given []byte) (registry.Payment, error) {
	for _, key := range v.Keys {
		switch serial, err := key.Verify(given); {
		case err == nil:
			return registry.Payment{Serial: serial[:], Term: v.Term}, nil
		case !errors.Is(err, voucher.ErrUnknownKey):
			return registry.Payment{}, registration.Refuse(pushwire.Unpaid, "this is not a voucher of this server")
		}
	}
	return registry.Payment{}, registration.Refuse(pushwire.Unpaid, "this voucher is from another shop, or too old")
}
