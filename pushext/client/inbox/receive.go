package inbox

import (
	"context"
	"errors"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/pushext/client"
)

// maxRounds is how often History asks again for what did not fit into one event.
const maxRounds = 64

// Receive handles the body of a push, as client.Device.Receive does, and shows and
// removes notifications accordingly. A push of another sender is client.ErrNotOurs.
// After any other error, what arrived until then is shown all the same, and the rest
// comes with the next push.
func (i *Inbox) Receive(ctx context.Context, body []byte) error {
	event, err := i.device.Receive(ctx, body)
	if errors.Is(err, client.ErrNotOurs) {
		return err
	}
	err = errors.Join(err, i.take(ctx, &event))
	if event.More {
		err = errors.Join(err, i.history(ctx))
	}
	return i.told(ctx, err)
}

// History asks the mailserver for everything since the last time, and shows and removes
// notifications accordingly: for the app's start. It brings what pushes did not bring,
// and what the user's other devices told meanwhile.
func (i *Inbox) History(ctx context.Context) error {
	return i.told(ctx, i.history(ctx))
}

func (i *Inbox) history(ctx context.Context) error {
	for range maxRounds {
		event, err := i.device.History(ctx)
		came := len(event.Previews)+len(event.Unopened) > 0
		if err = errors.Join(err, i.take(ctx, &event)); err != nil || !event.More || !came {
			return err
		}
	}
	return nil
}

// told empties the outbox after another request to the mailserver, and returns that
// request's error.
func (i *Inbox) told(ctx context.Context, err error) error {
	if err == nil {
		if err := i.Flush(ctx); err != nil {
			i.logger.Debug("the outbox could not be emptied, it is tried again", "err", err)
		}
	}
	return err
}

// maxMissed is how many events that could not be written are kept for the next
// occasion. The device hands over the content of older ones at the next start.
const maxMissed = 64

// take takes over what the device handed over. What could not be written, as on a full
// disk, is taken over at the next occasion, because the device hands over everything
// only once in a run.
func (i *Inbox) take(ctx context.Context, event *client.Event) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.missed = append(i.missed, *event)
	i.missed = i.missed[max(0, len(i.missed)-maxMissed):]
	return i.catch(ctx)
}

// catch takes over events. The caller holds mu.
func (i *Inbox) catch(ctx context.Context) error {
	events := i.missed
	err := i.change(ctx, func(t *change) error {
		// What was read elsewhere counts, however that was learned, before anything is
		// shown.
		for at := range events {
			i.heardAll(t, &events[at])
		}
		for at := range events {
			i.takeOne(t, &events[at])
		}
		i.readElsewhere(t)
		return nil
	})
	if err != nil {
		return err
	}
	i.missed = nil
	for at := range events {
		for _, hash := range events[at].Hashes() {
			i.handed[hash] = true
		}
	}
	return i.changed(ctx)
}

func (i *Inbox) heardAll(t *change, event *client.Event) {
	for at := range event.Previews {
		if p := &event.Previews[at]; i.isSync(p.ChatID) {
			i.heard(t, p.Payload, time.Now())
		}
	}
	if len(event.Dismissed) > 0 {
		t.add(&readRecord{Hashes: event.Dismissed})
	}
}

func (i *Inbox) takeOne(t *change, event *client.Event) {
	now := time.Now()
	for at := range event.Previews {
		if p := &event.Previews[at]; !i.isSync(p.ChatID) {
			i.came(t, p, now)
		}
	}
	for _, u := range event.Unopened {
		if len(u.Raw()) <= MaxPayload+1024 {
			t.add(&unopenedRecord{uint64(now.UnixMilli()), u.Raw()})
		}
	}
	if len(event.Unopened) > 0 { // the inbox may have a key that the device does not have yet
		i.tryUnopened(t)
	}
	for _, c := range event.Copies {
		t.copied(c.Hash, c.Message)
	}
}

// came adds a message, unless it exists or was removed.
func (i *Inbox) came(t *change, p *client.Preview, now time.Time) {
	if t.model.message[markOf(p.Message)] != nil {
		t.copied(p.Hash, p.Message)
		return
	}
	if t.model.gone.has(markOf(p.Hash)) || t.model.gone.has(markOf(p.Message)) {
		return
	}
	sender := compressed(p.Sender)
	r := &messageRecord{
		Hash: p.Hash, Message: p.Message, Chat: p.ChatID, Sender: sender, Payload: p.Payload, Text: p.Text[:min(len(p.Text), maxText)],
		Sent: uint64(max(p.Sent.UnixMilli(), 0)), Came: uint64(now.UnixMilli()), Claimed: p.Claimed,
		Own: i.isOwn(sender) || t.model.sealedOf[p.Message], Read: p.Read,
	}
	r.Known = t.model.muted(p.ChatID, now) || t.model.blocked(sender)
	if len(r.Payload) > MaxPayload {
		r.Payload, r.Cut = nil, true
	}
	t.add(r)
}

// copied notes a further envelope of a message.
func (t *change) copied(hash, message common.Hash) {
	if e := t.model.message[markOf(message)]; e != nil && t.model.find(hash) == nil && len(e.Copies) < maxCopies {
		t.add(&copyRecord{hash, message})
	}
}

func (i *Inbox) isOwn(sender []byte) bool {
	if len(sender) == 0 {
		return false
	}
	for _, key := range i.own {
		if string(sender) == string(compressed(&key.PublicKey)) {
			return true
		}
	}
	return false
}

// tryUnopened opens kept envelopes with the chats as they are now, and gives up those
// that are too old.
func (i *Inbox) tryUnopened(t *change) {
	chats := i.listed()
	now := time.Now()
	for _, u := range append([]unopened(nil), t.model.unopened...) {
		p := client.Unopened{Envelope: u.Envelope}.Open(chats)
		switch {
		case p != nil && i.isSync(p.ChatID):
			t.add(&openedRecord{u.Hash()})
			i.heard(t, p.Payload, now)
		case p != nil:
			t.add(&openedRecord{u.Hash()})
			i.came(t, p, now)
		case now.Sub(time.UnixMilli(int64(u.came))) > UnopenedAge:
			t.add(&openedRecord{u.Hash()})
		}
	}
}

// listed returns all chats, including sync.
func (i *Inbox) listed() []client.Chat {
	var chats []client.Chat
	for _, c := range i.chats {
		chats = append(chats, *c)
	}
	if i.sync != nil {
		chats = append(chats, *i.sync)
	}
	return chats
}
