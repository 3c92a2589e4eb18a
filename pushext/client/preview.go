package client

import (
	"crypto/ecdsa"
	"strings"
	"time"
	"unicode"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// Chat is one thing the device listens to. It has either Key or Identity.
type Chat struct {
	Name     string            // what a preview calls it
	Topic    whisper.Topic     // of its envelopes
	Key      []byte            // symmetric key of its members, 32 bytes
	Identity *ecdsa.PrivateKey // key that its messages are encrypted to

	Mode       pushwire.Mode // when it wakes the device; zero: every envelope
	MutedUntil time.Time     // silent up to then
}

// PasswordChat is a chat whose members share a password. The topic is commonly
// whisper.TopicFor its name.
func PasswordChat(name string, topic whisper.Topic, password string) Chat {
	return Chat{Name: name, Topic: topic, Key: whisper.KeyFromPassword(password)}
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
	Sender  *ecdsa.PublicKey // who signed the message; nil: nobody did
	Payload []byte           // the message as sent
	Text    string           // the message for people: without control characters, at most PreviewLength characters
	// Sent is when the message was sent, to the second, by the claim of whoever
	// put the envelope on the network: that may be somebody who put a message of others
	// there once more. Only a time inside the message is the sender's.
	Sent time.Time
	// Hash names the envelope, and so the notification. A message that comes in
	// several envelopes keeps the hash of the first.
	Hash common.Hash
	// Message names what was encrypted, whatever envelope it comes in.
	Message common.Hash
}

// PreviewLength is the longest Preview.Text, in characters.
const PreviewLength = 240

// Link is an address for the tap on a notification to open the right message,
// such as whisper:0x5a4ea131/0x8f….
func (p *Preview) Link() string { return "whisper:" + p.Topic.String() + "/" + p.Hash.Hex() }

// preview opens an envelope with the chats of its topic. It returns nil if none
// of them can: another conversation may use the topic too.
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
		return &Preview{
			Chat: chat.Name, Topic: chat.Topic, Sender: m.Signer, Payload: m.Payload, Text: printable(m.Payload),
			Sent: time.Unix(int64(e.Sent()), 0), Hash: e.Hash(), Message: e.Message(),
		}
	}
	return nil
}

// printable keeps what a notification can show without being deceived.
func printable(payload []byte) string {
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
