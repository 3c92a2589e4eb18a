package whisper

import (
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/ethereum/go-ethereum/crypto"
)

// TopicSize is the length of a topic in bytes (EIP-627, "Topics").
const TopicSize = 4

// Topic is a probabilistic hint, visible to everybody, about the receiver of
// an envelope: a receiver tries to open only the envelopes with their
// topics.
type Topic [TopicSize]byte

// TopicFor returns the topic commonly used for a name: the first four bytes of
// its Keccak-256.
func TopicFor(name string) Topic {
	return Topic(crypto.Keccak256([]byte(name))[:TopicSize])
}

// ParseTopic reads a topic in hexadecimal, with or without the prefix "0x".
func ParseTopic(s string) (Topic, error) {
	var t Topic
	b, err := hex.DecodeString(strings.TrimPrefix(s, "0x"))
	if err != nil || len(b) != TopicSize {
		return t, fmt.Errorf("whisper: topic %.20q is not four bytes in hexadecimal, such as 0x5a4ea131", s)
	}
	return Topic(b), nil
}

// String returns the topic in hexadecimal with the prefix "0x".
func (t Topic) String() string { return "0x" + hex.EncodeToString(t[:]) }

// MarshalText returns String.
func (t Topic) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText is ParseTopic.
func (t *Topic) UnmarshalText(text []byte) (err error) {
	*t, err = ParseTopic(string(text))
	return err
}
