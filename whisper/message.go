package whisper

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/crypto/ecies"
	"golang.org/x/crypto/pbkdf2"
)

// The plaintext in an envelope (EIP-627, "Contents of Data Field"):
//
//	flags 1 ‖ payload size 1 to 3, little-endian ‖ payload ‖ padding ‖ [signature 65]
//
// The two lowest bits of flags give the length of the size field, the third
// says that there is a signature, which covers everything before it.
const (
	sizeFieldMask = 0x03
	signedFlag    = 0x04

	signatureSize = crypto.SignatureLength
	// paddedTo is the multiple to which a message is padded, its signature
	// included, so that the length tells little.
	paddedTo = 256
	// maxPayload is the most that a size field of three bytes can express.
	maxPayload = 1<<24 - 1
)

// SymmetricKeySize is the length of a symmetric key in bytes: AES-256.
const SymmetricKeySize = 32

const (
	gcmNonceSize = 12
	// eciesOverhead is the public key, the IV and the MAC around a ciphertext.
	eciesPublicKey = 65
	eciesOverhead  = eciesPublicKey + aes.BlockSize + sha256.Size
)

// ErrCannotOpen means that an envelope is not for the given key, or that its
// content is not a message. The two cannot be told apart with certainty.
var ErrCannotOpen = errors.New("whisper: envelope cannot be opened with this key")

// Message is what was inside an envelope.
type Message struct {
	Payload []byte
	Padding []byte
	Signer  *ecdsa.PublicKey // who signed it; nil: not signed
	To      *ecdsa.PublicKey // whose key opened it; nil: a symmetric key
}

// Draft is a message to be sealed in an envelope.
type Draft struct {
	Payload []byte // at most 16 MiB; a node forwards only up to its maximum message size
	Padding []byte // nil: random, up to a multiple of 256 bytes
	Topic   Topic
	TTL     uint32            // seconds; 0: DefaultTTL
	Sign    *ecdsa.PrivateKey // nil: not signed
	Key     []byte            // symmetric key of 32 bytes; exactly one of Key and To is given
	To      *ecdsa.PublicKey  // receiver of an asymmetric message

	MaxSize  uint32        // refuse before any work if Envelope.Size is larger, in bytes; 0: any
	PoW      float64       // least proof of work; 0: none is done
	WorkTime time.Duration // longest time to work; 0: until the context ends
	Now      time.Time     // when it is sent; zero: now
}

// Seal encrypts the draft and works until its envelope has the required proof of
// work. It fails with ErrTooLarge, before any work, if the envelope is larger than
// MaxSize, and with ErrWorkNotDone if the time is over first.
func Seal(ctx context.Context, d Draft) (*Envelope, error) {
	if (d.Key == nil) == (d.To == nil) {
		return nil, errors.New("whisper: a message needs a symmetric key or a receiver's public key, and not both")
	}
	plain, err := d.plaintext()
	if err != nil {
		return nil, err
	}
	var data []byte
	if d.To != nil {
		data, err = ecies.Encrypt(rand.Reader, ecies.ImportECDSAPublic(d.To), plain, nil, nil)
		if err != nil {
			return nil, fmt.Errorf("whisper: encrypting to a public key: %w", err)
		}
	} else if data, err = sealSymmetric(d.Key, plain); err != nil {
		return nil, err
	}
	if size := EnvelopeHeaderSize + len(data); d.MaxSize > 0 && size > int(d.MaxSize) {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, size, d.MaxSize)
	}

	return stamp(ctx, &d, data)
}

// Renew puts the message of an envelope into a new one. It uses only Now, TTL, PoW,
// MaxSize and WorkTime of the draft. Topic, Data and Message stay the same, so
// anybody who has one of the envelopes recognizes the other. It is for a sender
// that does not know whether the first one arrived.
func Renew(ctx context.Context, e *Envelope, d Draft) (*Envelope, error) {
	if size := e.Size(); d.MaxSize > 0 && size > int(d.MaxSize) {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, size, d.MaxSize)
	}
	d.Topic = e.Topic
	return stamp(ctx, &d, e.Data)
}

// stamp makes the envelope around data and does its proof of work.
func stamp(ctx context.Context, d *Draft, data []byte) (*Envelope, error) {
	if d.Now.IsZero() {
		d.Now = time.Now()
	}
	if d.TTL == 0 {
		d.TTL = DefaultTTL
	}
	expiry := d.Now.Unix() + int64(d.TTL)
	if d.Now.Unix() < 0 || expiry > math.MaxUint32 {
		return nil, fmt.Errorf("whisper: TTL %d s leads out of the 32 bits of an expiry", d.TTL)
	}
	e := &Envelope{Expiry: uint32(expiry), TTL: d.TTL, Topic: d.Topic, Data: data}
	work := e.appendWork(nil)
	if d.WorkTime > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.WorkTime)
		defer cancel()
	}
	if err := e.mine(ctx, work, d.PoW); err != nil {
		return nil, err
	}
	e.encode(work)
	return e, nil
}

// plaintext lays out, pads and signs the message.
func (d *Draft) plaintext() ([]byte, error) {
	if len(d.Payload) > maxPayload {
		return nil, fmt.Errorf("whisper: payload of %d bytes, at most %d", len(d.Payload), maxPayload)
	}
	var size []byte
	for n := len(d.Payload); n > 0 || size == nil; n >>= 8 {
		size = append(size, byte(n))
	}
	flags := byte(len(size))
	signature := 0
	if d.Sign != nil {
		flags |= signedFlag
		signature = signatureSize
	}
	bare := 1 + len(size) + len(d.Payload)
	padding := d.Padding
	if padding == nil {
		padding = make([]byte, paddedTo-(bare+signature)%paddedTo)
		rand.Read(padding)
	}

	plain := make([]byte, 0, bare+len(padding)+signature)
	plain = append(plain, flags)
	plain = append(plain, size...)
	plain = append(plain, d.Payload...)
	plain = append(plain, padding...)
	if d.Sign != nil {
		sig, err := crypto.Sign(crypto.Keccak256(plain), d.Sign)
		if err != nil {
			return nil, fmt.Errorf("whisper: signing: %w", err)
		}
		plain = append(plain, sig...)
	}
	return plain, nil
}

// parseMessage reverses plaintext. The bytes may come from anybody who knows a key.
func parseMessage(plain []byte) (*Message, error) {
	if len(plain) == 0 {
		return nil, fmt.Errorf("%w: empty message", ErrCannotOpen)
	}
	m := new(Message)
	flags, body := plain[0], plain[1:]
	if flags&signedFlag != 0 {
		if len(body) <= signatureSize { // flags and a signature without a size field
			return nil, fmt.Errorf("%w: signed message of %d bytes", ErrCannotOpen, len(plain))
		}
		signed := len(plain) - signatureSize
		signer, err := crypto.SigToPub(crypto.Keccak256(plain[:signed]), plain[signed:])
		if err != nil {
			return nil, fmt.Errorf("%w: signature: %v", ErrCannotOpen, err)
		}
		m.Signer = signer
		body = plain[1:signed]
	}
	digits := int(flags & sizeFieldMask)
	if digits > len(body) {
		return nil, fmt.Errorf("%w: no room for the payload size", ErrCannotOpen)
	}
	size := 0
	for i := digits - 1; i >= 0; i-- {
		size = size<<8 | int(body[i])
	}
	body = body[digits:]
	if size > len(body) {
		return nil, fmt.Errorf("%w: payload of %d bytes in a message of %d", ErrCannotOpen, size, len(plain))
	}
	m.Payload = body[:size:size]
	m.Padding = body[size:]
	return m, nil
}

// OpenSymmetric decrypts an envelope with a key of SymmetricKeySize bytes. An
// error wraps ErrCannotOpen.
func (e *Envelope) OpenSymmetric(key []byte) (*Message, error) {
	gcm, err := newGCM(key)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrCannotOpen, err)
	}
	split := len(e.Data) - gcmNonceSize
	if split < gcm.Overhead() {
		return nil, fmt.Errorf("%w: data of %d bytes", ErrCannotOpen, len(e.Data))
	}
	plain, err := gcm.Open(nil, e.Data[split:], e.Data[:split], nil)
	if err != nil {
		return nil, ErrCannotOpen
	}
	return parseMessage(plain)
}

// OpenAsymmetric decrypts an envelope with the private key of its receiver. An
// error wraps ErrCannotOpen.
func (e *Envelope) OpenAsymmetric(key *ecdsa.PrivateKey) (*Message, error) {
	// A ciphertext that is too short, or a point off the curve, must never
	// reach the arithmetic: both were remote faults in the past
	// (CVE-2026-22862, CVE-2026-26315).
	if len(e.Data) <= eciesOverhead {
		return nil, fmt.Errorf("%w: data of %d bytes", ErrCannotOpen, len(e.Data))
	}
	if _, err := crypto.UnmarshalPubkey(e.Data[:eciesPublicKey]); err != nil {
		return nil, ErrCannotOpen
	}
	plain, err := ecies.ImportECDSA(key).Decrypt(e.Data, nil, nil)
	if err != nil {
		return nil, ErrCannotOpen
	}
	m, err := parseMessage(plain)
	if err != nil {
		return nil, err
	}
	m.To = &key.PublicKey
	return m, nil
}

func sealSymmetric(key, plain []byte) ([]byte, error) {
	gcm, err := newGCM(key)
	if err != nil {
		return nil, err
	}
	// The nonce follows the ciphertext, unlike the usual order.
	nonce := make([]byte, gcmNonceSize)
	if _, err := io.ReadFull(rand.Reader, nonce); err != nil {
		return nil, fmt.Errorf("whisper: random nonce: %w", err)
	}
	return append(gcm.Seal(nil, nonce, plain, nil), nonce...), nil
}

func newGCM(key []byte) (cipher.AEAD, error) {
	if len(key) != SymmetricKeySize {
		return nil, fmt.Errorf("whisper: symmetric key of %d bytes, not %d", len(key), SymmetricKeySize)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("whisper: symmetric key: %w", err)
	}
	return cipher.NewGCM(block)
}

// passwordIterations is part of the protocol, odd as it looks: everyone who shares
// a password must use the same number.
const passwordIterations = 65356

// KeyFromPassword derives a symmetric key: PBKDF2 with SHA-256, no salt and
// 65356 iterations. It takes tens of milliseconds.
func KeyFromPassword(password string) []byte {
	return pbkdf2.Key([]byte(password), nil, passwordIterations, SymmetricKeySize, sha256.New)
}
