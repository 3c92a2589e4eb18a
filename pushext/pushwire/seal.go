package pushwire

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"fmt"

	"github.com/ethereum/go-ethereum/crypto"

	"whisperpush/whisper"
)

// topicName is the name behind Topic.
const topicName = "whisperpush/2"

// DefaultPoW is the proof of work that a server asks of a request's envelope
// by default; it takes a phone some milliseconds.
const DefaultPoW = 0.2

// Topic is the well-known topic of requests and replies.
func Topic() whisper.Topic { return whisper.TopicFor(topicName) }

// SealRequest signs a request with the registration key and encrypts it to the
// server's push key, for packet 126. It works until the envelope has the proof
// of work pow, or ctx ends.
func SealRequest(ctx context.Context, req Request, registrationKey *ecdsa.PrivateKey, pushKey *ecdsa.PublicKey, pow float64) (*whisper.Envelope, error) {
	req.Server = crypto.CompressPubkey(pushKey)
	payload, err := EncodeRequest(req)
	if err != nil {
		return nil, err
	}
	return seal(ctx, payload, registrationKey, pushKey, pow)
}

// OpenRequest decrypts a request with the server's push key and returns its
// signer. The signer is nil if there is nobody to answer: the envelope cannot be
// opened (whisper.ErrCannotOpen), is too large (ErrTooLarge) or is not signed
// (ErrSigner). An error with a signer is to be answered. It is one of
// DecodeRequest's, or ErrServer for a request that names another server.
func OpenRequest(env *whisper.Envelope, pushKey *ecdsa.PrivateKey) (Request, *ecdsa.PublicKey, error) {
	m, err := open(env, pushKey)
	if err != nil {
		return Request{}, nil, err
	}
	req, err := DecodeRequest(m.Payload)
	if err == nil && !req.For(&pushKey.PublicKey) {
		return Request{ID: req.ID}, m.Signer, ErrServer
	}
	return req, m.Signer, err
}

// SealReply signs a reply with the push key and encrypts it to the key that
// signed the request, for packet 127.
func SealReply(ctx context.Context, rep Reply, pushKey *ecdsa.PrivateKey, registrationKey *ecdsa.PublicKey) (*whisper.Envelope, error) {
	rep.To = crypto.CompressPubkey(registrationKey)
	payload, err := EncodeReply(rep)
	if err != nil {
		return nil, err
	}
	return seal(ctx, payload, pushKey, registrationKey, 0)
}

// OpenReply decrypts a reply with the registration key. It fails with ErrSigner
// unless the push key signed it, and with ErrReceiver if it is for another account.
func OpenReply(env *whisper.Envelope, registrationKey *ecdsa.PrivateKey, pushKey *ecdsa.PublicKey) (Reply, error) {
	m, err := open(env, registrationKey)
	if err != nil {
		return Reply{}, err
	}
	if !m.Signer.Equal(pushKey) {
		return Reply{}, ErrSigner
	}
	rep, err := DecodeReply(m.Payload)
	if err == nil && len(rep.To) > 0 && !bytes.Equal(rep.To, crypto.CompressPubkey(&registrationKey.PublicKey)) {
		return Reply{}, ErrReceiver
	}
	return rep, err
}

func seal(ctx context.Context, payload []byte, from *ecdsa.PrivateKey, to *ecdsa.PublicKey, pow float64) (*whisper.Envelope, error) {
	env, err := whisper.Seal(ctx, whisper.Draft{
		Payload: payload,
		Padding: Padding(len(payload)),
		Topic:   Topic(),
		Sign:    from,
		To:      to,
		PoW:     pow,
	})
	if err != nil {
		return nil, fmt.Errorf("pushwire: sealing: %w", err)
	}
	return env, nil
}

func open(env *whisper.Envelope, key *ecdsa.PrivateKey) (*whisper.Message, error) {
	if len(env.Data) > MaxData {
		return nil, fmt.Errorf("%w: envelope with %d bytes of data, at most %d", ErrTooLarge, len(env.Data), MaxData)
	}
	m, err := env.OpenAsymmetric(key)
	if err != nil {
		return nil, fmt.Errorf("pushwire: %w", err)
	}
	if m.Signer == nil {
		return nil, fmt.Errorf("%w: no signature", ErrSigner)
	}
	return m, nil
}

// Padding returns random bytes that pad a signed message with a payload of
// the given length to the next of SizeClasses, and none beyond the last. A
// mail request padded with it cannot be told from a registration.
func Padding(payload int) []byte { return padding(payload, 0) }

// SymmetricPadding is Padding for a message that is encrypted with a symmetric key,
// such as a mail request with the mailserver's password. The data of its envelope is as
// long as that of a message to a public key.
func SymmetricPadding(payload int) []byte { return padding(payload, eciesOverhead-symmetricOverhead) }

// padding fills the next size class and adds more bytes besides.
func padding(payload, more int) []byte {
	size := messageOverhead + payload
	if payload < 1<<8 {
		size-- // the payload size takes one byte
	}
	for _, class := range SizeClasses {
		if size <= class {
			padding := make([]byte, class-size+more)
			rand.Read(padding)
			return padding
		}
	}
	return []byte{}
}
