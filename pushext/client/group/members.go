package group

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"errors"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/whisper"
)

// Change changes a group's members or its name, and tells the members. The app has to
// send the invitations to the new ones. Change first looks at what other admins have
// done. If the mailserver cannot be reached after that, the change stands, and the next
// call of History or Receive tells it.
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

// catchUp asks for letters that no push has brought yet. What arrives with them goes to
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

// rings returns the topics on which letters to us may arrive, and since when.
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

// amend makes the record that an admin owes.
func (s *state) amend(id ID, me Key, now time.Time) error {
	c := s.Intent
	list := s.members()
	for _, k := range s.Leaving { // except those whom we cannot remove
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

// Leave ends the person's membership. From now on nothing in the group wakes them, and
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
