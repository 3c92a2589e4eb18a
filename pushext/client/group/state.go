package group

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/pushext/pushwire"
)

const (
	// keptEpochs is how many epochs are kept, to read what was written in them.
	keptEpochs = 4
	// maxHeads is how many records of one epoch count, from admins who acted at the
	// same time.
	maxHeads = 4
	// maxPending is how many records wait for those that they continue.
	maxPending = 8
)

var (
	// ErrNotAdmin says that somebody who is not an admin of a group wants to change
	// it.
	ErrNotAdmin = errors.New("group: not an admin of the group")
	// ErrSenior says that an admin wants to remove somebody who became an admin
	// before them.
	ErrSenior = errors.New("group: an admin cannot remove one who became an admin before them")
	// ErrNotForUs says that a letter is for another member, or belongs to another
	// group.
	ErrNotForUs = errors.New("group: the letter is for somebody else")
	// ErrPast says that a record is of an epoch that the group has left.
	ErrPast = errors.New("group: the record is of an epoch that is over")
	// errEarly says that a record continues one that has not arrived yet.
	errEarly = errors.New("group: the record continues one that has not come yet")
)

// head is a record as a member keeps it.
type head struct {
	ID     common.Hash
	By     Key
	Epoch  uint64
	Name   string
	Secret secret
	Pledge common.Hash
	Parent []common.Hash
	Sent   int64 // Unix milliseconds, as the admin says

	Removed []Key    // by this record
	Added   []Member // likewise
	Members []Member // after it, the most senior first
	Rank    int      // of By among the members before

	Ticket ticket // ours in the next epoch
	Next   []byte // secret of the next epoch, if we are an admin
	Owed   []Key  // members to whom we have not sent the letter yet, if the record is ours
	Redone bool   // it is ours, was passed over, and is in Intent again
}

// state is what a member knows of one group.
type state struct {
	Heads   []*head // ascending by epoch; within one, in the order in which they count
	Pending []pending
	Wake    pushwire.Mode
	Muted   uint64 // Unix seconds
	Quit    bool   // we have left

	Leaving  []Key  // members who asked us to remove them
	Intent   Change // ours, until the group matches it
	DueSince int64  // since when an admin has something to do, Unix milliseconds
}

// pending is a record that continues one which has not arrived yet.
type pending struct {
	Payload []byte
	By      Key
	Sent    int64
}

func (s *state) epoch() uint64 {
	if len(s.Heads) == 0 {
		return 0
	}
	return s.Heads[len(s.Heads)-1].Epoch
}

// of returns the records of an epoch that count. The first gives the epoch its name
// and secret. A record does not count if a senior admin removed its maker at the same
// time.
func (s *state) of(epoch uint64) []*head {
	var heads []*head
	for _, h := range s.Heads {
		if h.Epoch != epoch {
			continue
		}
		void := slices.ContainsFunc(heads, func(senior *head) bool {
			return find(senior.Members, h.By) < 0
		})
		if !void {
			heads = append(heads, h)
		}
	}
	return heads
}

// current returns the records that count now.
func (s *state) current() []*head { return s.of(s.epoch()) }

// members returns the members by some records of one epoch: those who are members by
// all of them, and those who were added by one and removed by none.
func members(heads []*head) (list []Member) {
	for _, h := range heads {
		for _, m := range h.Members {
			at := find(list, m.Key)
			switch {
			case !agreed(heads, m.Key):
			case at < 0:
				list = append(list, m)
			case m.Admin != list[at].Admin && slices.Contains(h.Added, m): // the first one left it unchanged
				list = append(slices.Delete(list, at, at+1), m)
			}
		}
	}
	return list
}

func agreed(heads []*head, key Key) bool {
	everywhere, added := true, false
	for _, h := range heads {
		if slices.Contains(h.Removed, key) {
			return false
		}
		everywhere = everywhere && find(h.Members, key) >= 0
		added = added || find(h.Added, key) >= 0 && find(h.Members, key) >= 0
	}
	return everywhere || added
}

// gone tells whether somebody who is not a member was one, as far as is known.
func (s *state) gone(key Key) bool {
	return slices.ContainsFunc(s.Heads, func(h *head) bool {
		return find(h.Members, key) >= 0 || slices.Contains(h.Removed, key)
	})
}

func (s *state) members() []Member {
	return members(s.current())
}

func (s *state) name() string {
	if heads := s.current(); len(heads) > 0 {
		return heads[0].Name
	}
	return ""
}

func find(list []Member, key Key) int {
	return slices.IndexFunc(list, func(m Member) bool { return m.Key == key })
}

func isAdmin(list []Member, key Key) bool {
	at := find(list, key)
	return at >= 0 && list[at].Admin
}

// take adds a record that came in a letter to us. It returns errEarly if the record
// has to wait.
func (s *state) take(r record, by, me Key, sent int64) error {
	id := r.id(by)
	switch {
	case r.To != me:
		return ErrNotForUs
	case slices.ContainsFunc(s.Heads, func(h *head) bool { return h.ID == id }):
		return nil
	case len(s.Heads) > 0 && r.Epoch < s.epoch():
		return ErrPast
	}
	h := &head{
		ID: id, By: by, Epoch: r.Epoch, Rank: int(r.Rank), Name: string(r.Name), Secret: r.Secret, Pledge: r.Pledge, Parent: r.Parents, Sent: sent,
		Ticket: r.Ticket, Next: r.Next, Removed: r.Removed, Added: r.Added, Members: r.All,
	}
	parents, known := s.parents(r)
	switch {
	case known:
		before := members(parents)
		var err error
		if h.Members, err = apply(before, r.Removed, r.Added, by); err != nil {
			return err
		}
		if h.Rank != find(before, by) {
			return fmt.Errorf("%w: a record of somebody of rank %d, who has %d", ErrMalformed, h.Rank, find(before, by))
		}
	case len(r.All) == 0:
		return errEarly
	case !isAdmin(r.All, by), len(s.Heads) > 0 && !isAdmin(s.members(), by):
		// An admin whom we know tells us what we have missed. A new member relies on
		// the word of whoever invited them.
		return ErrNotAdmin
	}
	if find(h.Members, me) < 0 {
		return ErrNotForUs
	}
	s.add(h, me)
	return nil
}

// parents returns the kept records that a record continues. ok says that none is
// missing.
func (s *state) parents(r record) (parents []*head, ok bool) {
	for _, h := range s.Heads {
		if h.Epoch == r.Epoch-1 && slices.Contains(r.Parents, h.ID) {
			parents = append(parents, h)
		}
	}
	return parents, len(parents) == len(r.Parents) && len(parents) > 0
}

// apply returns the members after a change of those before.
func apply(before []Member, removed []Key, added []Member, by Key) ([]Member, error) {
	if !isAdmin(before, by) {
		return nil, ErrNotAdmin
	}
	list, rank := slices.Clone(before), find(before, by)
	for _, k := range removed {
		at := find(before, k)
		if at >= 0 && before[at].Admin && at <= rank {
			return nil, ErrSenior
		}
		list = slices.DeleteFunc(list, func(m Member) bool { return m.Key == k })
	}
	for _, m := range added {
		at := find(list, m.Key)
		if at >= 0 && list[at].Admin && !m.Admin && at < rank {
			return nil, ErrSenior
		}
		if at >= 0 && list[at].Admin == m.Admin {
			continue
		}
		list = slices.DeleteFunc(list, func(o Member) bool { return o.Key == m.Key })
		list = append(list, m)
	}
	if len(list) > MaxMembers {
		return nil, fmt.Errorf("group: %d members, at most %d", len(list), MaxMembers)
	}
	return list, nil
}

// add adds a record to the others. If an epoch has too many, the last ones do not
// count for anybody.
func (s *state) add(h *head, me Key) {
	s.Heads = append(s.Heads, h)
	slices.SortStableFunc(s.Heads, func(a, b *head) int {
		return cmp.Or(cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Rank, b.Rank), bytes.Compare(a.ID[:], b.ID[:]))
	})
	var kept []*head
	for _, o := range s.Heads {
		same := 0
		for _, k := range kept {
			if k.Epoch == o.Epoch {
				same++
			}
		}
		if o.Epoch+keptEpochs > h.Epoch && o.Epoch+keptEpochs > s.epoch() && same < maxHeads {
			kept = append(kept, o)
		}
	}
	s.Heads = kept
	list := s.members()
	for _, o := range s.Heads { // our record that two others passed over has to be made again
		passed := !slices.ContainsFunc(s.current(), func(h *head) bool { return slices.Contains(h.Parent, o.ID) })
		if o.By == me && o.Epoch+1 == s.epoch() && passed && !o.Redone {
			o.Redone = true
			s.Intent = s.Intent.join(Change{Add: o.Added, Remove: o.Removed})
		}
	}
	s.Leaving = slices.DeleteFunc(s.Leaving, func(k Key) bool { return find(list, k) < 0 })
	s.Intent = s.Intent.left(list, s.name())
}

// uneven tells whether the members of some current record are not exactly the present
// members: then another epoch is needed.
func (s *state) uneven() bool {
	list := s.members()
	return slices.ContainsFunc(s.Heads, func(h *head) bool {
		return h.Epoch == s.epoch() && !slices.Equal(sorted(h.Members), sorted(list))
	})
}

func sorted(list []Member) (keys []Key) {
	for _, m := range list {
		keys = append(keys, m.Key)
	}
	slices.SortFunc(keys, func(a, b Key) int { return bytes.Compare(a[:], b[:]) })
	return keys
}

// due tells whether an admin has something to do.
func (s *state) due() bool {
	return s.uneven() || len(s.Leaving) > 0 || !s.Intent.empty()
}
