package group

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/pushext/client"
	"whisperpush/whisper"
)

// duties does what an admin has to do, sends the letters that are owed, and rings again
// those members whom a mention on an old topic may not have reached. It says whether the
// groups changed.
func (d *Device) duties(ctx context.Context) (changed bool, err error) {
	now := time.Now()
	for _, g := range d.book.Groups() {
		if g.Left || !isAdmin(g.Members, d.book.me) {
			continue
		}
		senior := slices.IndexFunc(g.Members, func(m Member) bool { return m.Admin }) == find(g.Members, d.book.me)
		err := d.book.alter(ctx, g.ID, func(s *state) error {
			switch {
			case !s.due():
				s.DueSince = 0
				return nil
			case s.DueSince == 0:
				s.DueSince = now.UnixMilli()
			}
			if !senior && s.Intent.empty() && now.Sub(time.UnixMilli(s.DueSince)) < patience {
				return nil
			}
			changed = true
			if err := s.amend(g.ID, d.book.me, now); err != nil {
				d.logger.Warn("group: what was to be changed cannot be", "err", err)
				changed = false
			}
			return nil
		})
		if err != nil {
			return changed, err
		}
	}
	if err := d.deliver(ctx); err != nil {
		return changed, err
	}
	again, err := d.book.missed(ctx)
	if err != nil {
		return changed, err
	}
	for _, r := range again {
		if err := d.ring(ctx, r.Group, kindMention, r.ID, r.Body, r.To, time.UnixMilli(r.Sent)); err != nil {
			return changed, err
		}
	}
	return changed, nil
}

// letter is a letter to be sent.
type letter struct {
	group  ID
	record common.Hash
	to     Key
	places []place
	body   []byte
}

// lettersAtOnce is how many letters are sent before the Book notes that they are out.
const lettersAtOnce = 16

// deliver sends the letters that are owed.
func (d *Device) deliver(ctx context.Context) error {
	for {
		letters := d.book.owed(lettersAtOnce)
		if len(letters) == 0 {
			return nil
		}
		var failed error
		sent := 0
		for _, l := range letters {
			if failed = d.send(ctx, l); failed != nil {
				break
			}
			sent++
		}
		if err := errors.Join(failed, d.book.sent(ctx, letters[:sent])); err != nil {
			return err
		}
	}
}

func (d *Device) send(ctx context.Context, l letter) error {
	to, err := l.to.public()
	if err != nil {
		return nil // no device can have this key
	}
	for _, at := range l.places {
		draft := client.Compose(client.Chat{Topic: at.topic}, l.body, d.book.identity, time.Now())
		draft.To = to
		sealed, err := whisper.Seal(ctx, draft)
		if err != nil {
			return fmt.Errorf("group: %w", err)
		}
		if _, err := d.reader.Post(ctx, sealed, true); err != nil {
			return err
		}
	}
	return nil
}

// owed returns the letters that have to be sent first.
func (b *Book) owed(most int) (list []letter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range b.ids() {
		s := b.text.Groups[id]
		for _, h := range s.Heads {
			for _, to := range h.Owed {
				if len(list) == most {
					return list
				}
				r, places := s.letter(id, h, to)
				list = append(list, letter{id, h.ID, to, places, r.encode()})
			}
		}
	}
	return list
}

func (b *Book) sent(ctx context.Context, letters []letter) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.change(ctx, func(t *text) error {
		for _, l := range letters {
			for _, h := range t.Groups[l.group].Heads {
				if h.ID == l.record {
					h.Owed = slices.DeleteFunc(h.Owed, func(k Key) bool { return k == l.to })
				}
			}
		}
		return nil
	})
}
