package voucher

import (
	"crypto/rand"
	"fmt"
	mrand "math/rand/v2"

	"github.com/cloudflare/circl/blindsign/blindrsa"
)

// SecretSize is the length in bytes of an order's secret.
const SecretSize = 32

// Order is a voucher in the making. All of it is derived from a secret and a public key,
// so that an app that was restarted can continue with the secret.
type Order struct {
	public  *PublicKey
	secret  [SecretSize]byte
	serial  [SerialSize]byte
	client  blindrsa.Client
	state   blindrsa.State
	blinded []byte
}

// NewOrder begins an order for a voucher of a key. The error wraps ErrKey.
func NewOrder(k *PublicKey) (*Order, error) {
	var secret [SecretSize]byte
	rand.Read(secret[:]) // never fails
	return ResumeOrder(k, secret)
}

// ResumeOrder continues the order with a secret that Secret returned. The error wraps
// ErrKey.
func ResumeOrder(k *PublicKey, secret [SecretSize]byte) (*Order, error) {
	o := &Order{public: k, secret: secret}
	random := mrand.NewChaCha8(secret)
	random.Read(o.serial[:]) // never fails
	var err error
	if o.client, err = blindrsa.NewClient(variant, k.key); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrKey, err)
	}
	if o.blinded, o.state, err = o.client.Blind(random, signed(o.serial)); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrKey, err)
	}
	return o, nil
}

// Secret returns what ResumeOrder needs. Whoever knows it knows the voucher's
// request and serial.
func (o *Order) Secret() [SecretSize]byte { return o.secret }

// Blinded returns the request to be signed, SignatureSize bytes. It reveals nothing
// about the voucher.
func (o *Order) Blinded() []byte { return o.blinded }

// Finish makes the voucher from the signature of the order's Blinded request. The error
// wraps ErrInvalid if the signature is not by this key for this request.
func (o *Order) Finish(signature []byte) (voucher []byte, err error) {
	if len(signature) != SignatureSize {
		return nil, fmt.Errorf("%w: signature of %d bytes, want %d", ErrInvalid, len(signature), SignatureSize)
	}
	open, err := o.client.Finalize(o.state, signature)
	if err != nil {
		return nil, fmt.Errorf("%w: not a signature of this key under this request", ErrInvalid)
	}
	voucher = append(append(voucher, o.public.id[:]...), o.serial[:]...)
	return append(voucher, open...), nil
}
