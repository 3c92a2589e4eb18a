package group

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rlp"

	"whisperpush/pushext/client"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// bookFormat is the number of the format of the text in the Store.
const bookFormat = 1

// maxBook bounds the text that is read from a Store, in bytes.
const maxBook = 64 << 20

const (
	// maxRung is how many mentions are remembered, to be repeated if the group has
	// changed without their author knowing, and maxRungBytes the bytes of their bodies
	// together.
	maxRung      = 64
	maxRungBytes = 256 << 10
	rungLife     = 24 * time.Hour
)

// Book is what one person knows of their groups, in a Store. It holds the groups'
// secrets. Only one process may use it at a time.
type Book struct {
	identity *ecdsa.PrivateKey
	me       Key
	store    client.Store

	mu   sync.Mutex // guards the following
	text text
}

// text is what is in the Store, as JSON.
type text struct {
	Format int           `json:"format"`
	Groups map[ID]*state `json:"groups"`
	// Untold are topics whose present state the mailserver may not know yet.
	Untold []whisper.Topic `json:"untold,omitempty"`
	// Looks are topics on which something may have arrived before the devices knew of
	// them.
	Looks []look `json:"looks,omitempty"`
	Rung  []rung `json:"rung,omitempty"`
}

// look is a topic, and the time since when it may have been used.
type look struct {
	Topic whisper.Topic
	Rung  bool  // for the device that is woken
	Since int64 // Unix milliseconds
}

// rung is a mention that we sent.
type rung struct {
	Group ID
	ID    common.Hash
	To    Key
	Body  []byte
	Sent  int64 // Unix milliseconds
	Epoch uint64
}

var (
	// ErrUnknown says that there is no such group in the Book.
	ErrUnknown = errors.New("group: there is no such group")
	// ErrFull says that a Book has MaxGroups.
	ErrFull = errors.New("group: too many groups")
	// ErrLastAdmin says that nobody could change the group afterwards.
	ErrLastAdmin = errors.New("group: the only admin cannot leave; make another member an admin first")
)

// OpenBook reads a Book from its Store, or begins it. identity is the key with which
// the person signs, on all their devices.
func OpenBook(ctx context.Context, store client.Store, identity *ecdsa.PrivateKey) (*Book, error) {
	b := &Book{identity: identity, me: KeyOf(&identity.PublicKey), store: store}
	data, err := store.Load(ctx)
	if err != nil {
		return nil, fmt.Errorf("group: read the groups: %w", err)
	}
	if b.text, err = readText(data); err != nil {
		return nil, err
	}
	return b, nil
}

func readText(data []byte) (text, error) {
	t := text{Format: bookFormat, Groups: make(map[ID]*state)}
	switch {
	case len(data) == 0:
		return t, nil
	case len(data) > maxBook:
		return t, fmt.Errorf("group: the groups take %d bytes (> %d)", len(data), maxBook)
	}
	if err := json.Unmarshal(data, &t); err != nil {
		return t, fmt.Errorf("group: the groups are damaged: %w", err)
	}
	if t.Format != bookFormat {
		return t, fmt.Errorf("group: the groups are of a later version, format %d (> %d)", t.Format, bookFormat)
	}
	for id, s := range t.Groups {
		if s == nil || len(s.Heads) == 0 || slices.Contains(s.Heads, nil) {
			return t, fmt.Errorf("group: the groups are damaged: %x has no epoch", id[:4])
		}
	}
	return t, nil
}

// change makes a change. The change is in the Store when change returns, or was not
// made. The caller holds mu.
func (b *Book) change(ctx context.Context, do func(t *text) error) error {
	before, err := json.Marshal(b.text)
	if err != nil {
		return fmt.Errorf("group: internal error: %w", err)
	}
	err = do(&b.text)
	var after []byte
	if err == nil {
		after, err = json.Marshal(b.text)
	}
	if err == nil && !bytes.Equal(before, after) {
		if err = b.store.Save(ctx, after); err != nil {
			err = fmt.Errorf("group: keep the groups: %w", err)
		}
	}
	if err != nil {
		b.text, _ = readText(before)
	}
	return err
}

// alter changes one group, and notes the topics that the mailserver has to be told of.
func (b *Book) alter(ctx context.Context, id ID, do func(s *state) error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.change(ctx, func(t *text) error {
		s := t.Groups[id]
		if s == nil {
			return ErrUnknown
		}
		before := b.slots(id, s)
		err := do(s)
		t.note(before, b.slots(id, s))
		return err
	})
}

// note records what the mailserver has to be told, and asked, after a group's slots
// have changed.
func (t *text) note(before, after []slot) {
	was, is := listed(before), listed(after)
	for _, c := range slices.Concat(was, is) {
		if slices.Contains(was, c) != slices.Contains(is, c) && !slices.Contains(t.Untold, c.Topic) {
			t.Untold = append(t.Untold, c.Topic)
		}
	}
	for _, sl := range after {
		l := look{sl.chat.Topic, sl.rung, sl.since}
		known := slices.ContainsFunc(before, func(o slot) bool { return o.chat.Topic == l.Topic && o.rung == l.Rung }) ||
			slices.ContainsFunc(t.Looks, func(o look) bool { return o.Topic == l.Topic && o.Rung == l.Rung })
		if !known {
			t.Looks = append(t.Looks, l)
		}
	}
}

// listed are the channels of slots that the mailserver is told of.
func listed(slots []slot) (list []pushwire.Channel) {
	for _, sl := range slots {
		if !sl.chat.Unlisted && sl.rung {
			c := pushwire.Channel{Topic: sl.chat.Topic, Mode: sl.chat.Mode}
			if !sl.chat.MutedUntil.IsZero() {
				c.MutedUntil = uint64(sl.chat.MutedUntil.Unix())
			}
			list = append(list, c)
		}
	}
	return list
}

// Found begins a group whose only member, and admin, is the person.
func (b *Book) Found(ctx context.Context, name string) (ID, error) {
	var id ID
	if len(name) > MaxName {
		return id, fmt.Errorf("group: a name of %d bytes (> %d)", len(name), MaxName)
	}
	rand.Read(id[:])
	return id, b.enter(ctx, id, func(*state) (*state, error) { return found(id, name, b.me, time.Now().UnixMilli()), nil })
}

// invitation is what a new member receives: [version, by, sent, record].
type invitation struct {
	Version uint64
	By      Key    // who made the record
	Sent    uint64 // Unix milliseconds
	Record  []byte
	Rest    []rlp.RawValue `rlp:"tail"`
}

// Invite makes the invitation of a member. Send it to them and nobody else, end-to-end
// encrypted and signed: anybody who has it can read the group. It also serves another
// device of the person, and a member who was away for so long that the mailserver no
// longer has the letters they missed.
func (b *Book) Invite(id ID, to Key) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.text.Groups[id]
	switch {
	case s == nil:
		return nil, ErrUnknown
	case find(s.members(), to) < 0:
		return nil, fmt.Errorf("group: %x is no member to be invited", to[:4])
	}
	for _, h := range s.current() {
		if len(h.Next) != len(secret{}) {
			continue
		}
		r := h.record(id)
		r.To, r.Ticket, r.All = to, secret(h.Next).ticket(to), s.members()
		if isAdmin(r.All, to) {
			r.Next = h.Next
		}
		return mustEncode(&invitation{Version: version, By: h.By, Sent: uint64(h.Sent), Record: r.encode()}), nil
	}
	return nil, ErrNotAdmin
}

// Join accepts an invitation from somebody who, by the invitation's word, is an admin
// of the group. The app should ask the person whether they want to be in a group of
// that admin. If the person was in the group before, the invitation replaces what was
// known of it.
func (b *Book) Join(ctx context.Context, payload []byte, from *ecdsa.PublicKey) (ID, error) {
	var i invitation
	if len(payload) > maxRecord+1024 {
		return ID{}, fmt.Errorf("%w: an invitation of %d bytes", ErrMalformed, len(payload))
	}
	if err := rlp.DecodeBytes(payload, &i); err != nil || i.Version != version {
		return ID{}, fmt.Errorf("%w: invitation", ErrMalformed)
	}
	r, err := decodeRecord(i.Record)
	if err != nil {
		return ID{}, err
	}
	if from == nil || !isAdmin(r.All, KeyOf(from)) {
		return ID{}, ErrNotAdmin
	}
	return r.Group, b.enter(ctx, r.Group, func(before *state) (*state, error) {
		s := new(state)
		if before != nil {
			if r.Epoch < before.epoch() {
				return nil, ErrPast
			}
			s.Wake, s.Muted = before.Wake, before.Muted
		}
		return s, s.take(r, i.By, b.me, int64(min(i.Sent, 1<<53)))
	})
}

func (b *Book) enter(ctx context.Context, id ID, begin func(before *state) (*state, error)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.change(ctx, func(t *text) error {
		before := t.Groups[id]
		if before == nil && len(t.Groups) >= MaxGroups {
			return ErrFull
		}
		s, err := begin(before)
		if err != nil {
			return err
		}
		if before == nil {
			s.Wake = pushwire.Mentions
		}
		t.note(b.slots(id, before), b.slots(id, s))
		t.Groups[id] = s
		return nil
	})
}

// SetWake sets what wakes the person in a group: pushwire.Mentions, which is the
// default, Every or Muted.
func (b *Book) SetWake(ctx context.Context, id ID, wake pushwire.Mode) error {
	if wake > pushwire.Muted {
		return fmt.Errorf("group: there is no mode %d", wake)
	}
	return b.alter(ctx, id, func(s *state) error {
		s.Wake = wake
		return nil
	})
}

// Forget removes a group. If the person is still a member, call Leave first, which
// tells the admins.
func (b *Book) Forget(ctx context.Context, id ID) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.change(ctx, func(t *text) error {
		s := t.Groups[id]
		if s == nil {
			return ErrUnknown
		}
		t.note(b.slots(id, s), nil)
		delete(t.Groups, id)
		t.Rung = slices.DeleteFunc(t.Rung, func(r rung) bool { return r.Group == id })
		return nil
	})
}

// Info is what an app can show of a group.
type Info struct {
	ID      ID
	Name    string
	Epoch   uint64
	Members []Member // the most senior first
	Wake    pushwire.Mode
	Left    bool // the person has left
}

// Groups returns all groups, ordered by ID.
func (b *Book) Groups() []Info {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []Info
	for _, id := range b.ids() {
		s := b.text.Groups[id]
		all = append(all, Info{id, s.name(), s.epoch(), s.members(), s.Wake, s.Quit})
	}
	return all
}

// Group returns one group.
func (b *Book) Group(id ID) (Info, error) {
	for _, info := range b.Groups() {
		if info.ID == id {
			return info, nil
		}
	}
	return Info{}, ErrUnknown
}

func (b *Book) ids() []ID {
	return slices.SortedFunc(maps.Keys(b.text.Groups), func(a, c ID) int { return bytes.Compare(a[:], c[:]) })
}

// Chat is the chat that stands for a group in an inbox, in all its epochs.
func (b *Book) Chat(id ID) client.Chat {
	b.mu.Lock()
	defer b.mu.Unlock()
	name := ""
	if s := b.text.Groups[id]; s != nil {
		name = s.name()
	}
	return id.chat(name)
}

// slot is a chat on the network, and what is sent there.
type slot struct {
	group ID
	chat  client.Chat
	kind  int    // slotRing, slotLetter or slotMessages
	epoch uint64 // epoch whose key it has
	rung  bool   // it belongs to the device that is woken; else to the one that reads
	since int64  // when it began, Unix milliseconds
}

const (
	slotRing = iota + 1
	slotLetter
	slotMessages
)

// slots are the chats of a group: those in which we are rung in the current and next
// epoch, those of the previous epoch, to open what came late, and the messages of all
// kept epochs.
func (b *Book) slots(id ID, s *state) []slot {
	if s == nil || s.Quit {
		return nil
	}
	var all []slot
	add := func(sl slot) {
		for _, o := range all {
			if o.chat.ID() == sl.chat.ID() {
				return
			}
		}
		sl.group = id
		all = append(all, sl)
	}
	now, mode := s.epoch(), pushwire.Every
	if s.Wake == pushwire.Muted {
		mode = pushwire.Muted
	}
	var until time.Time
	if s.Muted > 0 {
		until = time.Unix(int64(min(s.Muted, 1<<40)), 0)
	}
	ring := func(at place, epoch uint64, listed bool, since int64) {
		c := client.Chat{Topic: at.topic, Mode: mode, MutedUntil: until, Unlisted: !listed}
		letters := c
		c.Key, letters.Identity = at.key[:], b.identity
		add(slot{chat: c, kind: slotRing, epoch: epoch, rung: true, since: since})
		add(slot{chat: letters, kind: slotLetter, epoch: epoch, rung: true, since: since})
	}
	for epoch := now; epoch+1 >= now && epoch > 0; epoch-- {
		for _, h := range s.of(epoch) {
			if epoch == now {
				ring(h.Secret.ticket(b.me).ring(), epoch, true, h.Sent)
			}
		}
		for _, h := range s.of(epoch) {
			// We are usually rung now at the place that the previous epoch promised for
			// this one. If not, another admin who acted at the same time may have sent
			// a letter there.
			ring(h.Ticket.ring(), epoch+1, epoch == now, h.Sent)
			ring(h.Secret.ticket(b.me).ring(), epoch, epoch == now, h.Sent)
		}
	}
	for _, h := range s.Heads {
		at := h.Secret.messages()
		every := s.Wake == pushwire.Every && h.Epoch == now
		add(slot{chat: client.Chat{Topic: at.topic, Key: at.key[:], Unlisted: !every, MutedUntil: until}, kind: slotMessages, epoch: h.Epoch, rung: every, since: h.Sent})
	}
	return all
}

// Chats are the chats of the device that is woken, for client.Open.
func (b *Book) Chats() []client.Chat { return b.chats(func(sl slot) bool { return sl.rung }) }

// Reading are the chats of the device that only asks for history, for client.Open.
func (b *Book) Reading() []client.Chat { return b.chats(func(sl slot) bool { return !sl.rung }) }

func (b *Book) chats(wanted func(slot) bool) (list []client.Chat) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range b.ids() {
		for _, sl := range b.slots(id, b.text.Groups[id]) {
			if wanted(sl) {
				list = append(list, sl.chat)
			}
		}
	}
	// The order reveals nothing: neither the groups, nor which chats belong together.
	slices.SortFunc(list, func(a, c client.Chat) int {
		x, y := a.ID(), c.ID()
		return bytes.Compare(x[:], y[:])
	})
	return list
}
