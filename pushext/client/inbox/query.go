package inbox

import (
	"bytes"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/pushext/client"
)

// Message is one message, as the user sees it.
type Message struct {
	Hash    common.Hash // of its first envelope, and of its notification
	Message common.Hash // of what was encrypted, see client.Preview
	Chat    client.ChatID
	Sender  []byte // compressed key; empty: not signed
	Payload []byte // nil if Cut
	Text    string
	Sent    time.Time
	Claimed bool // Sent is not the sender's word, see client.Preview
	Came    time.Time
	Own     bool // sent by the user
	Read    bool
	Blocked bool // its sender is
	Cut     bool // its payload has more than MaxPayload bytes
	Shown   bool // the platform has its notification
}

// Chat is one chat, as the user sees it.
type Chat struct {
	ID         client.ChatID
	Name       string
	Messages   int
	Unread     int       // without those of blocked senders
	MutedUntil time.Time // zero: it is not muted
}

// Failure is a message that will never be sent.
type Failure struct {
	ID      string
	Chat    client.ChatID
	Payload []byte
	Reason  string
}

// Outgoing is a message that is still to be sent.
type Outgoing struct {
	ID      string
	Chat    client.ChatID
	Payload []byte
	Written time.Time
}

// Counts are counts of what is not shown.
type Counts struct {
	Unopened int    // envelopes that wait for a key
	Never    uint64 // of All, those that limits pushed out unopened
	All      uint64 // envelopes that no chat could open when they arrived
	Evicted  uint64 // messages that made room for others
}

// Unread is how many messages the user has still to see: not read, and not muted or
// blocked. It is the number on the icon.
func (i *Inbox) Unread() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.unread(time.Now())
}

func (i *Inbox) unread(now time.Time) int {
	n := 0
	for id := range i.chats {
		if !i.model.muted(id, now) {
			n += i.unreadOf(id)
		}
	}
	return n
}

func (i *Inbox) unreadOf(id client.ChatID) int {
	n := 0
	if c := i.model.chats[id]; c != nil {
		for _, e := range c.entries {
			if e.unread() && !i.model.blocked(e.Sender) {
				n++
			}
		}
	}
	return n
}

// Chats returns the chats, by name.
func (i *Inbox) Chats() []Chat {
	i.mu.Lock()
	defer i.mu.Unlock()
	now := time.Now()
	var all []Chat
	for id, c := range i.chats {
		of := Chat{ID: id, Name: c.Name, Unread: i.unreadOf(id)}
		if kept := i.model.chats[id]; kept != nil {
			of.Messages = len(kept.entries)
		}
		if i.model.muted(id, now) {
			of.MutedUntil = time.Unix(int64(min(i.model.mutes[id].until, 1<<40)), 0)
		}
		all = append(all, of)
	}
	slices.SortFunc(all, func(a, b Chat) int {
		return bytes.Compare(append([]byte(a.Name), a.ID[:]...), append([]byte(b.Name), b.ID[:]...))
	})
	return all
}

// Messages returns the messages of a chat in the order of arrival.
func (i *Inbox) Messages(chat client.ChatID) []Message {
	i.mu.Lock()
	defer i.mu.Unlock()
	var all []Message
	if c := i.model.chats[chat]; c != nil {
		for _, e := range c.entries {
			all = append(all, i.seen(e))
		}
	}
	return all
}

// Message returns the message of an envelope or of a notification; false: there is
// none.
func (i *Inbox) Message(hash common.Hash) (Message, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	e := i.model.find(hash)
	if e == nil {
		return Message{}, false
	}
	return i.seen(e), true
}

// Notification returns what the platform shows for a message, named by any of its
// envelopes; false: nothing.
func (i *Inbox) Notification(hash common.Hash) (Notification, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	e := i.model.find(hash)
	if e == nil || e.Display != displayed {
		return Notification{}, false
	}
	return i.notification(e, Quiet), true
}

// Outgoing returns the messages that are still to be sent, in the order in which
// they were written.
func (i *Inbox) Outgoing() []Outgoing {
	i.mu.Lock()
	defer i.mu.Unlock()
	var all []Outgoing
	for _, o := range i.model.drafts {
		all = append(all, Outgoing{o.ID, o.Chat, o.Payload, time.UnixMilli(int64(o.Written))})
	}
	return all
}

// Failures returns the newest messages that will never be sent.
func (i *Inbox) Failures() []Failure {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.model.failures)
}

// Counts returns counts of what is not shown.
func (i *Inbox) Counts() Counts {
	i.mu.Lock()
	defer i.mu.Unlock()
	return Counts{len(i.model.unopened), i.model.counts.Dropped, i.model.counts.Unopened, i.model.counts.Evicted}
}

func (i *Inbox) seen(e *entry) Message {
	return Message{
		Hash: e.Hash, Message: e.Message, Chat: e.Chat, Sender: e.Sender, Payload: e.Payload, Text: e.Text,
		Sent: time.UnixMilli(int64(e.Sent)), Claimed: e.Claimed, Came: time.UnixMilli(int64(e.Came)),
		Own: e.Own, Read: e.Read || e.Own, Blocked: i.model.blocked(e.Sender), Cut: e.Cut, Shown: e.Display == displayed,
	}
}
