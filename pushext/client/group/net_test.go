package group

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext/client"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// web is the network with a mailserver in memory: envelopes in the order in which they
// were archived, and what each device listens to.
type web struct {
	t       testing.TB
	log     []*whisper.Envelope
	devices []*link
	rand    *rand.Rand
}

// link is a client.Device at a web.
type link struct {
	web    *web
	chats  []client.Chat
	listed []pushwire.Channel // as the mailserver has them
	known  map[common.Hash]bool
	cursor int
	wakes  int           // how often it was woken
	waits  []common.Hash // what it was woken for and has not fetched
	off    bool          // there is no network
}

var errOff = errors.New("there is no network")

func newWeb(t testing.TB, seed uint64) *web {
	return &web{t: t, rand: rand.New(rand.NewPCG(seed, 1))}
}

func (w *web) link(registered bool, chats []client.Chat) *link {
	l := &link{web: w, chats: chats, known: make(map[common.Hash]bool)}
	if registered {
		w.devices = append(w.devices, l)
		l.tell()
	}
	return l
}

func (l *link) tell() {
	l.listed = nil
	for _, c := range l.chats {
		if !c.Unlisted && c.Mode == pushwire.Every && c.MutedUntil.Before(time.Now()) {
			l.listed = append(l.listed, pushwire.Channel{Topic: c.Topic})
		}
	}
}

// put archives an envelope and wakes whoever listens.
func (w *web) put(e *whisper.Envelope, by *link) {
	w.log = append(w.log, e)
	for _, l := range w.devices {
		if l != by && slices.Contains(l.listed, pushwire.Channel{Topic: e.Topic}) {
			l.wakes++
			l.waits = append(l.waits, e.Hash())
		}
	}
}

func (l *link) give(envelopes []*whisper.Envelope) (event client.Event) {
	event.Kind = pushwire.Messages
	for _, e := range envelopes {
		if l.known[e.Message()] {
			continue
		}
		if p := (client.Unopened{Envelope: e}).Open(l.chats); p != nil {
			event.Previews = append(event.Previews, *p)
		} else {
			event.Unopened = append(event.Unopened, client.Unopened{Envelope: e})
		}
	}
	return event
}

func (l *link) Receive(ctx context.Context, _ []byte) (client.Event, error) { return l.Fetch(ctx, nil) }

func (l *link) Fetch(context.Context, []common.Hash) (client.Event, error) {
	if l.off {
		return client.Event{}, errOff
	}
	var found []*whisper.Envelope
	for _, e := range l.web.log {
		if slices.Contains(l.waits, e.Hash()) {
			found = append(found, e)
		}
	}
	l.waits = nil
	return l.give(found), nil
}

func (l *link) History(context.Context) (client.Event, error) {
	if l.off {
		return client.Event{}, errOff
	}
	event := l.give(l.on(l.web.log[l.cursor:], topicsOf(l.chats)))
	l.cursor, l.waits = len(l.web.log), nil
	return event, nil
}

func (l *link) Past(_ context.Context, _ time.Time, topics ...whisper.Topic) (client.Event, error) {
	if l.off {
		return client.Event{}, errOff
	}
	return l.give(l.on(l.web.log, topics)), nil
}

func (l *link) on(log []*whisper.Envelope, topics []whisper.Topic) (found []*whisper.Envelope) {
	for _, e := range log {
		if slices.Contains(topics, e.Topic) {
			found = append(found, e)
		}
	}
	return found
}

func topicsOf(chats []client.Chat) (topics []whisper.Topic) {
	for _, c := range chats {
		topics = append(topics, c.Topic)
	}
	return topics
}

func (l *link) Shown(_ context.Context, hashes ...common.Hash) error {
	for _, e := range l.web.log {
		if slices.Contains(hashes, e.Hash()) {
			l.known[e.Message()] = true
		}
	}
	return nil
}

func (l *link) Seen(ctx context.Context, hashes []common.Hash) error { return l.Shown(ctx, hashes...) }

func (l *link) Post(_ context.Context, sealed *whisper.Envelope, _ bool) (common.Hash, error) {
	if l.off {
		return common.Hash{}, errOff
	}
	l.web.put(sealed, l)
	return sealed.Hash(), nil
}

func (l *link) ReadElsewhere(...common.Hash) []common.Hash { return nil }
func (l *link) Chats() []client.Chat                       { return l.chats }
func (l *link) Doubt(...whisper.Topic)                     {}

func (l *link) SetChats(_ context.Context, chats []client.Chat) error {
	if l.off && slices.Contains(l.web.devices, l) {
		return errOff
	}
	l.chats = chats
	if slices.Contains(l.web.devices, l) {
		l.tell()
	}
	return nil
}

// person is a member with one device.
type person struct {
	*Device
	name   string
	key    *ecdsa.PrivateKey
	store  *client.MemoryStore
	phone  *link
	reader *link
	got    map[common.Hash]string // messages
}

func (w *web) person(name string) *person {
	key, err := crypto.ToECDSA(crypto.Keccak256([]byte(name)))
	require.NoError(w.t, err)
	p := &person{name: name, key: key, store: new(client.MemoryStore), got: make(map[common.Hash]string)}
	p.start(w)
	return p
}

// start begins the app, also again.
func (p *person) start(w *web) {
	book, err := OpenBook(w.t.Context(), p.store, p.key)
	require.NoError(w.t, err)
	if p.phone == nil {
		p.phone, p.reader = w.link(true, nil), w.link(false, nil)
	}
	p.phone.chats, p.reader.chats = book.Chats(), book.Reading()
	p.Device, err = Attach(Config{Book: book, Rung: p.phone, Reader: p.reader, Logger: slog.New(slog.NewTextHandler(w.t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}).WithAttrs([]slog.Attr{slog.String("who", p.name)}))})
	require.NoError(w.t, err)
}

func (p *person) k() Key { return KeyOf(&p.key.PublicKey) }

func (p *person) take(event client.Event, err error) error {
	var hashes []common.Hash
	for _, v := range event.Previews {
		p.got[v.Message] = v.Text
		hashes = append(hashes, v.Hash)
	}
	return errors.Join(err, p.Shown(context.Background(), hashes...))
}

// wake handles the wake-ups that wait, and says how many there were since the last time.
func (p *person) wake(t testing.TB) int {
	t.Helper()
	n := p.phone.wakes
	p.phone.wakes = 0
	if n > 0 {
		require.NoError(t, p.take(p.Receive(t.Context(), nil)), p.name)
	}
	return n
}

func (p *person) look(t testing.TB) {
	t.Helper()
	require.NoError(t, p.take(p.History(t.Context())), p.name)
}

func (p *person) write(t testing.TB, id ID, text string, mentioned ...*person) error {
	t.Helper()
	var keys []*ecdsa.PublicKey
	for _, m := range mentioned {
		keys = append(keys, &m.key.PublicKey)
	}
	var message common.Hash
	copy(message[:], crypto.Keccak256([]byte(fmt.Sprint(p.name, text))))
	_, err := p.say(t.Context(), id, message, []byte(text), keys, false)
	return err
}

// invite adds members, and hands them their invitations.
func (p *person) invite(t testing.TB, id ID, new ...*person) {
	t.Helper()
	var c Change
	for _, n := range new {
		c.Add = append(c.Add, Member{Key: n.k()})
	}
	invitations, err := p.Change(t.Context(), id, c)
	require.NoError(t, err)
	require.Len(t, invitations, len(new))
	for i, n := range new {
		_, err := n.book.Join(t.Context(), invitations[i].Payload, &p.key.PublicKey)
		require.NoError(t, err)
		n.look(t)
	}
}

func settle(t testing.TB, people ...*person) {
	t.Helper()
	for range 20 {
		woken := 0
		for _, p := range people {
			woken += p.wake(t)
		}
		if woken == 0 {
			return
		}
	}
	t.Fatal("they wake each other for ever")
}

func (p *person) members(t testing.TB, id ID) []Member {
	info, err := p.book.Group(id)
	require.NoError(t, err)
	return info.Members
}
