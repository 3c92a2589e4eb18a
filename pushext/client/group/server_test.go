package group

import (
	"context"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext/client"
	"whisperpush/pushext/client/inbox"
	"whisperpush/pushext/pushwire"
	"whisperpush/testutil/pushnode"
	"whisperpush/whisper"
)

var _ inbox.Device = (*Device)(nil)

func TestMain(m *testing.M) { pushnode.Main(m) }

// mailserver is a node as wnode runs it, that rings by an emulated FCM.
type mailserver struct{ *pushnode.Node }

func startMailserver(t *testing.T) *mailserver {
	t.Helper()
	return &mailserver{pushnode.Start(t, nil)}
}

// real is a member with a phone that the mailserver wakes.
type real struct {
	*person
	server *mailserver
	rung   *client.Device
	token  string
	pushes int // since the last time that they were counted
}

func (m *mailserver) person(t *testing.T, name string) *real {
	t.Helper()
	key, err := crypto.GenerateKey()
	require.NoError(t, err)
	p := &real{person: &person{name: name, key: key, store: new(client.MemoryStore), got: make(map[common.Hash]string)}, server: m, token: m.FCM.NewToken()}
	book, err := OpenBook(t.Context(), p.store, key)
	require.NoError(t, err)
	open := func(chats []client.Chat) *client.Device {
		d, err := client.Open(t.Context(), client.Config{
			Server: m.Enode(), PushKey: m.Key(), Chats: chats, Complete: true,
		})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, d.Close()) })
		return d
	}
	p.rung = open(book.Chats())
	p.Device, err = Attach(Config{Book: book, Rung: p.rung, Reader: open(book.Reading())})
	require.NoError(t, err)
	require.NoError(t, p.rung.Register(t.Context(), client.Registration{Routes: []pushwire.Route{{Provider: "fcm", Address: []byte(p.token)}}}))
	p.ring(t)
	require.True(t, p.rung.Active())
	p.pushes = 0
	return p
}

// ring waits for the next push and handles it.
func (p *real) ring(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	select {
	case push := <-p.server.FCM.Pushes(p.token):
		p.pushes++
		require.NoError(t, p.take(p.Receive(ctx, push.Body)))
	case <-ctx.Done():
		require.FailNow(t, p.name+" was not woken within 15 s")
	}
}

// A group at a mailserver with push, as wnode runs it: of a thousand messages a member is
// woken for the one that mentions them; and whoever was removed brings about no push with
// anything they hold.
func TestGroupAtAServer(t *testing.T) {
	m := startMailserver(t)
	alice, bob, mallory := m.person(t, "alice"), m.person(t, "bob"), m.person(t, "mallory")
	id, err := alice.book.Found(t.Context(), "choir")
	require.NoError(t, err)
	alice.look(t)
	alice.invite(t, id, bob.person)
	alice.invite(t, id, mallory.person)
	bob.ring(t) // the letter about mallory
	require.Len(t, bob.members(t, id), 3)
	require.Equal(t, 1, bob.pushes)

	// A thousand messages of the others, put into the network as their apps do.
	at, f, err := alice.book.writing(id)
	require.NoError(t, err)
	f.Kind = kindMessage
	for i := range 1000 {
		author := alice.key
		if i%2 == 0 {
			author = mallory.key
		}
		f.ID[0], f.ID[1], f.Body = byte(i), byte(i>>8), []byte("blah")
		m.post(t, sealedBy(t, author, at, f.encode()))
	}
	require.NoError(t, mallory.write(t, id, "Bob, listen", bob.person))
	bob.ring(t)
	require.Equal(t, []string{"Bob, listen"}, texts(bob.person))
	require.Equal(t, 2, bob.pushes, "the letter, and 1 push for 1,001 messages")
	require.Empty(t, m.FCM.Pushes(bob.token))
	bob.look(t)
	require.Len(t, bob.got, 1001)
	status, err := bob.rung.Status(t.Context())
	require.NoError(t, err)
	require.Len(t, status.Channels, 2)
	for _, c := range status.Channels {
		require.NotEqual(t, at.topic, c.Topic, "the server does not know that bob is in the group")
		require.Equal(t, pushwire.Every, c.Mode)
	}

	// Mallory is removed. What she held rings nobody any more, in whatever envelope.
	s := mallory.book.text.Groups[id]
	_, err = alice.Change(t.Context(), id, Change{Remove: []Key{mallory.k()}})
	require.NoError(t, err)
	bob.ring(t)
	require.Len(t, bob.members(t, id), 2)
	bob.pushes = 0
	for _, h := range s.Heads {
		for _, place := range []place{h.Secret.ticket(bob.k()).ring(), h.Secret.ticket(alice.k()).ring(), h.Secret.messages(), h.Ticket.ring()} {
			f := frame{Kind: kindMention, Group: id, Epoch: h.Epoch, Body: []byte("junk")}
			to := bob.k()
			f.To = to[:]
			m.post(t, sealedBy(t, mallory.key, place, f.encode()))
		}
	}
	require.NoError(t, mallory.write(t, id, "still here", bob.person, alice.person))
	// The server goes through its log in order: when this one rings, the others have not.
	require.NoError(t, alice.write(t, id, "she is gone", bob.person))
	bob.ring(t)
	require.Equal(t, 1, bob.pushes)
	require.Empty(t, m.FCM.Pushes(bob.token))
	require.Zero(t, bob.Ignored(), "the push told of nothing else")
	require.Contains(t, texts(bob.person), "she is gone")
	bob.look(t)
	require.NotContains(t, texts(bob.person), "junk")
	require.NotContains(t, texts(bob.person), "still here")
}

// post puts an envelope into the network.
func (m *mailserver) post(t *testing.T, sealed *whisper.Envelope) {
	t.Helper()
	e, err := whisper.Renew(t.Context(), sealed, whisper.Draft{PoW: whisper.DefaultMinPoW})
	require.NoError(t, err)
	require.NoError(t, m.Whisper().Post(t.Context(), e))
}
