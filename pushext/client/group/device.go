package group

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/pushext/client"
	"whisperpush/whisper"
)

const (
	// maxHeld is how many messages wait for the record that makes their author a member.
	maxHeld = 64
	// maxRounds is how often one call brings the chats in line, because each record may
	// lead to the next.
	maxRounds = 32
	// patience is how long an admin waits for a more senior one to do what is due.
	patience = time.Minute
	// pastSlack is how much older than a record something on its topics may be.
	pastSlack = 5 * time.Minute
	// rungSlack is how much older than a record a mention may be and still have arrived
	// after it.
	rungSlack = 30 * time.Second
)

// Client is what a Device needs of a client.Device, which must have been opened with
// Config.Complete.
type Client interface {
	Receive(ctx context.Context, body []byte) (client.Event, error)
	History(ctx context.Context) (client.Event, error)
	Past(ctx context.Context, since time.Time, topics ...whisper.Topic) (client.Event, error)
	Fetch(ctx context.Context, hashes []common.Hash) (client.Event, error)
	Shown(ctx context.Context, hashes ...common.Hash) error
	Seen(ctx context.Context, hashes []common.Hash) error
	Post(ctx context.Context, sealed *whisper.Envelope, wake bool) (common.Hash, error)
	ReadElsewhere(hashes ...common.Hash) []common.Hash
	Chats() []client.Chat
	SetChats(ctx context.Context, chats []client.Chat) error
	Doubt(topics ...whisper.Topic)
}

var _ Client = (*client.Device)(nil)

// Device is a client.Device, opened with Config.Complete. Its events contain the messages
// of each group as if the group were a chat (Book.Chat), and it sends what is posted to
// that chat. It is a Device for package inbox.
type Device struct {
	book      *Book
	rung      Client
	reader    Client
	mentioned func(id ID, payload []byte) []*ecdsa.PublicKey
	logger    *slog.Logger

	turn  chan struct{} // capacity 1: full while a method uses the following
	held  []held
	spare client.Event // arrived outside of an event, and is added to the next one

	mu      sync.Mutex             // guards the following
	ours    map[client.ChatID]bool // chats of groups, in all epochs of this run
	ignored uint64
}

// held is a message whose author is not yet known as a member. The next record may add
// them.
type held struct {
	preview client.Preview
	from    Client
}

// Config of a Device.
type Config struct {
	Book *Book
	// Rung is the registered device, which was opened with Book.Chats among its chats.
	Rung Client
	// Reader was opened with Book.Reading as its chats and a Store of its own, and is not
	// registered. It asks for the groups' messages over a connection of its own, so that
	// the mailserver cannot tell by the registration who reads what. nil: Rung asks for
	// them.
	Reader Client
	// Mentioned returns whom a message posted to a group mentions, because only the app
	// knows how its messages mention people. nil: nobody.
	Mentioned func(id ID, payload []byte) []*ecdsa.PublicKey
	Logger    *slog.Logger // nil: nothing is logged
}

// Attach adds a person's groups to their devices. It asks the mailserver nothing.
func Attach(cfg Config) (*Device, error) {
	if cfg.Book == nil || cfg.Rung == nil {
		return nil, errors.New("group: Config.Book or Config.Rung is missing")
	}
	if cfg.Reader == nil {
		cfg.Reader = cfg.Rung
	}
	if cfg.Mentioned == nil {
		cfg.Mentioned = func(ID, []byte) []*ecdsa.PublicKey { return nil }
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	d := &Device{
		book: cfg.Book, rung: cfg.Rung, reader: cfg.Reader, mentioned: cfg.Mentioned, logger: cfg.Logger,
		turn: make(chan struct{}, 1), ours: make(map[client.ChatID]bool),
	}
	d.own(d.book.Chats())
	d.own(d.book.Reading())
	return d, nil
}

// own marks chats as belonging to groups.
func (d *Device) own(chats []client.Chat) []client.Chat {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range chats {
		d.ours[chats[i].ID()] = true
	}
	return chats
}

func (d *Device) isOurs(id client.ChatID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ours[id]
}

// Ignored is how many group messages in this run came from somebody who was not a member,
// or made no sense.
func (d *Device) Ignored() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ignored
}

func (d *Device) begin(ctx context.Context) (done func(), err error) {
	select {
	case d.turn <- struct{}{}:
		return func() { <-d.turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Shown is client.Device.Shown.
func (d *Device) Shown(ctx context.Context, hashes ...common.Hash) error {
	err := d.rung.Shown(ctx, hashes...)
	if d.reader != d.rung {
		err = errors.Join(err, d.reader.Shown(ctx, hashes...))
	}
	return err
}

// Seen is client.Device.Seen.
func (d *Device) Seen(ctx context.Context, hashes []common.Hash) error {
	if d.reader != d.rung {
		if err := d.reader.Shown(ctx, hashes...); err != nil {
			return err
		}
	}
	return d.rung.Seen(ctx, hashes)
}

// ReadElsewhere is client.Device.ReadElsewhere.
func (d *Device) ReadElsewhere(hashes ...common.Hash) []common.Hash {
	return d.rung.ReadElsewhere(hashes...)
}

// Doubt is client.Device.Doubt, except for the topics of groups, which the Book keeps.
func (d *Device) Doubt(topics ...whisper.Topic) {
	groups := d.book.Groups()
	d.rung.Doubt(slices.DeleteFunc(slices.Clone(topics), func(t whisper.Topic) bool {
		return slices.ContainsFunc(groups, func(g Info) bool { c := g.ID.chat(""); return c.Topic == t })
	})...)
}

// Chats returns the device's chats, with one for each group in place of those on the
// network.
func (d *Device) Chats() []client.Chat {
	chats := d.others()
	for _, g := range d.book.Groups() {
		chats = append(chats, g.ID.chat(g.Name))
	}
	return chats
}

// SetChats is client.Device.SetChats. For the groups among the chats it takes over how
// long they are muted. A group that is not among them stays.
func (d *Device) SetChats(ctx context.Context, chats []client.Chat) error {
	done, err := d.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	groups := make(map[client.ChatID]ID)
	for _, g := range d.book.Groups() {
		c := g.ID.chat("")
		groups[c.ID()] = g.ID
	}
	var others []client.Chat
	for _, c := range chats {
		id, ours := groups[c.ID()]
		if !ours {
			others = append(others, c)
			continue
		}
		muted := uint64(0)
		if !c.MutedUntil.IsZero() {
			muted = uint64(max(c.MutedUntil.Unix(), 0))
		}
		if err := d.book.mute(ctx, id, muted); err != nil {
			return err
		}
	}
	return d.give(ctx, others)
}
