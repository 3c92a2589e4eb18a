package uplink

import (
	"crypto/ecdsa"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"

	"whisperpush/whisper"
)

// The base protocol of devp2p. The codes from baseLength on belong to the
// protocol that both ends have: shh/6, as this end offers no other.
const (
	helloMessage      = 0x00
	disconnectMessage = 0x01
	pingMessage       = 0x02
	pongMessage       = 0x03
	baseLength        = 0x10

	baseVersion   = 5 // with it messages after the hello are compressed
	maxHelloBytes = 2 << 10
)

var emptyList = rlp.EmptyList // payload of ping and pong

// hello is the message in which each end introduces itself.
type hello struct {
	Version    uint64
	Name       string
	Caps       []capability
	ListenPort uint64
	ID         []byte         // public key without its first byte
	Rest       []rlp.RawValue `rlp:"tail"`
}

type capability struct {
	Name    string
	Version uint
}

var shh = capability{whisper.ProtocolName, whisper.ProtocolVersion}

// handshake agrees on keys, proves both identities and exchanges hellos.
func (l *Link) handshake(key *ecdsa.PrivateKey, name string) error {
	l.tcp.SetDeadline(time.Now().Add(handshakeTimeout))
	if _, err := l.rlpx.Handshake(key); err != nil {
		return fmt.Errorf("the key exchange failed: %w", broken(err))
	}
	ours, err := rlp.EncodeToBytes(&hello{
		Version: baseVersion, Name: name, Caps: []capability{shh}, ID: crypto.FromECDSAPub(&key.PublicKey)[1:],
	})
	if err != nil {
		return err
	}
	_, writeErr := l.rlpx.Write(helloMessage, ours)
	theirs, err := l.readHello() // even if the write failed: it may say why
	if err == nil && writeErr != nil {
		err = broken(writeErr)
	}
	if err != nil {
		return err
	}
	l.rlpx.SetSnappy(theirs.Version >= baseVersion)
	if !slices.Contains(theirs.Caps, shh) {
		return ErrNoWhisper
	}
	l.tcp.SetDeadline(time.Time{})
	return nil
}

// readHello reads the first message of the other end.
func (l *Link) readHello() (hello, error) {
	code, payload, err := l.read(handshakeTimeout)
	switch {
	case err != nil:
		return hello{}, err
	case code == disconnectMessage:
		return hello{}, decodeDisconnect(payload)
	case code != helloMessage:
		return hello{}, fmt.Errorf("%w: first message has code %d (!= %d)", errHello, code, helloMessage)
	}
	return decodeHello(payload)
}

var errHello = errors.New("the node introduces itself wrongly")

// decodeHello reads a hello. Elements that later versions add are skipped.
func decodeHello(payload []byte) (h hello, err error) {
	if len(payload) > maxHelloBytes {
		return h, fmt.Errorf("%w: hello of %d bytes (> %d)", errHello, len(payload), maxHelloBytes)
	}
	if err := rlp.DecodeBytes(payload, &h); err != nil {
		return h, fmt.Errorf("%w: hello of %d bytes: %w", errHello, len(payload), err)
	}
	return h, nil
}

// Disconnected is the reason with which the other end hung up.
type Disconnected uint8

// Reasons that a caller may want to distinguish.
const (
	TooManyPeers     Disconnected = 0x04 // it has no room now, but may have later
	AlreadyConnected Disconnected = 0x05 // there is a link with the same identity
	Quitting         Disconnected = 0x08 // it stops

	subprotocolError Disconnected = 0x10
	unreadable       Disconnected = 0xff
)

var words = map[Disconnected]string{
	0x00:             "it was asked to",
	0x01:             "a network error",
	0x02:             "a breach of protocol",
	0x03:             "we are of no use to it",
	TooManyPeers:     "it has as many peers as it takes",
	AlreadyConnected: "it is connected to us already",
	0x06:             "it speaks another version of devp2p",
	0x07:             "our identity is invalid",
	Quitting:         "it stops",
	0x09:             "it expected another identity",
	0x0a:             "it is ourselves",
	0x0b:             "it heard nothing for too long",
	subprotocolError: "a mistake in shh/6",
}

func (d Disconnected) Error() string {
	word := words[d]
	if word == "" {
		word = fmt.Sprintf("reason %d", uint8(d))
	}
	return "the node hung up: " + word
}

func encodeDisconnect(word Disconnected) []byte {
	b, err := rlp.EncodeToBytes([]uint64{uint64(word)})
	if err != nil {
		panic("uplink: internal error: a byte without RLP: " + err.Error())
	}
	return b
}

// decodeDisconnect reads a list with the reason or, from some old nodes, the bare
// reason.
func decodeDisconnect(payload []byte) Disconnected {
	if content, _, err := rlp.SplitList(payload); err == nil {
		payload = content
	}
	reason, _, err := rlp.SplitUint64(payload)
	if err != nil || reason > 0xff {
		return unreadable
	}
	return Disconnected(reason)
}
