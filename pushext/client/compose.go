package client

import (
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/binary"
	"math"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"whisperpush/whisper"
)

// A message says when it was sent in its padding, which is encrypted and signed with
// it and which other programs ignore:
//
//	mark 8 ‖ Unix milliseconds 8, big-endian ‖ random
const (
	stampSize = 16
	// paddedTo is the multiple of bytes to which a message, including its signature,
	// is padded, as whisper.Seal does by itself.
	paddedTo = 256
	// signatureSize is the size of a message's signature.
	signatureSize = crypto.SignatureLength
)

// stampMark tells a padding with a time from a random one, which starts with these
// bytes by chance once in 2^64 messages.
func stampMark() []byte { return crypto.Keccak256([]byte("whisperpush/2 sent"))[:8] }

// Compose returns the draft of a message to a symmetric chat. The draft says when it
// was sent, encrypted and signed with the message, so nobody who copies the envelope
// can change the time. sign may be nil; then the message gives no time either,
// because any member could have written it. For a chat with an identity, set Key to
// nil and To to the receiver.
func Compose(chat Chat, payload []byte, sign *ecdsa.PrivateKey, sent time.Time) whisper.Draft {
	draft := whisper.Draft{Payload: payload, Topic: chat.Topic, Key: chat.Key, Sign: sign, Now: sent}
	if sign == nil {
		return draft
	}
	bare := 1 + 1 + len(payload) + signatureSize
	for n := len(payload) >> 8; n > 0; n >>= 8 {
		bare++
	}
	size := paddedTo - bare%paddedTo
	if size < stampSize {
		size += paddedTo
	}
	draft.Padding = make([]byte, size)
	rand.Read(draft.Padding)
	copy(draft.Padding, stampMark())
	binary.BigEndian.PutUint64(draft.Padding[8:], uint64(sent.UnixMilli()))
	return draft
}

// sentBy is when the sender says they sent a message. It is false if they gave no
// time, or gave it without their signature.
func sentBy(m *whisper.Message) (time.Time, bool) {
	if m.Signer == nil || len(m.Padding) < stampSize || string(m.Padding[:8]) != string(stampMark()) {
		return time.Time{}, false
	}
	ms := binary.BigEndian.Uint64(m.Padding[8:])
	if ms > math.MaxUint32*1000 { // beyond what an envelope can tell
		return time.Time{}, false
	}
	return time.UnixMilli(int64(ms)), true
}
