package client

import (
	"crypto/ecdsa"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// ChatID identifies a chat among all others, including those on the same topic. It is
// the same for everybody who has the chat's key: the topic, and 8 bytes of the
// Keccak-256 of what opens the chat.
type ChatID [whisper.TopicSize + 8]byte

// String returns the topic and the rest in hexadecimal, such as
// 0x5a4ea131.1f2e3d4c5b6a7988.
func (id ChatID) String() string {
	return fmt.Sprintf("0x%x.%x", id[:whisper.TopicSize], id[whisper.TopicSize:])
}

// Topic returns the chat's topic.
func (id ChatID) Topic() whisper.Topic { return whisper.Topic(id[:whisper.TopicSize]) }

// Chat is one conversation that the device listens to. It has either Key or Identity.
type Chat struct {
	Name     string            // what a preview calls it
	Topic    whisper.Topic     // of its envelopes
	Key      []byte            // symmetric key of its members, 32 bytes
	Identity *ecdsa.PrivateKey // key that its messages are encrypted to

	Mode       pushwire.Mode // when it wakes the device; zero: every envelope
	MutedUntil time.Time     // silent up to then
	// Unlisted keeps the chat off the server's list: nothing in it wakes the device,
	// and the registration does not tell the server that the device listens to it.
	// History asks for it all the same, over the device's connection.
	Unlisted bool
}

// PasswordChat is a chat whose members share a password. The topic is usually
// whisper.TopicFor of its name.
func PasswordChat(name string, topic whisper.Topic, password string) Chat {
	return Chat{Name: name, Topic: topic, Key: whisper.KeyFromPassword(password)}
}

// ID returns the identifier of the chat among all others.
func (c *Chat) ID() ChatID {
	opener := c.Key
	if c.Identity != nil {
		opener = crypto.CompressPubkey(&c.Identity.PublicKey)
	}
	sum := crypto.Keccak256([]byte("whisperpush/2 chat"), c.Topic[:], opener)
	return ChatID(slices.Concat(c.Topic[:], sum[:len(ChatID{})-whisper.TopicSize]))
}

// open decrypts an envelope of the chat.
func (c *Chat) open(e *whisper.Envelope) (*whisper.Message, error) {
	if c.Identity != nil {
		return e.OpenAsymmetric(c.Identity)
	}
	return e.OpenSymmetric(c.Key)
}

func (c *Chat) channel() pushwire.Channel {
	channel := pushwire.Channel{Topic: c.Topic, Mode: c.Mode}
	if !c.MutedUntil.IsZero() {
		channel.MutedUntil = uint64(c.MutedUntil.Unix())
	}
	return channel
}

// Preview is what a notification shows.
type Preview struct {
	Chat    string           // name of the chat
	Topic   whisper.Topic    // of the chat
	ChatID  ChatID           // which chat it is
	Sender  *ecdsa.PublicKey // who signed the message; nil: nobody did
	Payload []byte           // the message as sent
	Text    string           // the message for display: without control characters, at most PreviewLength characters
	// Sent is when the message was sent. If Claimed is set, that is the claim, to the
	// second, of whoever put the envelope on the network, which may be somebody who
	// sent another's message again. Otherwise the sender gave the time inside the
	// message and signed it (Compose), to the millisecond.
	Sent    time.Time
	Claimed bool
	// Hash identifies the envelope, and so the notification. A message that comes in
	// several envelopes keeps the hash of the first.
	Hash common.Hash
	// Message identifies what was encrypted, whatever envelope it comes in.
	Message common.Hash
	// Read says that the message was read on another of the user's devices; see
	// Config.Complete.
	Read bool
}

// PreviewLength is the longest Preview.Text, in characters.
const PreviewLength = 240

// Link is an address with which a tap on a notification opens the right message, such
// as whisper:0x5a4ea131/0x8f….
func (p *Preview) Link() string { return "whisper:" + p.Topic.String() + "/" + p.Hash.Hex() }

// Open opens an envelope with the chats of its topic. It returns nil if none of them
// can: another conversation may use the same topic.
func (e Unopened) Open(chats []Chat) *Preview { return preview(chats, e.Envelope) }

// preview opens an envelope with the chats of its topic. It returns nil if none of them
// can: another conversation may use the same topic.
func preview(chats []Chat, e *whisper.Envelope) *Preview {
	for i := range chats {
		chat := &chats[i]
		if chat.Topic != e.Topic {
			continue
		}
		m, err := chat.open(e)
		if err != nil {
			continue
		}
		p := &Preview{
			Chat: chat.Name, Topic: chat.Topic, ChatID: chat.ID(), Sender: m.Signer, Payload: m.Payload, Text: Printable(m.Payload),
			Hash: e.Hash(), Message: e.Message(),
		}
		if sent, ok := sentBy(m); ok {
			p.Sent = sent
		} else {
			p.Sent, p.Claimed = time.Unix(int64(e.Sent()), 0), true
		}
		return p
	}
	return nil
}

// Printable is the part of a message that a notification can show without deceiving
// anybody: the beginning of its text, see Preview.Text.
func Printable(payload []byte) string {
	var b strings.Builder
	length := 0
	for _, r := range strings.ToValidUTF8(string(payload[:min(len(payload), 4*PreviewLength)]), "�") {
		if length == PreviewLength {
			b.WriteRune('…')
			break
		}
		switch {
		case r == '\n' || r == '\t':
			r = ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r):
			continue
		}
		b.WriteRune(r)
		length++
	}
	return b.String()
}
