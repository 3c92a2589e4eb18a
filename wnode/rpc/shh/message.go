package shh

import (
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"

	"whisperpush/whisper"
)

// Message is a received message as callers get it.
type Message struct {
	Sig       hexutil.Bytes `json:"sig,omitempty"` // public key of the signer, 65 bytes
	TTL       uint32        `json:"ttl"`           // seconds
	Timestamp uint32        `json:"timestamp"`     // when it was sent, Unix seconds
	Topic     whisper.Topic `json:"topic"`
	Payload   hexutil.Bytes `json:"payload"`
	Padding   hexutil.Bytes `json:"padding"`
	PoW       float64       `json:"pow"`
	Hash      common.Hash   `json:"hash"`                         // of the envelope
	Dst       hexutil.Bytes `json:"recipientPublicKey,omitempty"` // of an asymmetric message, 65 bytes
}

func newMessage(r whisper.Received) *Message {
	m := &Message{
		TTL:       r.Envelope.TTL,
		Timestamp: r.Envelope.Sent(),
		Topic:     r.Envelope.Topic,
		Payload:   r.Message.Payload,
		Padding:   r.Message.Padding,
		PoW:       r.Envelope.PoW(r.At),
		Hash:      r.Envelope.Hash(),
	}
	if r.Message.Signer != nil {
		m.Sig = crypto.FromECDSAPub(r.Message.Signer)
	}
	if r.Message.To != nil {
		m.Dst = crypto.FromECDSAPub(r.Message.To)
	}
	return m
}
