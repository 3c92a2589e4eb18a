package group

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
)

// Change is a change of a group by an admin.
type Change struct {
	// Add are new members, and members who become admins or cease to be admins.
	Add []Member
	// Remove are members to be removed. For a device, they stop being members once it
	// has the record.
	Remove []Key
	// Name is the group's new name; empty: unchanged.
	Name string
}

func (c *Change) empty() bool { return len(c.Add)+len(c.Remove) == 0 && c.Name == "" }

// left returns the part of a change that is not in effect yet.
func (c Change) left(list []Member, name string) Change {
	c.Add = slices.DeleteFunc(slices.Clone(c.Add), func(m Member) bool { return slices.Contains(list, m) })
	c.Remove = slices.DeleteFunc(slices.Clone(c.Remove), func(k Key) bool { return find(list, k) < 0 })
	if c.Name == name {
		c.Name = ""
	}
	return c
}

// join adds a later change to one that waits.
func (c Change) join(later Change) Change {
	c.Add = slices.DeleteFunc(slices.Clone(c.Add), func(m Member) bool {
		return find(later.Add, m.Key) >= 0 || slices.Contains(later.Remove, m.Key)
	})
	c.Add = append(c.Add, later.Add...)
	for _, k := range later.Remove {
		if !slices.Contains(c.Remove, k) {
			c.Remove = append(slices.Clone(c.Remove), k)
		}
	}
	c.Remove = slices.DeleteFunc(slices.Clone(c.Remove), func(k Key) bool { return find(later.Add, k) >= 0 })
	if later.Name != "" {
		c.Name = later.Name
	}
	return c
}

func (c *Change) check() error {
	if len(c.Name) > MaxName {
		return fmt.Errorf("group: a name of %d bytes (> %d)", len(c.Name), MaxName)
	}
	if len(c.Add) > MaxMembers || len(c.Remove) > MaxMembers {
		return fmt.Errorf("group: a change of %d and %d members (> %d)", len(c.Add), len(c.Remove), MaxMembers)
	}
	for _, m := range c.Add {
		if _, err := m.Key.public(); err != nil {
			return fmt.Errorf("group: new member: %w", err)
		}
		if slices.Contains(c.Remove, m.Key) {
			return errors.New("group: the same member is to be added and removed")
		}
	}
	return nil
}

// found begins a group with its founder.
func found(id ID, name string, me Key, now int64) *state {
	founder := []Member{{me, true}}
	h := &head{Epoch: 1, By: me, Name: name, Secret: newSecret(), Added: founder, Members: founder, Sent: now}
	h.next(newSecret(), me)
	r := h.record(id)
	h.ID = r.id(me)
	s := new(state)
	s.add(h, me)
	return s
}

// record returns what is the same in all letters.
func (h *head) record(id ID) record {
	return record{
		Group: id, Name: []byte(h.Name), Epoch: h.Epoch, Rank: uint64(h.Rank), Parents: h.Parent, Secret: h.Secret, Pledge: h.Pledge, Removed: h.Removed, Added: h.Added,
	}
}

func (h *head) next(next secret, me Key) {
	h.Next, h.Pledge, h.Ticket = next[:], next.pledge(), next.ticket(me)
}

func newSecret() (s secret) {
	rand.Read(s[:])
	return s
}

// change makes a record. It takes effect here at once, and is owed to the other
// members.
func (s *state) change(id ID, c Change, me Key, now int64) error {
	heads := s.current()
	before := members(heads)
	c = c.left(before, s.name())
	h := &head{By: me, Epoch: s.epoch() + 1, Name: s.name(), Sent: now, Rank: find(before, me), Removed: c.Remove, Added: c.Add}
	if c.Name != "" {
		h.Name = c.Name
	}
	var err error
	if h.Members, err = apply(before, c.Remove, c.Add, me); err != nil {
		return err
	}
	if find(h.Members, me) < 0 {
		return errors.New("group: who makes a change stays a member; leave instead")
	}
	for _, p := range heads {
		h.Parent = append(h.Parent, p.ID)
	}
	h.Secret = s.nextSecret(heads, h.Members)
	h.next(newSecret(), me)
	r := h.record(id)
	h.ID = r.id(me)
	for _, m := range h.Members { // including ourselves: we may have other devices
		h.Owed = append(h.Owed, m.Key)
	}
	s.add(h, me)
	return nil
}

// nextSecret returns the secret whose tickets the members already have, or a new one if
// somebody who will not be a member knows it.
func (s *state) nextSecret(heads []*head, after []Member) secret {
	first := heads[0]
	known := find(after, first.By) < 0 || slices.ContainsFunc(first.Members, func(m Member) bool { return m.Admin && find(after, m.Key) < 0 })
	if known || len(first.Next) != len(secret{}) {
		return newSecret()
	}
	return secret(first.Next)
}

// letter returns what our record says to one member, and the places where they may
// listen for it. There are no places if they are new: then they need an invitation.
func (s *state) letter(id ID, h *head, to Key) (r record, places []place) {
	r = h.record(id)
	r.To, r.Ticket = to, secret(h.Next).ticket(to)
	if isAdmin(h.Members, to) {
		r.Next = h.Next
	}
	parents, all := s.parents(r)
	for _, p := range parents {
		if find(p.Members, to) < 0 || len(p.Next) != len(secret{}) {
			continue
		}
		if at := secret(p.Next).ticket(to).ring(); !slices.Contains(places, at) {
			places = append(places, at)
		}
	}
	for _, o := range slices.Backward(s.Heads) { // or we invited them to an epoch that was skipped
		if len(places) == 0 && o.Epoch < h.Epoch && find(o.Members, to) >= 0 && len(o.Next) == len(secret{}) {
			places = append(places, secret(o.Next).ticket(to).ring())
		}
	}
	if !all || len(parents) != 1 || find(parents[0].Members, to) < 0 { // they may not have all records that this one continues
		r.All = h.Members
	}
	return r, places
}
