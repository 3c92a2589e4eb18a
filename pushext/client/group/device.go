package group

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/pushext/client"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

const (
	// maxHeld is how many messages wait for the record that makes their author a member.
	maxHeld = 64
	// maxRounds is how often the chats are brought in line in one call: each record may
	// lead to the next.
	maxRounds = 32
	// patience is how long an admin leaves to the senior one what is to be done.
	patience = time.Minute
	// pastSlack is how much earlier than a record something may be on its topics.
	pastSlack = 5 * time.Minute
	// rungSlack is how much older than a record a mention may be and still have come
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

// Device is a client.Device, opened with Config.Complete, whose events have what was
// written in groups as if each were a chat (Book.Chat), and which sends what is posted to
// one. It is a Device for package inbox.
type Device struct {
	book      *Book
	rung      Client
	reader    Client
	mentioned func(id ID, payload []byte) []*ecdsa.PublicKey
	logger    *slog.Logger

	turn  chan struct{} // capacity 1: full while a method uses the following
	held  []held
	spare client.Event // came with something else than an event, and is given with the next

	mu      sync.Mutex             // guards the following
	ours    map[client.ChatID]bool // chats of groups, of all epochs of this run
	ignored uint64
}

// held is a message whose author is not known as a member, and may be in the next record.
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
	// registered. It asks for the groups' messages over a connection of its own, so that the
	// mailserver does not see by the registration who reads what. nil: Rung asks for them.
	Reader Client
	// Mentioned tells whom a message that is posted to a group mentions: the app knows how
	// its messages say that. nil: nobody.
	Mentioned func(id ID, payload []byte) []*ecdsa.PublicKey
	Logger    *slog.Logger // nil: nothing is logged
}

// Attach puts a person's groups over their devices. It asks nothing of the mailserver.
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

// own notes chats as those of groups.
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

// Ignored is how many messages of groups came in this run from somebody who was no
// member, or made no sense.
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

// Receive handles the body of a push, as client.Device.Receive does.
func (d *Device) Receive(ctx context.Context, body []byte) (client.Event, error) {
	return d.through(ctx, d.rung, func() (client.Event, error) { return d.rung.Receive(ctx, body) })
}

// Fetch is client.Device.Fetch.
func (d *Device) Fetch(ctx context.Context, hashes []common.Hash) (client.Event, error) {
	return d.through(ctx, d.rung, func() (client.Event, error) { return d.rung.Fetch(ctx, hashes) })
}

// History is client.Device.History of both devices.
func (d *Device) History(ctx context.Context) (client.Event, error) {
	event, err := d.through(ctx, d.rung, func() (client.Event, error) { return d.rung.History(ctx) })
	if err != nil || d.reader == d.rung {
		return event, err
	}
	more, err := d.through(ctx, d.reader, func() (client.Event, error) { return d.reader.History(ctx) })
	join(&event, more)
	return event, err
}

// through takes over what an event says of groups, and what follows from that.
func (d *Device) through(ctx context.Context, from Client, ask func() (client.Event, error)) (event client.Event, err error) {
	done, err := d.begin(ctx)
	if err != nil {
		return client.Event{}, err
	}
	defer done()
	event, err = ask()
	if errors.Is(err, client.ErrNotOurs) {
		return event, err
	}
	defer func() {
		join(&event, d.spare)
		d.spare = client.Event{}
	}()
	errs := []error{err}
	errs = append(errs, d.sort(ctx, from, &event))
	if err == nil {
		errs = append(errs, d.tend(ctx, &event))
	}
	return event, errors.Join(errs...)
}

func join(event *client.Event, more client.Event) {
	event.Previews = append(event.Previews, more.Previews...)
	event.Unopened = append(event.Unopened, more.Unopened...)
	event.Copies = append(event.Copies, more.Copies...)
	event.Dismissed = append(event.Dismissed, more.Dismissed...)
	event.Missing = append(event.Missing, more.Missing...)
	event.More = event.More || more.More
}

// sort takes what is of groups out of an event, and puts in what there is to show of it:
// records first, as they say who may write.
func (d *Device) sort(ctx context.Context, from Client, event *client.Event) error {
	slots := d.book.places()
	var rest []client.Preview
	var letters, messages []held
	done := map[Client][]common.Hash{}
	for _, p := range event.Previews {
		sl, found := slots[p.ChatID]
		switch {
		case !found && d.isOurs(p.ChatID): // of an epoch that is over
			done[from] = append(done[from], p.Hash)
		case !found:
			rest = append(rest, p)
		case sl.kind == slotLetter:
			letters = append(letters, held{p, from})
			done[from] = append(done[from], p.Hash)
		default:
			messages = append(messages, held{p, from})
		}
	}
	// What is on our topics and nobody of the group has sent is nothing to keep.
	topics := make(map[whisper.Topic]bool)
	for _, sl := range slots {
		topics[sl.chat.Topic] = true
	}
	var unopened []client.Unopened
	for _, u := range event.Unopened {
		if !topics[u.Topic] {
			unopened = append(unopened, u)
			continue
		}
		done[from] = append(done[from], u.Hash())
		d.ignore("an envelope cannot be opened", nil)
	}
	event.Previews, event.Unopened = rest, unopened

	var errs []error
	for _, l := range letters {
		if err := d.book.receive(ctx, slots[l.preview.ChatID], &l.preview); err != nil {
			var failed *storeError
			if errors.As(err, &failed) {
				return err // nothing is done: the device hands it over again
			}
			d.ignore("a letter is of no use", err)
		}
	}
	messages = append(d.held, messages...)
	d.held = nil
	for _, m := range messages {
		p, verdict, err := d.book.read(ctx, slots[m.preview.ChatID], &m.preview)
		switch {
		case verdict == unsure && len(d.held) < maxHeld:
			d.held = append(d.held, m)
		case verdict == shown:
			event.Previews = append(event.Previews, *p)
		default:
			if verdict != heard {
				d.ignore("a message is of no member", err)
			}
			done[m.from] = append(done[m.from], m.preview.Hash)
		}
	}
	for device, hashes := range done {
		errs = append(errs, device.Shown(ctx, hashes...))
	}
	return errors.Join(errs...)
}

func (d *Device) ignore(what string, err error) {
	d.mu.Lock()
	d.ignored++
	d.mu.Unlock()
	d.logger.Debug("group: "+what, "err", err)
}

// tend brings the devices' chats in line with the groups, looks what was on topics that
// are new, and does what is an admin's to do, until nothing is left.
func (d *Device) tend(ctx context.Context, event *client.Event) error {
	for range maxRounds {
		if err := d.align(ctx); err != nil {
			return err
		}
		looks := d.book.looks()
		for _, rung := range [...]bool{true, false} {
			if err := d.look(ctx, rung, looks, event); err != nil {
				return err
			}
		}
		if event.More {
			return nil // the app has enough; the rest is looked for the next time
		}
		changed, err := d.duties(ctx)
		if err != nil || len(looks) == 0 && !changed {
			return err
		}
	}
	return nil
}

// align gives the devices the chats of the groups beside those that they have, and tells
// the mailserver.
func (d *Device) align(ctx context.Context) error {
	return d.give(ctx, d.others())
}

// others are the chats of the device that are no group's.
func (d *Device) others() []client.Chat {
	return slices.DeleteFunc(d.rung.Chats(), func(c client.Chat) bool { return d.isOurs(c.ID()) })
}

func (d *Device) give(ctx context.Context, others []client.Chat) error {
	untold := d.book.untold()
	rung, reading := d.own(d.book.Chats()), d.own(d.book.Reading())
	if d.reader == d.rung {
		rung = append(rung, reading...)
	} else if err := d.reader.SetChats(ctx, reading); err != nil {
		return err
	}
	d.rung.Doubt(untold...)
	err := d.rung.SetChats(ctx, append(others, rung...))
	// Register tells the server all, when the app registers.
	if err != nil && !client.IsRefused(err, pushwire.NotRegistered) {
		return err
	}
	if len(untold) == 0 || err != nil {
		return nil
	}
	return d.book.told(ctx, untold)
}

// look asks what came on topics before a device knew of them.
func (d *Device) look(ctx context.Context, rung bool, looks []look, event *client.Event) error {
	device := d.reader
	if rung {
		device = d.rung
	}
	var topics []whisper.Topic
	var done []look
	since := int64(math.MaxInt64)
	for _, l := range looks {
		if l.Rung == rung {
			topics, done, since = append(topics, l.Topic), append(done, l), min(since, l.Since)
		}
	}
	if len(topics) == 0 || event.More {
		return nil
	}
	more, err := device.Past(ctx, time.UnixMilli(since).Add(-pastSlack), topics...)
	if err = errors.Join(err, d.sort(ctx, device, &more)); err != nil {
		return err
	}
	join(event, more)
	if more.More {
		return nil
	}
	return d.book.looked(ctx, done)
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

// Doubt is client.Device.Doubt. What concerns groups is in the Book.
func (d *Device) Doubt(topics ...whisper.Topic) {
	groups := d.book.Groups()
	d.rung.Doubt(slices.DeleteFunc(slices.Clone(topics), func(t whisper.Topic) bool {
		return slices.ContainsFunc(groups, func(g Info) bool { c := g.ID.chat(""); return c.Topic == t })
	})...)
}

// Chats are the device's, with one for each group in the place of those on the network.
func (d *Device) Chats() []client.Chat {
	chats := d.others()
	for _, g := range d.book.Groups() {
		chats = append(chats, g.ID.chat(g.Name))
	}
	return chats
}

// SetChats is client.Device.SetChats. Of the groups among them it takes over until when
// they are muted; a group that is not among them stays.
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

// Post is client.Device.Post. What was sealed for a group (Book.Chat) goes to its members
// as they are now, and once more to each that it mentions. Posted again it is the same
// message.
func (d *Device) Post(ctx context.Context, sealed *whisper.Envelope, wake bool) (common.Hash, error) {
	for _, g := range d.book.Groups() {
		c := g.ID.chat(g.Name)
		if c.Topic != sealed.Topic {
			continue
		}
		m, err := sealed.OpenSymmetric(c.Key)
		if err != nil {
			continue
		}
		return d.say(ctx, g.ID, sealed.Message(), m.Payload, d.mentioned(g.ID, m.Payload), wake)
	}
	return d.rung.Post(ctx, sealed, wake)
}

// say writes a message to a group, and rings who is mentioned.
func (d *Device) say(ctx context.Context, group ID, id common.Hash, body []byte, mentioned []*ecdsa.PublicKey, wake bool) (common.Hash, error) {
	done, err := d.begin(ctx)
	if err != nil {
		return common.Hash{}, err
	}
	defer done()
	if len(body) > MaxBody {
		return common.Hash{}, fmt.Errorf("group: a message of %d bytes (> %d)", len(body), MaxBody)
	}
	at, f, err := d.book.writing(group)
	if err != nil {
		return common.Hash{}, err
	}
	f.ID, f.Body = id, body
	now := time.Now()
	var to []Key
	for _, key := range mentioned {
		if k := KeyOf(key); k != d.book.me && !slices.Contains(to, k) {
			to = append(to, k)
		}
	}
	if err := d.book.ringing(ctx, group, id, body, to, now); err != nil {
		return common.Hash{}, err
	}
	f.Kind = kindMessage
	device := d.reader
	if info, err := d.book.Group(group); err == nil && info.Wake == pushwire.Every {
		device = d.rung // which is told of it: it is not to be woken for what we write
	}
	hash, err := d.post(ctx, device, at, &f, now, wake)
	if err != nil {
		return hash, err
	}
	for _, k := range to {
		if err := d.ring(ctx, group, kindMention, id, body, k, now); err != nil {
			return hash, err
		}
	}
	return hash, nil
}

// ring sends a frame to where a member is rung. Who is no member is not rung.
func (d *Device) ring(ctx context.Context, group ID, kind uint64, id common.Hash, body []byte, to Key, now time.Time) error {
	_, f, err := d.book.writing(group)
	if err != nil {
		return err
	}
	at, ok := d.book.ringOf(group, to)
	if !ok {
		return nil
	}
	f.Kind, f.ID, f.Body, f.To = kind, id, body, to[:]
	_, err = d.post(ctx, d.reader, at, &f, now, true)
	return err
}

func (d *Device) post(ctx context.Context, device Client, at place, f *frame, now time.Time, wake bool) (common.Hash, error) {
	chat := client.Chat{Topic: at.topic, Key: at.key[:]}
	sealed, err := whisper.Seal(ctx, client.Compose(chat, f.encode(), d.book.identity, now))
	if err != nil {
		return common.Hash{}, fmt.Errorf("group: %w", err)
	}
	return device.Post(ctx, sealed, wake)
}
