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

// storeError says that a change could not be saved.
type storeError struct{ error }

func (e *storeError) Unwrap() error { return e.error }

// places are the slots of all groups, by their chats.
func (b *Book) places() map[client.ChatID]slot {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make(map[client.ChatID]slot)
	for id, s := range b.text.Groups {
		for _, sl := range b.slots(id, s) {
			all[sl.chat.ID()] = sl
		}
	}
	return all
}

// receive takes a letter. A letter that makes no sense changes nothing.
func (b *Book) receive(ctx context.Context, sl slot, p *client.Preview) error {
	r, err := decodeRecord(p.Payload)
	switch {
	case err != nil:
		return err
	case r.Group != sl.group:
		return ErrNotForUs
	case p.Sender == nil:
		return ErrNotAdmin
	}
	var refused error
	err = b.alter(ctx, sl.group, func(s *state) error {
		by, sent := KeyOf(p.Sender), p.Sent.UnixMilli()
		refused = s.take(r, by, b.me, sent)
		if errors.Is(refused, errEarly) && r.Epoch <= s.epoch()+maxPending && isAdmin(s.members(), by) && len(s.Pending) < maxPending {
			s.Pending = append(s.Pending, pending{p.Payload, by, sent})
			refused = nil
		}
		for again := refused == nil; again; {
			again = false
			for at, w := range s.Pending {
				r, err := decodeRecord(w.Payload)
				if err == nil && errors.Is(s.take(r, w.By, b.me, w.Sent), errEarly) {
					continue
				}
				s.Pending, again = slices.Delete(s.Pending, at, at+1), true
				break
			}
		}
		return nil
	})
	if err != nil {
		return &storeError{err}
	}
	return refused
}

// verdict is what happens to a frame.
type verdict int

const (
	ignored verdict = iota // from somebody who is not a member, or without sense
	unsure                 // a later record may make its author a member
	heard                  // handled, with nothing to show
	shown
)

// read turns what arrived in a slot into the preview of a message in the group's
// chat.
func (b *Book) read(ctx context.Context, sl slot, p *client.Preview) (*client.Preview, verdict, error) {
	f, err := decodeFrame(p.Payload)
	switch {
	case err != nil:
		return nil, ignored, err
	case p.Sender == nil, f.Group != sl.group, f.Epoch != sl.epoch, (f.Kind == kindMessage) != (sl.kind == slotMessages),
		f.Kind != kindMessage && Key(f.To) != b.me:
		return nil, ignored, ErrNotForUs
	}
	author := KeyOf(p.Sender)
	b.mu.Lock()
	s := b.text.Groups[sl.group]
	if s == nil || s.Quit {
		b.mu.Unlock()
		return nil, heard, nil
	}
	member, gone := find(s.members(), author) >= 0, s.gone(author)
	name, epoch := s.name(), s.epoch()
	b.mu.Unlock()
	switch {
	case member:
	case sl.epoch >= epoch && !gone:
		return nil, unsure, nil
	default:
		return nil, ignored, fmt.Errorf("group: the author %x is no member", author[:4])
	}
	if f.Kind == kindLeave {
		err := b.alter(ctx, sl.group, func(s *state) error {
			if sl.epoch >= s.epoch() && author != b.me && removable(s.members(), author, b.me) && !slices.Contains(s.Leaving, author) {
				s.Leaving = append(s.Leaving, author)
			}
			return nil
		})
		if err != nil {
			return nil, unsure, err
		}
		return nil, heard, nil
	}
	chat := sl.group.chat(name)
	show := *p
	show.Chat, show.Topic, show.ChatID = chat.Name, chat.Topic, chat.ID()
	show.Payload, show.Text = f.Body, client.Printable(f.Body)
	show.Message = messageID(sl.group, author, f.ID)
	if author == b.me {
		show.Message = f.ID // the name that the device which posted it uses
	}
	return &show, shown, nil
}

// writing returns where messages to a group go, and the head of their frames.
func (b *Book) writing(id ID) (place, frame, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.text.Groups[id]
	if s == nil || s.Quit {
		return place{}, frame{}, ErrUnknown
	}
	first := s.current()[0]
	return first.Secret.messages(), frame{Group: id, Epoch: first.Epoch}, nil
}

// ringOf returns the place where a member is rung now.
func (b *Book) ringOf(id ID, member Key) (place, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.text.Groups[id]
	if s == nil || find(s.members(), member) < 0 {
		return place{}, false
	}
	return s.current()[0].Secret.ticket(member).ring(), true
}

// ringing remembers whom a message mentions, as far as maxRung, maxRungBytes and
// rungLife allow.
func (b *Book) ringing(ctx context.Context, group ID, id common.Hash, body []byte, to []Key, now time.Time) error {
	if len(to) == 0 {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.change(ctx, func(t *text) error {
		epoch := t.Groups[group].epoch()
		for _, k := range to {
			t.Rung = append(t.Rung, rung{group, id, k, body, now.UnixMilli(), epoch})
		}
		t.prune(now)
		return nil
	})
}

func (t *text) prune(now time.Time) {
	size, kept := 0, len(t.Rung)
	for kept > 0 && len(t.Rung)-kept < maxRung {
		if size += len(t.Rung[kept-1].Body); size > maxRungBytes || now.Sub(time.UnixMilli(t.Rung[kept-1].Sent)) > rungLife {
			break
		}
		kept--
	}
	t.Rung = t.Rung[kept:]
}

// missed returns mentions that their receiver may no longer have had a topic for,
// because the group had already changed when they were sent. Each is returned once
// per change of the group.
func (b *Book) missed(ctx context.Context) (list []rung, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	err = b.change(ctx, func(t *text) error {
		for i := range t.Rung {
			r := &t.Rung[i]
			s := t.Groups[r.Group]
			if s == nil || r.Epoch >= s.epoch() {
				continue
			}
			if s.current()[0].Sent-rungSlack.Milliseconds() <= r.Sent {
				list = append(list, *r)
			}
			r.Epoch = s.epoch()
		}
		t.prune(time.Now())
		return nil
	})
	return list, err
}

func (b *Book) untold() []whisper.Topic {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.text.Untold)
}

func (b *Book) told(ctx context.Context, topics []whisper.Topic) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.change(ctx, func(t *text) error {
		t.Untold = slices.DeleteFunc(t.Untold, func(o whisper.Topic) bool { return slices.Contains(topics, o) })
		return nil
	})
}

func (b *Book) looks() []look {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.text.Looks)
}

func (b *Book) looked(ctx context.Context, done []look) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.change(ctx, func(t *text) error {
		t.Looks = slices.DeleteFunc(t.Looks, func(l look) bool { return slices.Contains(done, l) })
		return nil
	})
}

func (b *Book) mute(ctx context.Context, id ID, until uint64) error {
	return b.alter(ctx, id, func(s *state) error {
		s.Muted = until
		return nil
	})
}
