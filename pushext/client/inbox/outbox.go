package inbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/pushext/client"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

const (
	// gatherFor is how long Run waits for more to be read before it tells others, so
	// that one request and one push tell all of it.
	gatherFor = time.Second
	// firstPause is how long Run waits after a failure. Each later pause is twice as
	// long, up to maxPause.
	firstPause = 2 * time.Second
	maxPause   = 5 * time.Minute
)

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// Flush tells others what waits for them: the server and the other devices what was
// read, muted and blocked, and the chats what was written. What fails stays and is told
// the next time, even after a restart.
func (i *Inbox) Flush(ctx context.Context) error {
	select {
	case i.flush <- struct{}{}:
		defer func() { <-i.flush }()
	case <-ctx.Done():
		return ctx.Err()
	}
	// What lasts comes before what does not: if this device were restored to an earlier
	// state, it would learn again what the others know. Each message stands for itself:
	// one that the server refuses holds back no other. Only an unreachable mailserver
	// holds back everything but what was read.
	errs := []error{i.takeMissed(ctx), i.tellSync(ctx)}
	for _, tell := range []func(context.Context) error{i.tellSeen, i.tellChannels, i.catchUp, i.post} {
		err := tell(ctx)
		errs = append(errs, err)
		if gaveUp := new(client.GaveUpError); errors.As(err, &gaveUp) || ctx.Err() != nil || errors.Is(err, ErrClosed) {
			break
		}
	}
	return errors.Join(errs...)
}

// Run does what Flush does a second after there is something to tell, and retries after
// a failure. When mutes end, it shows what they held back. It returns when ctx ends or
// the inbox is closed.
func (i *Inbox) Run(ctx context.Context) error {
	pause := time.Duration(0)
	for {
		err := i.Flush(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, ErrClosed):
			return err
		case err != nil:
			i.logger.Debug("the outbox could not be emptied, trying again", "err", err)
			pause = min(max(2*pause, firstPause), maxPause)
		default:
			pause = 0
		}
		if err := i.wait(ctx, pause); err != nil {
			return err
		}
	}
}

// wait returns when there is something to tell, or after a pause if there is one.
func (i *Inbox) wait(ctx context.Context, pause time.Duration) error {
	i.mu.Lock()
	unmuted := i.nextUnmute(time.Now())
	i.mu.Unlock()
	var again, late <-chan time.Time
	if pause > 0 {
		t := time.NewTimer(pause)
		defer t.Stop()
		again = t.C
	}
	if !unmuted.IsZero() {
		t := time.NewTimer(time.Until(unmuted))
		defer t.Stop()
		late = t.C
	}
	select {
	case <-again:
	case <-i.kick:
		t := time.NewTimer(gatherFor)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	case <-late:
		err := i.Refresh(ctx)
		if err == nil {
			err = i.look(ctx, func() { i.model.behind = true })
		}
		if err != nil {
			i.logger.Debug("what was muted could not be shown, it is tried again", "err", err)
		}
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// nextUnmute is when the next mute ends; zero if none does.
func (i *Inbox) nextUnmute(now time.Time) time.Time {
	var next time.Time
	for _, r := range i.model.mutes {
		if at := time.Unix(int64(min(r.until, 1<<40)), 0); at.After(now) && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next
}

// look lets do read the model, without a change.
func (i *Inbox) look(ctx context.Context, do func()) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.change(ctx, func(*change) error {
		do()
		return nil
	})
}

// note writes records that do not change what is shown.
func (i *Inbox) note(ctx context.Context, records ...record) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.change(ctx, func(t *change) error {
		for _, r := range records {
			t.add(r)
		}
		return nil
	})
}

// tellSeen tells the server what was read here.
func (i *Inbox) tellSeen(ctx context.Context) error {
	var owed []common.Hash
	err := i.look(ctx, func() {
		for _, k := range i.model.tell.list {
			owed = append(owed, i.model.telling[k])
		}
	})
	if err != nil {
		return err
	}
	for part := range slices.Chunk(owed, pushwire.MaxFetch) {
		err := i.device.Seen(ctx, part)
		// A device that is not registered is not woken, nor does it wake others of the
		// group.
		if err != nil && !client.IsRefused(err, pushwire.NotRegistered) {
			return fmt.Errorf("inbox: telling the server what was read: %w", err)
		}
		if err := i.note(ctx, &toldRecord{part}); err != nil {
			return err
		}
	}
	return nil
}

// tellSync tells the other devices what was read, muted and blocked here.
func (i *Inbox) tellSync(ctx context.Context) error {
	for {
		var done syncedRecord
		var message syncMessage
		err := i.look(ctx, func() {
			done.Marks = slices.Clone(i.model.sync.list[:min(len(i.model.sync.list), maxSyncMarks)])
			message.Read = done.Marks
			for _, s := range slices.SortedFunc(maps.Keys(i.model.stamps), stampOrder) {
				if len(done.Stamps) == maxSyncChanges {
					break
				}
				done.Stamps = append(done.Stamps, s)
				message.add(i.model.stamps[s])
			}
		})
		if err != nil || len(done.Marks)+len(done.Stamps) == 0 {
			return err
		}
		if i.sync != nil {
			sealed, err := whisper.Seal(ctx, client.Compose(*i.sync, message.encode(), nil, time.Now()))
			if err != nil {
				return fmt.Errorf("inbox: telling the user's other devices: %w", err)
			}
			// A sync message about reads wakes no device: the server's dismissal does
			// that. A mute has to take effect at once.
			if _, err := i.device.Post(ctx, sealed, len(done.Stamps) > 0); err != nil {
				return fmt.Errorf("inbox: telling the user's other devices: %w", err)
			}
		}
		if err := i.note(ctx, &done); err != nil {
			return err
		}
	}
}

// tellChannels tells the server which chats are muted, and which are new.
func (i *Inbox) tellChannels(ctx context.Context) error {
	var chats []client.Chat
	var topics []whisper.Topic
	owed := false
	err := i.look(ctx, func() {
		if owed = i.model.channels; !owed {
			return
		}
		chats = i.listed()
		for at := range chats {
			if r, ok := i.model.mutes[chats[at].ID()]; ok {
				chats[at].MutedUntil = time.Time{}
				if r.until > uint64(time.Now().Unix()) {
					chats[at].MutedUntil = time.Unix(int64(min(r.until, 1<<40)), 0)
				}
				topics = append(topics, chats[at].Topic)
			}
		}
	})
	if err != nil || !owed {
		return err
	}
	slices.SortFunc(chats, func(a, b client.Chat) int { return slices.Compare(idOf(&a), idOf(&b)) })
	i.device.Doubt(topics...)
	err = i.device.SetChats(ctx, chats)
	// Otherwise Register tells the server everything when the app registers.
	if err != nil && !client.IsRefused(err, pushwire.NotRegistered) {
		return fmt.Errorf("inbox: telling the server of the chats: %w", err)
	}
	return i.note(ctx, &channelsRecord{Told: true})
}

func idOf(c *client.Chat) []byte {
	id := c.ID()
	return id[:]
}

// takeMissed takes over events that could not be written when they arrived.
func (i *Inbox) takeMissed(ctx context.Context) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.missed) == 0 {
		return nil
	}
	return i.catch(ctx)
}

// catchUp asks for what arrived while a chat was muted, because no push came for it.
func (i *Inbox) catchUp(ctx context.Context) error {
	behind := false
	err := i.look(ctx, func() { behind = i.model.behind })
	if err != nil || !behind {
		return err
	}
	if err := i.history(ctx); err != nil {
		return fmt.Errorf("inbox: asking for what came to a muted chat: %w", err)
	}
	return i.look(ctx, func() { i.model.behind = false })
}

// post sends the messages in the outbox.
func (i *Inbox) post(ctx context.Context) error {
	var drafts []outgoing
	err := i.look(ctx, func() {
		for _, o := range i.model.drafts {
			drafts = append(drafts, *o)
		}
	})
	if err != nil {
		return err
	}
	for _, o := range drafts {
		if o.sealed == nil {
			if o.sealed, err = i.seal(ctx, &o.draftRecord); err != nil {
				i.logger.Warn("a message cannot be sent", "err", err)
				if err := i.note(ctx, &postedRecord{o.ID, err.Error()}); err != nil {
					return err
				}
				continue
			}
			// From now on this encrypted form is the message, whatever happens: a
			// device that gets it twice takes the second for a copy.
			if err := i.note(ctx, &sealedRecord{o.ID, o.sealed.Raw()}); err != nil {
				return err
			}
		}
		hash, err := i.device.Post(ctx, o.sealed, false)
		if err != nil {
			return fmt.Errorf("inbox: sending a message: %w", err)
		}
		own := []byte(nil)
		if len(i.own) > 0 {
			own = compressed(&i.own[0].PublicKey)
		}
		err = i.update(ctx, func(t *change) error {
			t.add(&messageRecord{
				Hash: hash, Message: o.sealed.Message(), Chat: o.Chat, Sender: own, Payload: o.Payload,
				Text: client.Printable(o.Payload), Sent: o.Written, Came: uint64(time.Now().UnixMilli()), Own: true, Read: true,
			})
			t.add(&postedRecord{ID: o.ID})
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// seal encrypts a message.
func (i *Inbox) seal(ctx context.Context, d *draftRecord) (*whisper.Envelope, error) {
	i.mu.Lock()
	c := i.chats[d.Chat]
	i.mu.Unlock()
	if c == nil {
		return nil, fmt.Errorf("inbox: there is no chat %s any more", d.Chat)
	}
	draft := whisper.Draft{}
	written := time.UnixMilli(int64(d.Written))
	if len(i.own) > 0 {
		draft = client.Compose(*c, d.Payload, i.own[0], written)
	} else {
		draft = client.Compose(*c, d.Payload, nil, written)
	}
	if draft.Key == nil {
		if draft.To = decompressed(d.To); draft.To == nil {
			return nil, fmt.Errorf("inbox: chat %s has no key of its own, and nobody signed the message that is answered", d.Chat)
		}
	}
	return whisper.Seal(ctx, draft)
}
