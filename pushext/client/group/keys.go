package group

import (
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/sha256"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"

	"whisperpush/pushext/client"
	"whisperpush/whisper"
)

// Key is a member's compressed public key, with which their signatures are
// checked.
type Key [33]byte

// KeyOf returns the compressed form of a public key.
func KeyOf(key *ecdsa.PublicKey) Key { return Key(crypto.CompressPubkey(key)) }

// public reverses KeyOf. It fails for bytes that are not a point of the curve.
func (k Key) public() (*ecdsa.PublicKey, error) { return crypto.DecompressPubkey(k[:]) }

// Secrets of an epoch.
type (
	secret [32]byte // of the epoch: every member in it has it
	ticket [32]byte // of one member in an epoch
)

// Keys, IDs and secrets are hexadecimal in a Store.

// MarshalText implements encoding.TextMarshaler.
func (k Key) MarshalText() ([]byte, error) { return hexutil.Bytes(k[:]).MarshalText() }

// UnmarshalText implements encoding.TextUnmarshaler.
func (k *Key) UnmarshalText(text []byte) error { return hexutil.UnmarshalFixedText("Key", text, k[:]) }

// MarshalText implements encoding.TextMarshaler.
func (id ID) MarshalText() ([]byte, error) { return hexutil.Bytes(id[:]).MarshalText() }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *ID) UnmarshalText(text []byte) error { return hexutil.UnmarshalFixedText("ID", text, id[:]) }

func (s secret) MarshalText() ([]byte, error) { return hexutil.Bytes(s[:]).MarshalText() }
func (s *secret) UnmarshalText(text []byte) error {
	return hexutil.UnmarshalFixedText("secret", text, s[:])
}
func (t ticket) MarshalText() ([]byte, error) { return hexutil.Bytes(t[:]).MarshalText() }
func (t *ticket) UnmarshalText(text []byte) error {
	return hexutil.UnmarshalFixedText("ticket", text, t[:])
}

// Labels of what is derived from IDs, secrets and tickets by HMAC-SHA256.
const (
	labelMessages = "whisperpush/2 group messages"
	labelTopic    = "whisperpush/2 group topic"
	labelTicket   = "whisperpush/2 group ticket"
	labelRing     = "whisperpush/2 group ring"
	labelPledge   = "whisperpush/2 group pledge"
	labelChat     = "whisperpush/2 group chat"
	labelMessage  = "whisperpush/2 group message"
)

func derive(from []byte, label string, more ...[]byte) [32]byte {
	mac := hmac.New(sha256.New, from)
	mac.Write([]byte(label))
	for _, m := range more {
		mac.Write(m)
	}
	return [32]byte(mac.Sum(nil))
}

// place is a topic and the key of what is sent to it.
type place struct {
	topic whisper.Topic
	key   [32]byte
}

func (s secret) messages() place {
	topic := derive(s[:], labelTopic)
	return place{whisper.Topic(topic[:whisper.TopicSize]), derive(s[:], labelMessages)}
}

func (s secret) ticket(member Key) ticket { return derive(s[:], labelTicket, member[:]) }

// pledge is what others are told of a secret before it is used.
func (s secret) pledge() common.Hash { return derive(s[:], labelPledge) }

// ring returns the place where a member is rung.
func (t ticket) ring() place {
	topic := derive(t[:], labelTopic)
	return place{whisper.Topic(topic[:whisper.TopicSize]), derive(t[:], labelRing)}
}

// chat is the chat that stands for a group in an inbox. It is the same in all
// epochs, and no envelope on the network has its topic or its key.
func (id ID) chat(name string) client.Chat {
	key, topic := derive(id[:], labelChat), derive(id[:], labelTopic)
	return client.Chat{Name: name, Topic: whisper.Topic(topic[:whisper.TopicSize]), Key: key[:], Unlisted: true}
}

// messageID names a message of a group, whatever envelope it comes in. Nobody
// can make a message with the id of another author's.
func messageID(group ID, author Key, id common.Hash) common.Hash {
	return crypto.Keccak256Hash(slices.Concat([]byte(labelMessage), group[:], author[:], id[:]))
}
