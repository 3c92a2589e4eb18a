package group

import (
	"crypto/ecdsa"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext/client"
	"whisperpush/whisper"
)

// Of a thousand messages a member is woken for the one that mentions them, and the
// others are there when they look.
func TestMentionWakesTheMentionedAlone(t *testing.T) {
	for _, size := range []int{2, 20, 200} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			w := newWeb(t, 1)
			alice := w.person("alice")
			id, err := alice.book.Found(t.Context(), "choir")
			require.NoError(t, err)
			alice.look(t)
			people := []*person{alice}
			for i := 1; i < size; i++ {
				people = append(people, w.person(fmt.Sprint("member ", i)))
			}
			alice.invite(t, id, people[1:]...)
			settle(t, people...)
			bob := people[1]
			for i := range 1000 {
				author := people[(i*7)%size]
				if author == bob {
					author = alice
				}
				require.NoError(t, author.write(t, id, fmt.Sprint("message ", i)))
			}
			require.NoError(t, alice.write(t, id, "Bob, listen", bob))
			require.Equal(t, 1, bob.phone.wakes)
			require.Equal(t, 1, bob.wake(t))
			require.Len(t, bob.got, 1)
			for _, p := range people {
				if p != bob {
					require.Zero(t, p.phone.wakes, p.name)
				}
			}
			bob.look(t)
			require.Len(t, bob.got, 1001, "the mention and its copy in the group are one")
		})
	}
}

// Who was removed can bring about nothing with what they hold, neither a wake-up nor a
// message, and knows nothing of what comes.
func TestRemovedTriggersNothing(t *testing.T) {
	w := newWeb(t, 1)
	alice, bob, mallory := w.person("alice"), w.person("bob"), w.person("mallory")
	id, err := alice.book.Found(t.Context(), "choir")
	require.NoError(t, err)
	alice.invite(t, id, bob, mallory)
	settle(t, alice, bob, mallory)
	require.NoError(t, mallory.write(t, id, "before", bob))
	settle(t, bob)
	require.Len(t, bob.got, 1)

	// All that mallory has when she is removed: the places of everybody, and her own ticket.
	s := mallory.book.text.Groups[id]
	var held []place
	for _, h := range s.Heads {
		held = append(held, h.Secret.messages(), h.Ticket.ring())
		for _, p := range []*person{alice, bob, mallory} {
			held = append(held, h.Secret.ticket(p.k()).ring())
		}
	}
	old := append([]*whisper.Envelope(nil), w.log...)
	_, err = alice.Change(t.Context(), id, Change{Remove: []Key{mallory.k()}})
	require.NoError(t, err)
	require.Equal(t, 1, bob.wake(t), "the letter")
	settle(t, alice, bob)
	require.Equal(t, alice.members(t, id), bob.members(t, id))
	require.Len(t, bob.members(t, id), 2)
	ignored := bob.Ignored()

	// What she held, once more in other envelopes, and new things on every place she knows.
	replay := func(e *whisper.Envelope) {
		again, err := whisper.Renew(t.Context(), e, whisper.Draft{Now: time.Now().Add(time.Second)})
		require.NoError(t, err)
		w.put(again, mallory.phone)
	}
	for _, e := range old {
		replay(e)
	}
	for i, at := range held {
		for epoch := uint64(1); epoch < 5; epoch++ {
			for _, kind := range []uint64{kindMessage, kindMention, kindLeave} {
				f := frame{Kind: kind, Group: id, Epoch: epoch, Body: []byte(fmt.Sprint("junk ", i))}
				if kind != kindMessage {
					to := bob.k()
					f.To = to[:]
				}
				w.put(sealedBy(t, mallory.key, at, f.encode()), mallory.phone)
			}
		}
	}
	require.NoError(t, mallory.write(t, id, "after", bob, alice))
	require.Zero(t, bob.phone.wakes)
	require.Zero(t, alice.phone.wakes)
	for _, p := range []*person{alice, bob} {
		p.look(t)
		for _, text := range p.got {
			require.Contains(t, []string{"before"}, text, p.name)
		}
		require.Len(t, p.members(t, id), 2)
	}
	require.Greater(t, bob.Ignored(), ignored, "it was looked at")

	require.NoError(t, alice.write(t, id, "a secret", bob))
	require.Equal(t, 1, bob.wake(t))
	mallory.look(t)
	require.NotContains(t, texts(mallory), "a secret")
}

func texts(p *person) (all []string) {
	for _, text := range p.got {
		all = append(all, text)
	}
	return all
}

func sealedBy(t testing.TB, key *ecdsa.PrivateKey, at place, payload []byte) *whisper.Envelope {
	e, err := whisper.Seal(t.Context(), client.Compose(client.Chat{Topic: at.topic, Key: at.key[:]}, payload, key, time.Now()))
	require.NoError(t, err)
	return e
}

// A member who was away for several epochs is rung on the topic that was registered ahead
// of time, and finds the way from one record to the next, and what arrived meanwhile.
func TestOfflineForEpochs(t *testing.T) {
	w := newWeb(t, 1)
	alice, bob, carol, dave := w.person("alice"), w.person("bob"), w.person("carol"), w.person("dave")
	id, err := alice.book.Found(t.Context(), "choir")
	require.NoError(t, err)
	alice.invite(t, id, bob, carol)
	settle(t, alice, bob, carol)
	alice.invite(t, id, dave)
	_, err = alice.Change(t.Context(), id, Change{Remove: []Key{carol.k()}, Name: "quartet"})
	require.NoError(t, err)
	settle(t, alice, dave)
	require.Equal(t, 1, bob.phone.wakes, "the letter of the next epoch; that of the one after it is on a topic that nobody listens to yet")
	require.NoError(t, dave.write(t, id, "Bob, are you there?", bob))
	require.NoError(t, alice.write(t, id, "he is not"))

	require.NotZero(t, bob.wake(t))
	require.Equal(t, alice.members(t, id), bob.members(t, id))
	require.Contains(t, texts(bob), "Bob, are you there?")
	info, err := bob.book.Group(id)
	require.NoError(t, err)
	require.Equal(t, "quartet", info.Name)
	bob.look(t)
	require.Len(t, bob.got, 2)

	require.NoError(t, dave.write(t, id, "at last", bob))
	require.Equal(t, 1, bob.wake(t))
}

// A mention in a new epoch reaches a member who does not know of that epoch, and a mention in
// the old epoch reaches members who know of the new one.
func TestMentionsAcrossAChange(t *testing.T) {
	w := newWeb(t, 1)
	alice, bob, carol := w.person("alice"), w.person("bob"), w.person("carol")
	id, err := alice.book.Found(t.Context(), "choir")
	require.NoError(t, err)
	alice.invite(t, id, bob, carol)
	settle(t, alice, bob, carol)

	_, err = alice.Change(t.Context(), id, Change{Name: "quartet"})
	require.NoError(t, err)
	require.Equal(t, 1, bob.wake(t), "bob knows, carol does not")
	require.NoError(t, bob.write(t, id, "Carol, new", carol))
	require.NoError(t, carol.write(t, id, "Bob, old", bob))
	require.Zero(t, bob.phone.wakes, "he listens to the old topic no more")
	require.Equal(t, 2, carol.wake(t), "the letter and the mention")
	require.Contains(t, texts(carol), "Carol, new")
	require.Equal(t, 1, bob.wake(t), "carol rings again, as her mention was later than the change")
	require.Equal(t, []string{"Bob, old"}, texts(bob))

	// A mention of before the change is not rung again.
	_, err = alice.Change(t.Context(), id, Change{Name: "trio"})
	require.NoError(t, err)
	settle(t, alice, bob, carol)
	require.Len(t, bob.got, 1)
}

// Two admins who act at once end up with one group, in which both changes are made.
func TestTwoAdminsAtOnce(t *testing.T) {
	w := newWeb(t, 1)
	alice, bob, carol, dave, erin := w.person("alice"), w.person("bob"), w.person("carol"), w.person("dave"), w.person("erin")
	id, err := alice.book.Found(t.Context(), "choir")
	require.NoError(t, err)
	alice.invite(t, id, bob, carol, dave)
	_, err = alice.Change(t.Context(), id, Change{Add: []Member{{bob.k(), true}}})
	require.NoError(t, err)
	all := []*person{alice, bob, carol, dave}
	settle(t, all...)

	_, err = alice.make(t.Context(), id, Change{Remove: []Key{dave.k()}})
	require.NoError(t, err)
	invitations, err := bob.make(t.Context(), id, Change{Add: []Member{{Key: erin.k()}}, Remove: []Key{carol.k()}})
	require.NoError(t, err)
	_, err = erin.book.Join(t.Context(), invitations[0].Payload, &bob.key.PublicKey)
	require.NoError(t, err)
	erin.look(t)
	settle(t, alice, bob, carol, dave, erin)
	want := []Key{alice.k(), bob.k(), erin.k()}
	for _, p := range []*person{alice, bob, erin} {
		var keys []Key
		for _, m := range p.members(t, id) {
			keys = append(keys, m.Key)
		}
		require.Equal(t, want, keys, p.name)
	}
	require.Equal(t, alice.book.text.Groups[id].current()[0].Secret, erin.book.text.Groups[id].current()[0].Secret)
	require.False(t, alice.book.text.Groups[id].uneven(), "there was a third epoch")
	require.NoError(t, erin.write(t, id, "hello", alice, bob, carol, dave))
	require.Equal(t, []int{1, 1, 0, 0}, []int{alice.phone.wakes, bob.phone.wakes, carol.phone.wakes, dave.phone.wakes})

	// A junior admin who is removed cannot undo it by an act of the same epoch.
	settle(t, alice, bob)
	_, err = alice.Change(t.Context(), id, Change{Remove: []Key{bob.k()}})
	require.NoError(t, err)
	_, err = bob.make(t.Context(), id, Change{Remove: []Key{alice.k()}})
	require.ErrorIs(t, err, ErrSenior)
	_, err = bob.make(t.Context(), id, Change{Remove: []Key{erin.k()}, Add: []Member{{Key: dave.k()}}})
	require.NoError(t, err)
	settle(t, alice, bob, erin)
	for _, p := range []*person{alice, erin} {
		require.Len(t, p.members(t, id), 2, p.name)
		require.NotContains(t, p.members(t, id), Member{bob.k(), true})
	}
	require.NoError(t, bob.write(t, id, "I am still here", alice, erin))
	require.Zero(t, alice.phone.wakes+erin.phone.wakes)
}

// Who leaves is rung no more at once, and the admins change the epoch.
func TestLeave(t *testing.T) {
	w := newWeb(t, 1)
	alice, bob, carol := w.person("alice"), w.person("bob"), w.person("carol")
	id, err := alice.book.Found(t.Context(), "choir")
	require.NoError(t, err)
	alice.invite(t, id, bob, carol)
	settle(t, alice, bob, carol)
	require.ErrorIs(t, alice.Leave(t.Context(), id), ErrLastAdmin)
	require.NoError(t, bob.Leave(t.Context(), id))
	require.Empty(t, bob.phone.listed)
	require.NoError(t, carol.write(t, id, "Bob!", bob))
	require.Zero(t, bob.phone.wakes)
	settle(t, alice, carol)
	require.Len(t, carol.members(t, id), 2)
	require.Equal(t, alice.members(t, id), carol.members(t, id))

	_, err = alice.Change(t.Context(), id, Change{Add: []Member{{carol.k(), true}}})
	require.NoError(t, err)
	settle(t, alice, carol)
	require.NoError(t, alice.Leave(t.Context(), id))
	settle(t, carol)
	require.Equal(t, []Member{{carol.k(), true}}, carol.members(t, id))
	require.NoError(t, alice.book.Forget(t.Context(), id))
	require.Empty(t, alice.book.Groups())
}

// A crash anywhere between loses nothing: what is owed and looked for is in the Store.
func TestCrashes(t *testing.T) {
	w := newWeb(t, 1)
	alice, bob, carol := w.person("alice"), w.person("bob"), w.person("carol")
	id, err := alice.book.Found(t.Context(), "choir")
	require.NoError(t, err)
	alice.invite(t, id, bob, carol)
	settle(t, alice, bob, carol)
	alice.phone.off, alice.reader.off = true, true
	_, err = alice.Change(t.Context(), id, Change{Remove: []Key{carol.k()}})
	require.ErrorIs(t, err, errOff, "nothing is changed blindly")
	require.Len(t, alice.members(t, id), 3)
	_, err = alice.make(t.Context(), id, Change{Remove: []Key{carol.k()}})
	require.ErrorIs(t, err, errOff, "the link was lost after the look")
	require.Len(t, alice.members(t, id), 2)
	alice.phone.off, alice.reader.off = false, false
	alice.start(w)
	alice.look(t)
	bob.reader.off = true // after the letter is kept, before its topics were looked at
	bob.phone.wakes = 0
	require.ErrorIs(t, bob.take(bob.Receive(t.Context(), nil)), errOff)
	bob.reader.off = false
	bob.start(w)
	bob.look(t)
	settle(t, alice, bob)
	require.Equal(t, alice.members(t, id), bob.members(t, id))
	require.NoError(t, bob.write(t, id, "hi", alice))
	require.Equal(t, 1, alice.wake(t))
}
