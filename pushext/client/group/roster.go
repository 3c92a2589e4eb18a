package group

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/pushext/client"
	"whisperpush/whisper"
)

// storeError says that a change could not be kept.
type storeError struct{ error }

func (e *storeError) Unwrap() error { return e.error }

// places are the slots of all groups, by the chat that they are.
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

// receive takes a letter. What makes no sense changes nothing.
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

// verdict is what becomes of a frame.
type verdict int

const (
	ignored verdict = iota // of no member, or of no sense
	unsure                 // its author may become a member by a record that is to come
	heard                  // it is done with, and nothing to show
	shown
)

// read makes of what came in a slot the preview of a message in the group's chat.
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
		show.Message = f.ID // as whoever posted it calls it
	}
	return &show, shown, nil
}

// writing is where messages to a group go, and the head of their frames.
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

// ringOf is where a member is rung now.
func (b *Book) ringOf(id ID, member Key) (place, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.text.Groups[id]
	if s == nil || find(s.members(), member) < 0 {
		return place{}, false
	}
	return s.current()[0].Secret.ticket(member).ring(), true
}

// ringing remembers whom a message mentions, until they cannot miss it any more.
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

// missed are mentions that their receiver may have had no topic for any more, as the
// group had changed when they were made. They are taken out of what is remembered.
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

// Change changes who is in a group, or its name, and tells the members. The invitations
// are for the app to send to the new ones. It looks first what other admins have done. If
// the mailserver cannot be reached after that, the change stands and is told by the next
// call of History or Receive.
func (d *Device) Change(ctx context.Context, id ID, c Change) ([]Invitation, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	done, err := d.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	if err := d.catchUp(ctx, id); err != nil {
		return nil, err
	}
	return d.make(ctx, id, c)
}

// catchUp asks for letters that no push has brought yet. What comes with them is given to
// the app with the next event.
func (d *Device) catchUp(ctx context.Context, id ID) error {
	topics, since, err := d.book.rings(id)
	if err != nil {
		return err
	}
	event, err := d.rung.Past(ctx, time.UnixMilli(since).Add(-pastSlack), topics...)
	if err = errors.Join(err, d.sort(ctx, d.rung, &event)); err == nil {
		err = d.tend(ctx, &event)
	}
	join(&d.spare, event)
	return err
}

// rings are the topics on which letters to us may come, and since when.
func (b *Book) rings(id ID) (topics []whisper.Topic, since int64, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.text.Groups[id]
	if s == nil || s.Quit {
		return nil, 0, ErrUnknown
	}
	for _, sl := range b.slots(id, s) {
		if sl.kind == slotLetter {
			topics = append(topics, sl.chat.Topic)
		}
	}
	return topics, s.current()[0].Sent, nil
}

func (d *Device) make(ctx context.Context, id ID, c Change) ([]Invitation, error) {
	var invited []Key
	err := d.book.alter(ctx, id, func(s *state) error {
		before := s.members()
		if !isAdmin(before, d.book.me) {
			return ErrNotAdmin
		}
		for _, m := range c.Add {
			if find(before, m.Key) < 0 {
				invited = append(invited, m.Key)
			}
		}
		s.Intent = s.Intent.join(c).left(before, s.name())
		if s.Intent.empty() && !s.uneven() {
			return nil
		}
		return s.amend(id, d.book.me, time.Now())
	})
	if err != nil {
		return nil, err
	}
	var all []Invitation
	for _, k := range invited {
		payload, err := d.book.Invite(id, k)
		if err != nil {
			return nil, err
		}
		to, err := k.public()
		if err != nil {
			return nil, err
		}
		all = append(all, Invitation{to, payload})
	}
	return all, d.tend(ctx, &d.spare)
}

// Invitation is for one new member: see Book.Invite.
type Invitation struct {
	To      *ecdsa.PublicKey
	Payload []byte
}

// amend makes the record of what an admin has to do.
func (s *state) amend(id ID, me Key, now time.Time) error {
	c := s.Intent
	list := s.members()
	for _, k := range s.Leaving { // but those whom it is not ours to remove
		if removable(list, k, me) && !slices.Contains(c.Remove, k) {
			c.Remove = append(slices.Clone(c.Remove), k)
			c.Add = slices.DeleteFunc(slices.Clone(c.Add), func(m Member) bool { return m.Key == k })
		}
	}
	sent := now.UnixMilli()
	for _, h := range s.current() {
		sent = max(sent, h.Sent+1)
	}
	s.DueSince = 0
	if err := s.change(id, c, me, sent); err != nil {
		s.Intent = Change{}
		return err
	}
	return nil
}

// removable tells whether one member can remove another.
func removable(list []Member, key, by Key) bool {
	at, rank := find(list, key), find(list, by)
	return at >= 0 && isAdmin(list, by) && (!list[at].Admin || at > rank)
}

// duties does what is an admin's to do, sends the letters that are owed, and rings again
// whom an old topic may not have reached. It says whether the groups have changed.
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

// letter is one that is to be sent.
type letter struct {
	group  ID
	record common.Hash
	to     Key
	places []place
	body   []byte
}

// lettersAtOnce is how many letters are sent between two notes of which are out.
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

// owed returns the letters that are to be sent first.
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

// Leave ends the person's membership: nothing of the group wakes them from now on, and
// the admins are told, who change the epoch. An admin ceases to be one first.
func (d *Device) Leave(ctx context.Context, id ID) error {
	info, err := d.book.Group(id)
	if err != nil {
		return err
	}
	var admins []Key
	for _, m := range info.Members {
		if m.Admin && m.Key != d.book.me {
			admins = append(admins, m.Key)
		}
	}
	if isAdmin(info.Members, d.book.me) && len(info.Members) > 1 {
		if len(admins) == 0 {
			return ErrLastAdmin
		}
		if _, err := d.Change(ctx, id, Change{Add: []Member{{d.book.me, false}}}); err != nil {
			return err
		}
	}
	done, err := d.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	var say common.Hash
	rand.Read(say[:])
	for _, k := range admins {
		if err := d.ring(ctx, id, kindLeave, say, nil, k, time.Now()); err != nil {
			return err
		}
	}
	err = d.book.alter(ctx, id, func(s *state) error {
		s.Quit = true
		return nil
	})
	if err != nil {
		return err
	}
	return d.align(ctx)
}
