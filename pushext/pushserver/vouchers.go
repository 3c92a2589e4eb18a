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
	// Keys are the keys whose vouchers are accepted, at least one.
	Keys []*voucher.PublicKey
	// Term is how long a voucher pays for, from its first use or from the end of the
	// time that was paid for before.
	Term time.Duration
	// FreeChannels is how many channels a registration may have without a voucher. 0:
	// registrations need one.
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
