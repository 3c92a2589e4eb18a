package pushwire

import (
	"bytes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/hpke"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"

	circl "github.com/cloudflare/circl/hpke"
	"golang.org/x/crypto/chacha20"
	"golang.org/x/crypto/chacha20poly1305"
)

const (
	// sealInfo is the info string of HPKE, exportContext the exporter context for the
	// key that payloads are sealed under, and maskInfo makes the key of the mask.
	sealInfo      = "whisperpush/2"
	exportContext = "payload"
	maskInfo      = "whisperpush/2 mask"

	sealNonce        = chacha20poly1305.NonceSizeX
	encapsulatedSize = 32 // an X25519 public key
	sealTag          = chacha20poly1305.Overhead
)

// ErrCannotOpen means that a body is not sealed to the given key.
var ErrCannotOpen = errors.New("pushwire: push payload cannot be opened with this key")

// Sealer seals wake-ups to one device. It agrees on a key with the device once, with
// HPKE (RFC 9180, base mode): DHKEM(X25519, HKDF-SHA256), HKDF-SHA256,
// ChaCha20-Poly1305. The key is the exported secret (section 5.3). The agreement
// takes fifty times as long as sealing, so a device may give its server a Chain
// instead. A Sealer is for devices that did not, and for wake-ups that are not
// messages. A server keeps the Sealer of a device that it wakes often, but not for
// too long: whoever reads it out of memory can open what it sealed.
//
// A sealed payload is
//
//	nonce 24 | encapsulated key 32, masked | XChaCha20-Poly1305 of PlainSize bytes
//
// and a device needs only its private key to open any of them. The encapsulated
// key would be the same in all of them. It is masked with XChaCha20 under the
// nonce and a key made of the public seal key, which only the device and its
// server know, so that no two payloads have anything in common.
//
// It is safe for concurrent use.
type Sealer struct {
	encapsulated [encapsulatedSize]byte
	mask         []byte
	aead         cipher.AEAD
}

func suite() (hpke.KEM, hpke.KDF, hpke.AEAD) {
	return hpke.DHKEM(ecdh.X25519()), hpke.HKDFSHA256(), hpke.ChaCha20Poly1305()
}

// NewSealKey makes the key pair that a device's wake-ups are sealed to, X25519
// keys of SealKeySize bytes. The private key stays on the device.
func NewSealKey() (private, public []byte, err error) {
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("pushwire: seal key: %w", err)
	}
	return key.Bytes(), key.PublicKey().Bytes(), nil
}

// CheckSealKey returns an error if a public seal key cannot be sealed to.
func CheckSealKey(public []byte) error {
	kem, kdf, aead := suite()
	key, err := kem.NewPublicKey(public)
	if err != nil {
		return fmt.Errorf("pushwire: seal key: %w", err)
	}
	// A point of small order has the form of a key, but agrees on no secret.
	if _, _, err := hpke.NewSender(key, kdf, aead, nil); err != nil {
		return fmt.Errorf("pushwire: seal key: %w", err)
	}
	return nil
}

// NewSealer agrees on a key with the device that has the public seal key sealKey. It
// uses circl for the key agreement, which takes two thirds of the time of the standard
// library's. A device opens with the standard library.
func NewSealer(sealKey []byte) (*Sealer, error) {
	suite := circl.NewSuite(circl.KEM_X25519_HKDF_SHA256, circl.KDF_HKDF_SHA256, circl.AEAD_ChaCha20Poly1305)
	key, err := circl.KEM_X25519_HKDF_SHA256.Scheme().UnmarshalBinaryPublicKey(sealKey)
	if err != nil {
		return nil, fmt.Errorf("pushwire: seal key: %w", err)
	}
	sender, err := suite.NewSender(key, []byte(sealInfo))
	if err != nil {
		return nil, fmt.Errorf("pushwire: seal key: %w", err)
	}
	encapsulated, context, err := sender.Setup(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("pushwire: seal key: %w", err)
	}
	s := &Sealer{encapsulated: [encapsulatedSize]byte(encapsulated)}
	if s.mask, err = maskKey(sealKey); err != nil {
		return nil, err
	}
	s.aead, err = chacha20poly1305.NewX(context.Export([]byte(exportContext), chacha20poly1305.KeySize))
	return s, err
}

// Seal returns the body of a wake-up, {"v":2,"p":"<base64>"}. All bodies have
// BodySize bytes, and no two have anything in common but this form.
func (s *Sealer) Seal(p Payload) ([]byte, error) {
	room := sealedRoom.Get().(*[SealedSize]byte)
	defer sealedRoom.Put(room)
	clear(room[:]) // the plaintext ends in zeros
	sealed := room[:]
	nonce, masked, plain := sealed[:sealNonce], sealed[sealNonce:][:encapsulatedSize], sealed[sealNonce+encapsulatedSize:][:PlainSize]
	if err := p.encode(plain); err != nil {
		return nil, err
	}
	rand.Read(nonce) // never fails
	if err := maskWith(s.mask, nonce, masked, s.encapsulated[:]); err != nil {
		return nil, err
	}
	s.aead.Seal(plain[:0], nonce, plain, nil) // in place
	body := make([]byte, 0, BodySize)
	body = append(body, sealedHead...)
	body = append(body, '"')
	body = base64.StdEncoding.AppendEncode(body, sealed)
	return append(body, `"}`...), nil
}

// sealedRoom holds memory for sealed payloads, *[SealedSize]byte.
var sealedRoom = sync.Pool{New: func() any { return new([SealedSize]byte) }}

// sealedHead comes before the sealed payload, a JSON string.
const sealedHead = `{"v":2,"p":`

// SealedPart returns the member "p" of a body that Seal made: a JSON string with its
// quotes, as a slice of body. ok is false for any other body.
func SealedPart(body []byte) (p []byte, ok bool) {
	if len(body) != BodySize || string(body[:len(sealedHead)]) != sealedHead || body[BodySize-1] != '}' {
		return nil, false
	}
	p = body[len(sealedHead) : BodySize-1]
	if p[0] != '"' || p[len(p)-1] != '"' {
		return nil, false
	}
	var sealed [(SealedSize + 2) / 3 * 3]byte
	n, err := base64.StdEncoding.Strict().Decode(sealed[:], p[1:len(p)-1])
	return p, err == nil && n == SealedSize && bytes.IndexByte(p, '\r') < 0 && bytes.IndexByte(p, '\n') < 0 // which the decoder skips
}

// SealPayload seals one wake-up to a device's public seal key, as a Sealer does.
func SealPayload(p Payload, sealKey []byte) ([]byte, error) {
	s, err := NewSealer(sealKey)
	if err != nil {
		return nil, err
	}
	return s.Seal(p)
}

// unseal reverses Seal and SealChained. sealed has SealedSize bytes.
func unseal(sealed, sealPrivate []byte) (plain []byte, err error) {
	kem, kdf, aead := suite()
	key, err := kem.NewPrivateKey(sealPrivate)
	if err != nil {
		return nil, fmt.Errorf("%w: not a private seal key", ErrCannotOpen)
	}
	nonce, masked, sealed := sealed[:sealNonce], sealed[sealNonce:][:encapsulatedSize], sealed[sealNonce+encapsulatedSize:]
	mask, err := maskKey(key.PublicKey().Bytes())
	if err != nil {
		return nil, err
	}
	encapsulated := make([]byte, encapsulatedSize)
	if err := maskWith(mask, nonce, encapsulated, masked); err != nil {
		return nil, err
	}
	under, ok, err := chained(encapsulated, sealPrivate)
	if err != nil {
		return nil, err
	}
	if !ok {
		recipient, err := hpke.NewRecipient(encapsulated, key, kdf, aead, []byte(sealInfo))
		if err != nil {
			return nil, ErrCannotOpen
		}
		if under, err = recipient.Export(exportContext, chacha20poly1305.KeySize); err != nil {
			return nil, fmt.Errorf("pushwire: exporting the payload's key: %w", err)
		}
	}
	opener, err := chacha20poly1305.NewX(under)
	if err != nil {
		return nil, fmt.Errorf("pushwire: payload's key: %w", err)
	}
	if plain, err = opener.Open(nil, nonce, sealed, nil); err != nil {
		return nil, ErrCannotOpen
	}
	return plain, nil
}

// maskKey derives the key of the mask from a public seal key.
func maskKey(sealKey []byte) ([]byte, error) {
	key, err := hkdf.Key(sha256.New, sealKey, nil, maskInfo, chacha20.KeySize)
	if err != nil {
		return nil, fmt.Errorf("pushwire: mask: %w", err)
	}
	return key, nil
}

// maskWith masks an encapsulated key, or removes the mask.
func maskWith(key, nonce, to, from []byte) error {
	stream, err := chacha20.NewUnauthenticatedCipher(key, nonce)
	if err != nil {
		return fmt.Errorf("pushwire: mask: %w", err)
	}
	stream.XORKeyStream(to, from)
	return nil
}
