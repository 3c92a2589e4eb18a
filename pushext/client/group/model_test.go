package group

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// Anything in any order: several admins add, remove, promote and rename at once, members
// leave, write and ring, devices are off and crash, wake-ups come late. When it is quiet all
// who are members know the same members and the same secret, everybody can ring everybody,
// and whoever is none rings nobody.
func TestModel(t *testing.T) {
	histories := uint64(100)
	if testing.Short() {
		histories = 20
	}
	for seed := range histories {
		if ok := t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { history(t, seed) }); !ok {
			return
		}
	}
}

func history(t *testing.T, seed uint64) {
	w := newWeb(t, seed)
	var all []*person
	for i := range 6 {
		all = append(all, w.person(fmt.Sprint("p", i)))
	}
	id, err := all[0].book.Found(t.Context(), "choir")
	require.NoError(t, err)
	all[0].look(t)
	var told []string
	log := func(format string, args ...any) { told = append(told, fmt.Sprintf(format, args...)) }
	defer func() {
		if t.Failed() {
			for _, line := range told {
				t.Log(line)
			}
		}
	}()
	admins := func() (list []*person) {
		for _, p := range all {
			if info, err := p.book.Group(id); err == nil && !info.Left && isAdmin(info.Members, p.k()) {
				list = append(list, p)
			}
		}
		return list
	}
	one := func(list []*person) *person { return list[w.rand.IntN(len(list))] }
	// change makes a change after a look at what others did, or at the same time as they: once,
	// for the next time it sees what they did then.
	blind := make(map[*person]bool)
	change := func(p *person) func(context.Context, ID, Change) ([]Invitation, error) {
		blind[p] = !blind[p] && w.rand.IntN(3) == 0
		if blind[p] {
			log("at once:")
			return p.make
		}
		return p.Change
	}
	online := func(p *person, on bool) { p.phone.off, p.reader.off = !on, !on }
	for range 25 {
		p, other := one(all), one(all)
		switch w.rand.IntN(10) {
		case 0, 1: // add
			a := one(admins())
			info, _ := a.book.Group(id)
			if find(info.Members, other.k()) >= 0 {
				continue
			}
			log("%s adds %s", a.name, other.name)
			invitations, err := change(a)(t.Context(), id, Change{Add: []Member{{other.k(), w.rand.IntN(3) == 0}}})
			if err != nil {
				log("  %v", err) // no network, or an admin no more: if it is made, the invitation is lost; see below
				continue
			}
			if len(invitations) == 0 {
				continue // another admin was faster
			}
			_, err = other.book.Join(t.Context(), invitations[0].Payload, &a.key.PublicKey)
			log("  joins: %v", err)
			_ = other.take(other.History(t.Context()))
		case 2: // remove
			a := one(admins())
			if a == other || other == all[0] {
				continue
			}
			_, err := change(a)(t.Context(), id, Change{Remove: []Key{other.k()}})
			log("%s removes %s: %v", a.name, other.name, err)
		case 3: // promote
			a := one(admins())
			info, _ := a.book.Group(id)
			if find(info.Members, other.k()) < 0 || other == all[0] {
				continue
			}
			_, err := change(a)(t.Context(), id, Change{Add: []Member{{other.k(), w.rand.IntN(2) == 0}}})
			log("%s makes %s an admin or not: %v", a.name, other.name, err)
		case 4:
			if p == all[0] {
				continue
			}
			log("%s leaves: %v", p.name, p.Leave(t.Context(), id))
		case 5:
			log("%s rings %s: %v", p.name, other.name, p.write(t, id, fmt.Sprint(w.rand.IntN(1000)), other))
		case 6:
			on := w.rand.IntN(2) == 0
			log("%s is online: %v", p.name, on)
			online(p, on)
		case 7:
			log("%s starts again", p.name)
			p.start(w)
		default:
			log("%s looks: %v", p.name, p.take(p.Receive(t.Context(), nil)))
		}
	}
	// Quiet: everybody is there, and looks for as long as something comes of it. The senior
	// admin invites whom an invitation was lost for.
	quiet := func() {
		for range 8 {
			for _, p := range all {
				online(p, true)
				p.look(t)
			}
		}
	}
	quiet()
	for _, p := range all {
		if s := p.book.text.Groups[id]; s != nil {
			for _, h := range s.Heads {
				log("%s: epoch %d record %x of %x after %x, members %d, removed %d added %d owed %d pending %d void %v", p.name, h.Epoch, h.ID[:3], h.By[:3], h.Parent, len(h.Members), len(h.Removed), len(h.Added), len(h.Owed), len(s.Pending), !slices.Contains(s.of(h.Epoch), h))
			}
		}
	}
	for _, m := range all[0].members(t, id) {
		at := slices.IndexFunc(all, func(p *person) bool { return p.k() == m.Key })
		payload, err := all[0].book.Invite(id, m.Key)
		require.NoError(t, err)
		s := all[at].book.text.Groups[id]
		if s == nil || s.Quit || s.epoch() != all[0].book.text.Groups[id].epoch() {
			log("%s is invited again", all[at].name)
			_, err = all[at].book.Join(t.Context(), payload, &all[0].key.PublicKey)
			require.NoError(t, err)
		}
	}
	quiet()
	var inside, outside []*person
	list := all[0].members(t, id)
	for _, p := range all {
		if find(list, p.k()) >= 0 {
			inside = append(inside, p)
		} else {
			outside = append(outside, p)
		}
	}
	log("inside: %d of %d in epoch %d", len(inside), len(all), all[0].book.text.Groups[id].epoch())
	for _, p := range inside {
		s := p.book.text.Groups[id]
		require.Equal(t, list, p.members(t, id), p.name)
		require.Equal(t, all[0].book.text.Groups[id].current()[0].Secret, s.current()[0].Secret, p.name)
		require.False(t, s.uneven(), p.name)
	}
	for _, p := range all {
		p.phone.wakes = 0
	}
	for _, p := range outside {
		_ = p.write(t, id, "still here", all...)
		for _, o := range inside { // others may have followed a removed admin into a group of theirs
			require.Zero(t, o.phone.wakes, "%s rings %s", p.name, o.name)
		}
	}
	for _, p := range all {
		p.phone.wakes = 0
	}
	for _, p := range inside {
		others := slices.DeleteFunc(slices.Clone(inside), func(o *person) bool { return o == p })
		require.NoError(t, p.write(t, id, "all of you", others...))
		for _, o := range all {
			if slices.Contains(others, o) {
				require.Equal(t, 1, o.wake(t), "%s rings %s", p.name, o.name)
				require.Contains(t, texts(o), "all of you")
			} else {
				require.Zero(t, o.phone.wakes, "%s rings %s", p.name, o.name)
			}
		}
	}
}
