package inbox

import (
	"context"
	"crypto/ecdsa"
	"fmt"
	"slices"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"whisperpush/pushext/client"
	"whisperpush/whisper"
)

type operation struct{ kind, phone, a, b int }

func (o operation) String() string { return fmt.Sprintf("%d(%d,%d,%d)", o.kind, o.phone, o.a, o.b) }

// below draws each of the numbers below n alike, as rapid.IntRange does not.
func below(n int) *rapid.Generator[int] {
	numbers := make([]int, n)
	for at := range numbers {
		numbers[at] = at
	}
	return rapid.SampledFrom(numbers)
}

var operations = func() *rapid.Generator[operation] {
	kind, phone, a, b := below(110), below(3), below(12), below(1000)
	return rapid.Custom(func(t *rapid.T) operation {
		return operation{kind.Draw(t, "kind"), phone.Draw(t, "phone"), a.Draw(t, "a"), b.Draw(t, "b")}
	})
}()

// scriptOf are scripts of so many parts, each of some operations, and shrink to those that
// matter.
func scriptOf(parts int) *rapid.Generator[[]operation] {
	return rapid.Custom(func(t *rapid.T) []operation {
		var script []operation
		for part := range parts {
			script = append(script, rapid.SliceOf(operations).Draw(t, fmt.Sprint("part ", part))...)
		}
		return script
	})
}

// do is one thing that happens.
func (h *history) do(o operation) {
	ctx := context.Background()
	p := h.phones[o.phone%len(h.phones)]
	time.Sleep(time.Millisecond)
	say := func(format string, args ...any) {
		h.trace = append(h.trace, fmt.Sprintf("phone %d: ", p.id)+fmt.Sprintf(format, args...))
		h.happened.Store(format, true)
	}
	switch k := o.kind; {
	case k < 16: // somebody writes
		e := h.letters[h.next%len(h.letters)]
		h.next++
		now, err := whisper.Renew(ctx, e, whisper.Draft{})
		require.NoError(h.t, err)
		h.side.post(now)
		say("somebody writes %q", h.textOf(e))
		return
	case k < 18: // somebody sends a message once more
		if h.next > 0 {
			e, err := whisper.Renew(ctx, h.letters[(h.next-1)%len(h.letters)], whisper.Draft{TTL: uint32(60 + o.a)})
			require.NoError(h.t, err)
			h.side.post(e)
			say("the last letter comes in another envelope")
		}
		return
	case k < 30: // a push arrives, of whatever phone and in whatever order, and perhaps again
		push, ok := h.takePush(o.b, o.a%4 == 0)
		if !ok {
			return
		}
		p = h.phones[push.to]
		if p.inbox == nil { // a push starts the process
			h.start(p)
		}
		if p.inbox != nil {
			say("a push arrives: %s", push.what)
			err := p.inbox.Receive(ctx, push.body)
			h.watched(p)
			h.did(p, err)
		}
		return
	case k < 33: // a push is lost
		if push, ok := h.takePush(o.b, false); ok {
			p = h.phones[push.to]
			say("a push is lost: %s", push.what)
		}
		return
	case k < 36: // the network comes and goes
		p.offline = !p.offline
		say("offline: %t", p.offline)
		return
	case k < 40: // the process will end
		p.left, p.torn = 1+o.b%12, o.b
		say("ends after %d steps", p.left)
		return
	case k < 41: // the disk is full, until it is not
		if p.disk.limit > 0 {
			p.disk.limit = 0
		} else {
			p.disk.limit = len(p.disk.b) + o.b
		}
		h.again[p.id] = h.again[p.id] || !p.lister // what could not be written of what sounded
		say("room on the disk: %d", p.disk.limit)
		return
	case k < 42: // somebody waits
		time.Sleep(time.Duration(o.b) * time.Second)
		say("%d seconds pass", o.b)
		return
	case k < 44:
		p.backups = append(p.backups, backup{slices.Clone(p.disk.b), h.backUp(p)})
		say("is backed up")
		return
	case k < 46: // a backup is put back, perhaps on another phone: one without notifications
		if len(p.backups) > 0 {
			b := p.backups[o.b%len(p.backups)]
			if p.inbox != nil {
				h.ended(p)
			}
			p.disk.b = slices.Clone(b.disk)
			h.putBack(p, b.device)
			clear(p.tray)
			p.inbox, p.left, h.restored, h.again[p.id] = nil, 0, true, true
			say("is restored")
			p.lost = true
			h.start(p)
		}
		return
	case k < 48: // a quick action while the app may not run
		if e := h.pick(p, o.b); e != nil {
			a := Action{ID: fmt.Sprint("action ", o.a), Kind: ActionKind(1 + o.a%5), Message: e.Hash, Text: fmt.Sprintf("reply %d of %d", o.a, p.id), Until: time.Now().Add(time.Hour)}
			before := p.disk.step
			p.disk.step, p.disk.limit = nil, 0
			known := h.modelOf(p)
			fresh := !known.actions.has(actionMark(a.ID))
			require.NoError(h.t, queue(ctx, p.disk, a))
			require.NoError(h.t, queue(ctx, p.disk, a), "twice")
			p.disk.step = before
			say("action %d on %q", a.Kind, e.Text)
			if fresh {
				switch a.Kind {
				case MuteChat:
					h.muted[e.Chat.Topic()] = true
				case MarkRead, Reply, DeleteMessage:
					h.read[e.Message] = true
				case MarkChatRead:
					for _, e := range known.chats[e.Chat].entries {
						h.maybe[e.Message] = true
					}
				}
				if a.Kind == Reply {
					h.replies[a.Text] = true
				}
			}
		}
		return
	}
	if o.kind >= 100 { // something happens to the server
		if what := h.trouble(o.a, o.b); what != "" {
			h.trace = append(h.trace, "server: "+what)
		}
		return
	}
	if p.inbox == nil {
		h.start(p)
		say("starts")
	}
	if p.inbox == nil {
		return
	}
	i := p.inbox
	var err error
	chat := []client.Chat{h.family, h.work, h.late}[o.b%3].ID()
	switch k := o.kind; {
	case k < 54:
		say("asks for the history")
		err = i.History(ctx)
	case k < 60:
		say("flushes")
		err = i.Flush(ctx)
	case k < 68:
		if e := h.pick(p, o.b); e != nil {
			say("reads %q", e.Text)
			h.maybe[e.Message] = true
			if err = i.Read(ctx, e.Hash); err == nil {
				h.read[e.Message] = true
			}
		}
	case k < 71:
		say("reads chat %s", chat)
		for _, m := range i.Messages(chat) {
			h.maybe[m.Message] = true
		}
		err = i.ReadChat(ctx, chat)
	case k < 73:
		if e := h.pick(p, o.b); e != nil {
			say("deletes %q", e.Text)
			h.maybe[e.Message] = true
			err = i.Delete(ctx, e.Hash)
		}
	case k < 77:
		until := time.Now().Add(time.Duration(o.a-3) * time.Minute)
		if o.a < 4 {
			until = time.Time{}
		}
		say("mutes %s until %s", chat, until)
		h.muted[chat.Topic()] = true
		err = i.Mute(ctx, chat, until)
	case k < 80:
		who := []*ecdsa.PrivateKey{h.alice, h.carol}[o.a%2]
		say("blocks %d: %t", o.a%2, o.b%3 == 0)
		if o.b%3 == 0 {
			err = i.Block(ctx, &who.PublicKey)
		} else {
			err = i.Unblock(ctx, &who.PublicKey)
		}
	case k < 83:
		say("opens chat %s", chat)
		err = i.ChatOpened(ctx, chat)
	case k < 85:
		err = i.ChatClosed(ctx)
	case k < 88:
		say("foreground")
		err = i.Foreground(ctx)
	case k < 90:
		err = i.Background(ctx)
	case k < 92:
		err = i.ScreenOff(ctx)
	case k < 94:
		say("has all keys")
		p.chats = h.chats(true)
		err = i.SetChats(ctx, p.chats)
	case k < 96:
		text := fmt.Sprintf("own %d of %d", len(h.trace), p.id)
		say("writes %q", text)
		if err = i.Send(ctx, h.family.ID(), []byte(text)); err == nil {
			h.replies[text] = true
		}
	case k < 97:
		say("the platform lost its notifications")
		clear(p.tray)
		h.again[p.id], p.lost = true, true
		h.reshow(p)
		return
	case k < 98:
		err = i.Refresh(ctx)
	default:
		say("ends well")
		require.NoError(h.t, i.Close())
		p.inbox = nil
		h.ended(p)
		return
	}
	h.watched(p)
	h.did(p, err)
}

func (h *history) textOf(e *whisper.Envelope) string {
	if p := h.open(e, h.chats(true)); p != nil {
		return p.Text
	}
	return ""
}

// modelOf is what the file of a phone holds.
func (h *history) modelOf(p *phone) *model {
	i := bare(&disk{b: p.disk.b})
	require.NoError(h.t, i.change(context.Background(), func(*change) error { return nil }))
	return i.model
}

// pick is one of the messages on a phone, those of others first.
func (h *history) pick(p *phone, n int) *entry {
	m := h.modelOf(p)
	entries := slices.DeleteFunc(slices.Clone(m.byAge), func(e *entry) bool { return e.Own || m.entries[e.Hash] != e })
	if len(entries) == 0 {
		return nil
	}
	return entries[n%len(entries)]
}

// watched takes note of what the user has before their eyes.
func (h *history) watched(p *phone) {
	if p.inbox == nil || p.inbox.attentionFor(p.inbox.visible) != Watching {
		return
	}
	if c := p.inbox.model.chats[p.inbox.visible]; c != nil {
		for _, e := range c.entries {
			h.maybe[e.Message] = true
		}
	}
}
