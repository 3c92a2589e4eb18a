package inbox

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/pushext/client"
	"whisperpush/whisper"
)

// Scheme is the scheme of links to chats and messages. In ABNF, with HEXDIG of either
// case:
//
//	link    = "whisper:" ( message / chat [ "/" message ] )
//	chat    = topic [ "." tag ]       ; without a tag: any chat of the topic
//	topic   = "0x" 8HEXDIG
//	tag     = 16HEXDIG                ; tells chats of one topic apart, see client.ChatID
//	message = "0x" 64HEXDIG           ; hash of an envelope
const Scheme = "whisper"

// maxLink is more than the length of the longest link, in bytes.
const maxLink = 128

var (
	// ErrLinkMalformed says that a text has the scheme but is not a link.
	ErrLinkMalformed = errors.New("inbox: malformed link")
	// ErrLinkForeign says that a link has another scheme, or leads to a chat that the
	// user does not have.
	ErrLinkForeign = errors.New("inbox: the link does not lead to a chat of this device")
	// ErrLinkUnknown says that the chat exists, but the message does not and, as far
	// as is known, never did.
	ErrLinkUnknown = errors.New("inbox: the message of the link is not known")
	// ErrLinkExpired says that the message existed and was removed.
	ErrLinkExpired = errors.New("inbox: the message of the link was removed")
)

// Link is a parsed link.
type Link struct {
	Topic   whisper.Topic // zero if HasChat is not set
	Tag     [8]byte       // zero if HasTag is not set
	Message common.Hash   // zero if HasMessage is not set

	HasChat, HasTag, HasMessage bool
}

// ChatLink returns the link to a chat.
func ChatLink(chat client.ChatID) string { return Scheme + ":" + chat.String() }

// MessageLink returns the link to a message of a chat.
func MessageLink(chat client.ChatID, message common.Hash) string {
	return ChatLink(chat) + "/" + message.Hex()
}

// String returns the link in its canonical form: lower case.
func (l Link) String() string {
	var parts []string
	if l.HasChat {
		chat := "0x" + hex.EncodeToString(l.Topic[:])
		if l.HasTag {
			chat += "." + hex.EncodeToString(l.Tag[:])
		}
		parts = append(parts, chat)
	}
	if l.HasMessage {
		parts = append(parts, l.Message.Hex())
	}
	return Scheme + ":" + strings.Join(parts, "/")
}

// ParseLink reads a link. Its error is ErrLinkForeign for another scheme, and
// otherwise ErrLinkMalformed.
func ParseLink(text string) (Link, error) {
	scheme, rest, ok := strings.Cut(text[:min(len(text), maxLink+1)], ":")
	if !ok || !strings.EqualFold(scheme, Scheme) {
		return Link{}, fmt.Errorf("%w: %.40q is not of the scheme %q", ErrLinkForeign, text, Scheme)
	}
	if len(text) > maxLink {
		return Link{}, fmt.Errorf("%w: it has %d bytes, at most %d", ErrLinkMalformed, len(text), maxLink)
	}
	var l Link
	first, second, two := strings.Cut(rest, "/")
	if !two && len(first) == 2+2*common.HashLength {
		second, two = first, true
	} else {
		topic, tag, tagged := strings.Cut(first, ".")
		if err := hexInto(l.Topic[:], topic, "0x"); err != nil {
			return Link{}, fmt.Errorf("%w: topic: %w", ErrLinkMalformed, err)
		}
		l.HasChat, l.HasTag = true, tagged
		if tagged {
			if err := hexInto(l.Tag[:], tag, ""); err != nil {
				return Link{}, fmt.Errorf("%w: tag of a chat: %w", ErrLinkMalformed, err)
			}
		}
	}
	if two {
		if err := hexInto(l.Message[:], second, "0x"); err != nil {
			return Link{}, fmt.Errorf("%w: hash of a message: %w", ErrLinkMalformed, err)
		}
		l.HasMessage = true
	}
	return l, nil
}

// hexInto reads exactly the digits that fill to.
func hexInto(to []byte, text, prefix string) error {
	digits, ok := strings.CutPrefix(text, prefix)
	if !ok || len(digits) != 2*len(to) {
		return fmt.Errorf("%q is not %s and %d hexadecimal digits", text, prefix, 2*len(to))
	}
	if _, err := hex.Decode(to, []byte(digits)); err != nil {
		return fmt.Errorf("%q: %w", text, err)
	}
	return nil
}

// Target is where a link leads.
type Target struct {
	Chat       client.ChatID
	Message    Message // if HasMessage
	HasMessage bool
}

// Resolve follows a link to a chat or a message in the inbox. Errors wrap one of the
// ErrLink errors.
func (i *Inbox) Resolve(text string) (Target, error) {
	l, err := ParseLink(text)
	if err != nil {
		return Target{}, err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	chat, ours := i.linked(l)
	if !ours {
		return Target{}, fmt.Errorf("%w: %s", ErrLinkForeign, l)
	}
	if !l.HasMessage {
		return Target{Chat: chat}, nil
	}
	e := i.model.find(l.Message)
	switch {
	case e == nil && i.model.gone.has(markOf(l.Message)):
		return Target{}, fmt.Errorf("%w: %s", ErrLinkExpired, l)
	case e == nil:
		return Target{}, fmt.Errorf("%w: %s", ErrLinkUnknown, l)
	case i.chats[e.Chat] == nil:
		return Target{}, fmt.Errorf("%w: %s", ErrLinkForeign, l)
	case l.HasChat && e.Chat.Topic() != l.Topic, l.HasTag && e.Chat != chat:
		return Target{}, fmt.Errorf("%w: %s is in another chat", ErrLinkUnknown, l)
	}
	return Target{Chat: e.Chat, Message: i.seen(e), HasMessage: true}, nil
}

// linked returns the chat of a link, and whether the user has it. A link to a message
// alone may lead to any chat.
func (i *Inbox) linked(l Link) (chat client.ChatID, ours bool) {
	if !l.HasChat {
		return chat, true
	}
	for id := range i.chats {
		if id.Topic() != l.Topic || l.HasTag && [8]byte(id[whisper.TopicSize:]) != l.Tag {
			continue
		}
		if !ours || string(id[:]) < string(chat[:]) { // the same chat every time
			chat, ours = id, true
		}
	}
	return chat, ours
}

// Follow follows a link as Resolve does, and asks the mailserver for a message that is
// not in the inbox: a device that has the key of its chat finds it by the hash alone.
// If the mailserver has it but none of the user's chats opens it, the error is
// ErrLinkForeign.
func (i *Inbox) Follow(ctx context.Context, text string) (Target, error) {
	target, err := i.Resolve(text)
	if !errors.Is(err, ErrLinkUnknown) {
		return target, err
	}
	l, _ := ParseLink(text)
	event, err := i.device.Fetch(ctx, []common.Hash{l.Message})
	if err = errors.Join(err, i.take(ctx, &event)); err != nil {
		return Target{}, err
	}
	target, err = i.Resolve(text)
	if errors.Is(err, ErrLinkUnknown) {
		i.mu.Lock()
		closed := i.model.findUnopened(l.Message) >= 0
		i.mu.Unlock()
		if closed {
			return Target{}, fmt.Errorf("%w: %s", ErrLinkForeign, l)
		}
	}
	return target, err
}
