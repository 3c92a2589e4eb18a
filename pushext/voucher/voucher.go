package voucher

import (
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/cloudflare/circl/blindsign/blindrsa"
)

const (
	// KeyBits is the length of an RSA key's modulus.
	KeyBits = 2048
	// IDSize is the length in bytes of a key's ID.
	IDSize = 8
	// SerialSize is the length in bytes of a voucher's serial, which is unique.
	SerialSize = 32
	// SignatureSize is the length in bytes of a signature, and of a blinded request.
	SignatureSize = KeyBits / 8
	// Size is the length in bytes of a voucher: the ID of the key it is signed with, its
	// serial, and the signature.
	Size = IDSize + SerialSize + SignatureSize

	variant = blindrsa.SHA384PSSDeterministic
	domain  = "whisperpush voucher 1" // comes before the serial in what is signed

	publicBlock  = "PUBLIC KEY"
	privateBlock = "PRIVATE KEY"
)

var (
	// ErrKey means that something is not a key of this package.
	ErrKey = errors.New("not a voucher key")
	// ErrInvalid means that something is not a voucher, or part of one, made with the
	// key.
	ErrInvalid = errors.New("invalid voucher")
	// ErrUnknownKey means that a voucher was made with another key.
	ErrUnknownKey = errors.New("voucher of an unknown key")
)

// PublicKey verifies the vouchers that its Key made. It may be published.
type PublicKey struct {
	key      *rsa.PublicKey
	id       [IDSize]byte
	verifier blindrsa.Verifier
}

// ParsePublicKey reads a PEM file with one public key ("BEGIN PUBLIC KEY", RFC 7468), as
// PublicKey.PEM writes it. The error wraps ErrKey.
func ParsePublicKey(text []byte) (*PublicKey, error) {
	block, _ := pem.Decode(text)
	switch {
	case block == nil:
		return nil, fmt.Errorf("%w: no PEM block", ErrKey)
	case block.Type == privateBlock:
		return nil, fmt.Errorf("%w: this is the private key; a mailserver needs the public one alone", ErrKey)
	case block.Type != publicBlock:
		return nil, fmt.Errorf("%w: PEM block %q, want %q", ErrKey, block.Type, publicBlock)
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrKey, err)
	}
	key, ok := parsed.(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("%w: %T, want RSA", ErrKey, parsed)
	}
	return newPublicKey(key)
}

func newPublicKey(key *rsa.PublicKey) (*PublicKey, error) {
	if bits := key.N.BitLen(); bits != KeyBits {
		return nil, fmt.Errorf("%w: RSA with %d bits, want %d", ErrKey, bits, KeyBits)
	}
	verifier, err := blindrsa.NewVerifier(variant, key)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrKey, err)
	}
	return &PublicKey{key, idOf(key), verifier}, nil
}

// idOf returns the beginning of the SHA-256 of a key in PKIX form.
func idOf(key *rsa.PublicKey) (id [IDSize]byte) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		panic(err) // every RSA key has a form
	}
	sum := sha256.Sum256(der)
	copy(id[:], sum[:])
	return id
}

// ID tells keys apart.
func (k *PublicKey) ID() [IDSize]byte { return k.id }

// PEM returns k in the form that ParsePublicKey reads.
func (k *PublicKey) PEM() []byte {
	der, err := x509.MarshalPKIXPublicKey(k.key)
	if err != nil {
		panic(err) // every RSA key has a form
	}
	return pem.EncodeToMemory(&pem.Block{Type: publicBlock, Bytes: der})
}

// Verify returns the serial of a voucher that the key made. The error wraps ErrInvalid or
// ErrUnknownKey. It takes some 30 µs.
func (k *PublicKey) Verify(voucher []byte) (serial [SerialSize]byte, err error) {
	if len(voucher) != Size {
		return serial, fmt.Errorf("%w: %d bytes, want %d", ErrInvalid, len(voucher), Size)
	}
	if [IDSize]byte(voucher) != k.id {
		return serial, fmt.Errorf("%w: %x", ErrUnknownKey, voucher[:IDSize])
	}
	serial = [SerialSize]byte(voucher[IDSize:])
	if err := k.verifier.Verify(signed(serial), voucher[IDSize+SerialSize:]); err != nil {
		return serial, fmt.Errorf("%w: the signature is wrong", ErrInvalid)
	}
	return serial, nil
}

func signed(serial [SerialSize]byte) []byte { return append([]byte(domain), serial[:]...) }
