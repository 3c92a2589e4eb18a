package voucher

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"

	"github.com/cloudflare/circl/blindsign/blindrsa"
)

// Key makes vouchers. Whoever has it can make any number of them. A mailserver does
// not need it.
type Key struct {
	private *rsa.PrivateKey
	public  *PublicKey
	signer  blindrsa.Signer
}

// NewKey makes a Key.
func NewKey() (*Key, error) {
	private, err := rsa.GenerateKey(rand.Reader, KeyBits)
	if err != nil {
		return nil, fmt.Errorf("make a voucher key: %w", err)
	}
	return newKey(private)
}

// ParseKey reads a PEM file with one private key ("BEGIN PRIVATE KEY", RFC 7468), as
// Key.PEM writes it. The error wraps ErrKey.
func ParseKey(text []byte) (*Key, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != privateBlock {
		return nil, fmt.Errorf("%w: no PEM block %q", ErrKey, privateBlock)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrKey, err)
	}
	private, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%w: %T, want RSA", ErrKey, parsed)
	}
	return newKey(private)
}

func newKey(private *rsa.PrivateKey) (*Key, error) {
	public, err := newPublicKey(&private.PublicKey)
	if err != nil {
		return nil, err
	}
	return &Key{private, public, blindrsa.NewSigner(private)}, nil
}

// Public returns the key that verifies the vouchers of k.
func (k *Key) Public() *PublicKey { return k.public }

// PEM returns k in the form that ParseKey reads. It is secret.
func (k *Key) PEM() []byte {
	der, err := x509.MarshalPKCS8PrivateKey(k.private)
	if err != nil {
		panic(err) // every RSA key has a form
	}
	return pem.EncodeToMemory(&pem.Block{Type: privateBlock, Bytes: der})
}

// Sign signs the blinded request of an order that was paid for. The same request gives
// the same signature, and so the same voucher. The error wraps ErrInvalid.
func (k *Key) Sign(blinded []byte) ([]byte, error) {
	if len(blinded) != SignatureSize {
		return nil, fmt.Errorf("%w: blinded request of %d bytes, want %d", ErrInvalid, len(blinded), SignatureSize)
	}
	signature, err := k.signer.BlindSign(blinded)
	if err != nil {
		return nil, fmt.Errorf("%w: blinded request: %v", ErrInvalid, err)
	}
	return signature, nil
}
