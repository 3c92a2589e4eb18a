package registry

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"whisperpush/durable"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushwire"
)

// Admission says what a registration has to be paid for. Its methods are called by many
// goroutines.
type Admission interface {
	// Free is how many channels a registration may have without payment; -1 allows no
	// registration without payment either.
	Free() int
	// Redeem looks at a voucher, which is not empty. It does not know which vouchers were
	// used before: the registry does. The error is a *registration.Refusal.
	Redeem(voucher []byte) (Payment, error)
}

// Payment is what a voucher is worth.
type Payment struct {
	Serial []byte        // tells vouchers apart
	Term   time.Duration // how long it pays for; 0: it is not needed here, and not used up
}

// Gratis is the Admission of a server that asks for no payment.
type Gratis struct{}

// Free implements Admission.
func (Gratis) Free() int { return math.MaxInt }

// Redeem implements Admission.
func (Gratis) Redeem([]byte) (Payment, error) { return Payment{}, nil }

// pay decides until when a registration is paid for, and ends it then if it has to be
// paid for. old is the live registration before it, nil if there is none.
func (c *decision) pay(rec, old *Record, p Payment, now time.Time) error {
	if old != nil {
		rec.Paid = old.Paid
	}
	if p.Term > 0 {
		until, err := c.redeem(rec, p, now)
		if err != nil {
			return err
		}
		rec.Paid = until
	}
	free := c.admission.Free()
	if len(rec.Channels) <= free {
		return nil
	}
	if !rec.Paid.After(now) {
		if free < 0 {
			return registration.Refuse(pushwire.Unpaid, "registrations here are paid for: register with a voucher")
		}
		return registration.Refuse(pushwire.Unpaid, "more than %d channels are paid for here: register with a voucher", free)
	}
	if rec.Paid.Before(rec.Expires) {
		rec.Expires = rec.Paid
	}
	return nil
}

// redeem uses up a voucher for a registration's key, and returns until when the key has
// paid. The key may show it again, for instance after its registration ended or gave way,
// and gets what it paid for, once.
func (c *decision) redeem(rec *Record, p Payment, now time.Time) (time.Time, error) {
	serial, owner := c.fingerprint(prefixSpent, p.Serial), c.fingerprint(domainPayer, rec.Key[:])
	key := append([]byte{prefixSpent}, serial[:]...)
	value, err := c.value(key)
	switch {
	case err == nil && len(value) == len(owner)+8 && [16]byte(value) == owner:
		until := registration.FromMillis(binary.BigEndian.Uint64(value[len(owner):]))
		if until.Before(rec.Paid) {
			until = rec.Paid
		}
		return until, nil
	case err == nil:
		return time.Time{}, errSpent
	case !errors.Is(err, durable.ErrNotFound):
		return time.Time{}, fmt.Errorf("look up a voucher: %w", err)
	}
	elsewhere, err := c.elsewhere(prefixSpent, serial, 1)
	if err != nil {
		return time.Time{}, err
	}
	if len(elsewhere) > 0 {
		return time.Time{}, errSpent
	}
	from := now
	if rec.Paid.After(now) {
		from = rec.Paid
	}
	until := from.Add(p.Term)
	c.set(key, binary.BigEndian.AppendUint64(owner[:], registration.Millis(until)))
	return until, nil
}

var errSpent = registration.Refuse(pushwire.Unpaid, "this voucher was used for another registration")
