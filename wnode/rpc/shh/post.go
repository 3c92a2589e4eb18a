package shh

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"

	"whisperpush/whisper"
)

// What geth answers, word for word where programs may compare it.
var (
	errOneKey           = errors.New("specify either a symmetric or an asymmetric key")
	errInvalidPublicKey = errors.New("invalid public key")
	errInvalidSigner    = errors.New("invalid signing public key")
	errLowPoW           = errors.New("message rejected, PoW too low")
	errNoTopics         = errors.New("missing topic(s)")
)

// maxWork bounds the time one call may spend on proof of work.
const maxWork = time.Minute

// NewMessage is the parameter of shh_post. What is left out, or an empty string or 0x, is not given.
type NewMessage struct {
	SymKeyID   string        `json:"symKeyID"`   // id of a symmetric key; exactly one of this and PublicKey
	PublicKey  hexutil.Bytes `json:"pubKey"`     // the receiver's, 65 bytes
	Sig        string        `json:"sig"`        // id of the key pair to sign with
	TTL        uint32        `json:"ttl"`        // seconds
	Topic      whisper.Topic `json:"topic"`      // required with a symmetric key
	Payload    hexutil.Bytes `json:"payload"`    //
	Padding    hexutil.Bytes `json:"padding"`    // not given: random, to a multiple of 256 bytes
	PowTime    uint32        `json:"powTime"`    // most seconds of work, at most 60 in any case
	PowTarget  float64       `json:"powTarget"`  // least proof of work
	TargetPeer string        `json:"targetPeer"` // enode URL of the one peer to send it to, as a direct message
}

// Post seals a message and sends it: to everyone, or to the target peer alone. It returns the envelope's hash.
func (a *API) Post(ctx context.Context, m NewMessage) (hexutil.Bytes, error) {
	draft := whisper.Draft{
		Payload:  m.Payload,
		Topic:    m.Topic,
		TTL:      m.TTL,
		PoW:      m.PowTarget,
		WorkTime: min(time.Duration(m.PowTime)*time.Second, maxWork),
		MaxSize:  a.node.MaxMessageSize(),
	}
	if draft.WorkTime == 0 {
		draft.WorkTime = maxWork
	}
	if len(m.Padding) > 0 {
		draft.Padding = m.Padding
	}
	if (m.SymKeyID == "") == (len(m.PublicKey) == 0) {
		return nil, errOneKey
	}
	var err error
	if m.SymKeyID != "" {
		if m.Topic == (whisper.Topic{}) {
			return nil, errNoTopics
		}
		if draft.Key, err = a.keys.symmetricKey(m.SymKeyID); err != nil {
			return nil, err
		}
	} else if draft.To, err = crypto.UnmarshalPubkey(m.PublicKey); err != nil {
		return nil, errInvalidPublicKey
	}
	if m.Sig != "" {
		if draft.Sign, err = a.keys.pair(m.Sig); err != nil {
			return nil, err
		}
	}
	if m.TargetPeer != "" {
		return a.postTo(ctx, m.TargetPeer, draft)
	}
	if m.PowTarget < a.node.MinPoW() {
		return nil, errLowPoW
	}
	env, err := whisper.Seal(ctx, draft)
	if err != nil {
		return nil, err
	}
	if err := a.node.Post(ctx, env); err != nil {
		return nil, err
	}
	return env.Hash().Bytes(), nil
}

// postTo sends to one peer, who asks for no proof of work.
func (a *API) postTo(ctx context.Context, url string, draft whisper.Draft) (hexutil.Bytes, error) {
	peer, err := parsePeer(url)
	if err != nil {
		return nil, err
	}
	env, err := whisper.Seal(ctx, draft)
	if err != nil {
		return nil, err
	}
	if err := a.node.SendDirect(ctx, peer, env); err != nil {
		return nil, fmt.Errorf("send to the target peer: %w", err)
	}
	return env.Hash().Bytes(), nil
}
