package pushwire

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"whisperpush/whisper"
)

// offerName is the name behind OfferTopic and the key of offers.
const offerName = "whisperpush/2/offer"

// OfferTopic is the discovery topic, on which servers announce themselves.
func OfferTopic() whisper.Topic { return whisper.TopicFor(offerName) }

// offerKey is public; it exists because a Whisper message needs a key.
func offerKey() []byte { return crypto.Keccak256([]byte(offerName)) }

// OfferFilter subscribes to offers.
func OfferFilter() whisper.Filter {
	return whisper.Filter{Topics: []whisper.Topic{OfferTopic()}, Key: offerKey()}
}

// Offer is a server's announcement: a Whisper message on OfferTopic, encrypted
// with the symmetric key Keccak-256("whisperpush/2/offer") and signed by the
// push key. Its payload is RLP [version, issued, expires, enode, providers,
// limits, price, successions].
type Offer struct {
	Issued    uint64 // Unix seconds
	Expires   uint64 // Unix seconds; do not trust the offer any longer
	Enode     string // enode URL or ENR of the node to connect to
	Providers []ProviderOffer
	Limits    Limits
	Price     string // a sentence; empty: free

	// Successions lead from the push key that signed the offer to the server's current
	// one; see PushKey. Empty: the signing key is the current one.
	Successions []Succession `json:",omitzero"`
}

// PushKey returns the current push key (compressed) of the server that made the offer: the
// signer's, or the one that follows it. The error wraps ErrSuccession.
func (o *Offer) PushKey(signer *ecdsa.PublicKey) ([]byte, error) {
	key := crypto.CompressPubkey(signer)
	path, err := Follow(key, o.Successions)
	if err == nil && len(path) > 0 {
		key = bytes.Clone(path[len(path)-1].Next[:])
	}
	return key, err
}

// ProviderOffer describes a provider: [name, info].
type ProviderOffer struct {
	Name string // for Route.Provider
	Info string // what an app needs to get an address, such as the FCM sender id or the VAPID key
}

// EncodeOffer returns the payload of an offer's message.
func EncodeOffer(o Offer) ([]byte, error) {
	b, err := encode(func(w writer) {
		w.WriteUint64(Version)
		w.WriteUint64(o.Issued)
		w.WriteUint64(o.Expires)
		w.WriteString(o.Enode)
		w.list(func() {
			for _, p := range o.Providers {
				w.list(func() {
					w.WriteString(p.Name)
					w.WriteString(p.Info)
				})
			}
		})
		o.Limits.encode(w)
		w.WriteString(o.Price)
		w.tail(len(o.Successions) > 0, func() { writeSuccessions(w, o.Successions) })
	})
	if err != nil {
		return nil, err
	}
	if _, err := DecodeOffer(b); err != nil {
		return nil, fmt.Errorf("encoding an offer: %w", err)
	}
	return b, nil
}

// DecodeOffer reads the payload of an offer's message. An error wraps
// ErrMalformed, ErrVersion or ErrTooLarge.
func DecodeOffer(b []byte) (Offer, error) {
	var o Offer
	if len(b) > MaxPayload {
		return o, fmt.Errorf("%w: offer of %d bytes, at most %d", ErrTooLarge, len(b), MaxPayload)
	}
	r := newReader(b)
	if version := r.uint("version"); r.err == nil && version != Version {
		r.fail(ErrVersion, "%d, not %d", version, Version)
	}
	o.Issued = r.uint("issue time")
	o.Expires = r.uint("expiry")
	o.Enode = string(r.bytes("enode", MaxEnode))
	o.Providers = items(r, "providers", MaxProviders, sublist("provider", func(r *reader) (p ProviderOffer) {
		p.Name = string(r.bytes("provider name", MaxProviderName))
		p.Info = string(r.bytes("provider info", MaxInfo))
		return p
	}))
	o.Limits = readLimits(r)
	o.Price = string(r.bytes("price", MaxText))
	o.Successions = readSuccessions(r)
	if r.err != nil {
		return Offer{}, r.err
	}
	return o, nil
}

// SealOffer makes the envelope of an offer, to be posted to the network. It
// lives for ttl, at least a second, and has the proof of work pow.
func SealOffer(ctx context.Context, o Offer, pushKey *ecdsa.PrivateKey, ttl time.Duration, pow float64) (*whisper.Envelope, error) {
	payload, err := EncodeOffer(o)
	if err != nil {
		return nil, err
	}
	env, err := whisper.Seal(ctx, whisper.Draft{
		Payload: payload,
		Topic:   OfferTopic(),
		TTL:     uint32(max(1, ttl/time.Second)),
		Sign:    pushKey,
		Key:     offerKey(),
		PoW:     pow,
	})
	if err != nil {
		return nil, fmt.Errorf("pushwire: sealing an offer: %w", err)
	}
	return env, nil
}

// OpenOffer reads an offer and returns the push key that signed it. Anybody can
// make offers; the offer of a server you know is the one signed by its key.
func OpenOffer(env *whisper.Envelope) (Offer, *ecdsa.PublicKey, error) {
	m, err := env.OpenSymmetric(offerKey())
	if err != nil {
		return Offer{}, nil, fmt.Errorf("pushwire: %w", err)
	}
	if m.Signer == nil {
		return Offer{}, nil, fmt.Errorf("%w: no signature", ErrSigner)
	}
	o, err := DecodeOffer(m.Payload)
	if err != nil {
		return Offer{}, nil, err
	}
	return o, m.Signer, nil
}
