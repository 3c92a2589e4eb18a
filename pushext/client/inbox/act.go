package inbox

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"whisperpush/pushext/client"
)

// The following methods tell the inbox what the user does. They change the inbox and
// what the platform shows at once, even without a network. What others are to be told
// waits for Flush or Run. When only the platform or the device's acknowledgement
// failed, the change stands, and the rest is tried again at the next occasion.

// ScreenOff says that the screen went off.
func (i *Inbox) ScreenOff(ctx context.Context) error { return i.attend(ctx, ScreenOff) }

// Background says that the screen is on and the app is not in the foreground. That is
// the state of an inbox when it is opened.
func (i *Inbox) Background(ctx context.Context) error { return i.attend(ctx, Background) }

// Foreground says that the user is looking at the app. If a chat is open, its messages
// are read.
func (i *Inbox) Foreground(ctx context.Context) error { return i.attend(ctx, Elsewhere) }

func (i *Inbox) attend(ctx context.Context, a Attention) error {
	return i.update(ctx, func(*change) error {
		i.attention = a
		return nil
	})
}

// ChatOpened says that a chat is visible whenever the app is in the foreground, until
// ChatClosed or another ChatOpened. Its messages are then read.
func (i *Inbox) ChatOpened(ctx context.Context, chat client.ChatID) error {
	return i.update(ctx, func(*change) error {
		i.visible = chat
		return nil
	})
}

// ChatClosed says that no chat is visible.
func (i *Inbox) ChatClosed(ctx context.Context) error {
	return i.ChatOpened(ctx, client.ChatID{})
}

// Read says that messages were read.
func (i *Inbox) Read(ctx context.Context, hashes ...common.Hash) error {
	return i.update(ctx, func(t *change) error {
		t.read(t.model.findAll(hashes))
		return nil
	})
}

// ReadChat says that all messages of a chat were read.
func (i *Inbox) ReadChat(ctx context.Context, chat client.ChatID) error {
	return i.update(ctx, func(t *change) error {
		if c := t.model.chats[chat]; c != nil {
			t.read(c.entries)
		}
		return nil
	})
}

// Sent says that the app itself sent messages to the network: the user's other devices
// are not woken for them. Call it before they are out, and Flush at once. Messages of
// Send do not need it.
func (i *Inbox) Sent(ctx context.Context, hashes ...common.Hash) error {
	return i.update(ctx, func(t *change) error {
		t.add(&readRecord{Hashes: hashes, Here: true})
		return nil
	})
}

// Delete removes messages on this device. On the other devices they count as read.
func (i *Inbox) Delete(ctx context.Context, hashes ...common.Hash) error {
	return i.update(ctx, func(t *change) error {
		t.remove(t.model.findAll(hashes))
		return nil
	})
}

// DeleteChat removes all messages of a chat on this device. On the other devices they
// count as read.
func (i *Inbox) DeleteChat(ctx context.Context, chat client.ChatID) error {
	return i.update(ctx, func(t *change) error {
		t.removeChat(chat)
		return nil
	})
}

func (t *change) removeChat(chat client.ChatID) {
	if c := t.model.chats[chat]; c != nil {
		t.remove(slices.Clone(c.entries))
	}
}

func (t *change) remove(entries []*entry) {
	t.read(entries)
	var hashes []common.Hash
	for _, e := range entries {
		hashes = append(hashes, e.Hash)
	}
	if len(hashes) > 0 {
		t.add(&goneRecord{hashes})
	}
}

func (m *model) findAll(hashes []common.Hash) []*entry {
	var entries []*entry
	for _, hash := range hashes {
		if e := m.find(hash); e != nil {
			entries = append(entries, e)
		}
	}
	return entries
}

// Mute silences a chat on all of the user's devices until a time; the zero time ends
// the mute. Unread messages that arrived meanwhile are then shown, quietly.
func (i *Inbox) Mute(ctx context.Context, chat client.ChatID, until time.Time) error {
	return i.update(ctx, func(t *change) error {
		t.mute(chat, until)
		return nil
	})
}

func (t *change) mute(chat client.ChatID, until time.Time) {
	seconds := uint64(0)
	if !until.IsZero() {
		seconds = uint64(max(until.Unix(), 0))
	}
	t.add(&muteRecord{chat, seconds, t.stamp(t.model.mutes[chat].stamp), true})
}

// Block hides the messages of a sender on all of the user's devices, including earlier
// ones. The sender cannot find out.
func (i *Inbox) Block(ctx context.Context, sender *ecdsa.PublicKey) error {
	return i.block(ctx, sender, true)
}

// Unblock ends a block.
func (i *Inbox) Unblock(ctx context.Context, sender *ecdsa.PublicKey) error {
	return i.block(ctx, sender, false)
}

func (i *Inbox) block(ctx context.Context, sender *ecdsa.PublicKey, on bool) error {
	key := compressed(sender)
	if key == nil {
		return errors.New("inbox: a message that nobody signed has no sender to block")
	}
	return i.update(ctx, func(t *change) error {
		t.add(&blockRecord{key, on, t.stamp(t.model.blocks[string(key)].stamp), true})
		return nil
	})
}

// stamp returns the stamp for a change of something that was last changed at before.
// It is later than before, even if the clock is behind, and differs from the stamp of
// every change that waits to be told: two changes may fall into one millisecond.
func (t *change) stamp(before stamp) stamp {
	s := stamp{max(uint64(time.Now().UnixMilli()), before.At+1), t.model.device}
	for t.model.stamps[s] != nil {
		s.At++
	}
	return s
}

// SetChats replaces the chats. Chats that are no longer among them are removed, as by
// DeleteChat. Envelopes that could not be opened so far are tried with the new chats.
// Flush or Run tells the server. Pass the chats to client.Open in the next run.
func (i *Inbox) SetChats(ctx context.Context, chats []client.Chat) error {
	for at := range chats {
		if (chats[at].Key == nil) == (chats[at].Identity == nil) {
			return fmt.Errorf("inbox: chat %q needs a symmetric key or an identity, and not both", chats[at].Name)
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	before := i.chats
	err := i.change(ctx, func(t *change) error {
		i.setChats(chats)
		for id := range before {
			if i.chats[id] == nil {
				t.removeChat(id)
			}
		}
		i.tryUnopened(t)
		t.add(&channelsRecord{})
		return nil
	})
	if err != nil {
		i.chats = before
		return err
	}
	return i.changed(ctx)
}

// Reshow shows unread messages again, quietly: after the platform has lost its
// notifications, as after a restart of the phone, or after the app was restored on
// another one.
func (i *Inbox) Reshow(ctx context.Context) error {
	return i.update(ctx, func(t *change) error {
		clear(i.shown)
		// If this is tried once more, the platform may have some again: whatever is
		// not wanted is removed in any case.
		var hashes []common.Hash
		for hash, e := range t.model.entries {
			if e.Display != notDisplayed {
				hashes = append(hashes, hash)
			}
		}
		if len(hashes) > 0 {
			t.add(&displayRecord{hashes, maybeDisplayed})
		}
		i.badge = -1
		return nil
	})
}

// Refresh takes over what other processes did to the file, such as Queue, and mutes
// that have ended.
func (i *Inbox) Refresh(ctx context.Context) error {
	return i.update(ctx, func(*change) error { return nil })
}

// ActionKind is what a quick action does.
type ActionKind int

const (
	MarkRead      ActionKind = iota + 1 // the message
	MarkChatRead                        // all of the message's chat
	Reply                               // with Text, and marks the message read
	MuteChat                            // until Until
	DeleteMessage                       // as Delete
)

// Action is what the user chose on a notification, without opening the app.
type Action struct {
	// ID identifies the action: one whose ID was seen before is not carried out again.
	// At most MaxActionID bytes; Queue and Do refuse an empty one.
	ID      string
	Kind    ActionKind
	Message common.Hash // Notification.ID
	Text    string      // of Reply, at most MaxOutgoingPayload bytes
	Until   time.Time   // of MuteChat
}

var (
	// ErrFull says that too many messages wait to be sent.
	ErrFull = errors.New("inbox: too many messages wait to be sent")
	// ErrAction says that an action makes no sense, or that its message is not there.
	ErrAction = errors.New("inbox: action cannot be carried out")
)

// Do carries out an action.
func (i *Inbox) Do(ctx context.Context, a Action) error {
	return i.update(ctx, func(t *change) error { return t.act(a) })
}

// Queue carries out an action while the app does not run, or in another process than
// the app's: it is in the file when Queue returns. A running inbox takes it over with
// the next call, such as Refresh. Its messages are sent when an inbox is next opened.
func Queue(ctx context.Context, name string, a Action) error {
	return queue(ctx, file(name), a)
}

func queue(ctx context.Context, s storage, a Action) error {
	i := &Inbox{journal: journal{storage: s}, model: newModel(), logger: discard()}
	return i.change(ctx, func(t *change) error { return t.act(a) })
}

// act carries out an action, once.
func (t *change) act(a Action) error {
	switch {
	case a.ID == "" || len(a.ID) > MaxActionID:
		return fmt.Errorf("%w: its id has %d bytes, not 1 to %d", ErrAction, len(a.ID), MaxActionID)
	case t.model.actions.has(actionMark(a.ID)):
		return nil
	}
	e := t.model.find(a.Message)
	if e == nil {
		if t.model.gone.has(markOf(a.Message)) {
			return nil // there is nothing left to do
		}
		return fmt.Errorf("%w: there is no message %s", ErrAction, a.Message)
	}
	switch a.Kind {
	case MarkRead:
		t.read([]*entry{e})
	case MarkChatRead:
		t.read(t.model.chats[e.Chat].entries)
	case Reply:
		if err := t.draft(a.ID, e.Chat, e.Sender, []byte(a.Text)); err != nil {
			return err
		}
		t.read([]*entry{e})
	case MuteChat:
		t.mute(e.Chat, a.Until)
	case DeleteMessage:
		t.remove([]*entry{e})
	default:
		return fmt.Errorf("%w: there is no kind %d", ErrAction, a.Kind)
	}
	t.add(&actionRecord{a.ID})
	return nil
}

// Send sends a message to a chat, signed by the first of Config.Own. It is in the file
// when Send returns, and out after Flush or Run; Outgoing lists messages that are not
// out yet.
func (i *Inbox) Send(ctx context.Context, chat client.ChatID, payload []byte) error {
	var id [16]byte
	rand.Read(id[:])
	return i.update(ctx, func(t *change) error {
		if i.chats[chat] == nil {
			return fmt.Errorf("inbox: there is no chat %s", chat)
		}
		return t.draft(hex.EncodeToString(id[:]), chat, nil, payload)
	})
}

// draft puts a message into the outbox. to is its receiver if the chat has no key.
func (t *change) draft(id string, chat client.ChatID, to, payload []byte) error {
	switch {
	case len(payload) == 0 || len(payload) > MaxOutgoingPayload:
		return fmt.Errorf("%w: a message has 1 to %d bytes, not %d", ErrAction, MaxOutgoingPayload, len(payload))
	case len(t.model.drafts) >= MaxOutgoing:
		return ErrFull
	}
	t.add(&draftRecord{ID: id, Chat: chat, To: to, Payload: payload, Written: uint64(time.Now().UnixMilli())})
	return nil
}

func decompressed(key []byte) *ecdsa.PublicKey {
	public, err := crypto.DecompressPubkey(key)
	if err != nil {
		return nil
	}
	return public
}
