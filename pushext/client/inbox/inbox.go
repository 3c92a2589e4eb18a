package inbox

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"whisperpush/pushext/client"
	"whisperpush/whisper"
)

// Device is what an inbox needs of a client.Device, which must have been opened with
// Config.Complete.
type Device interface {
	Receive(ctx context.Context, body []byte) (client.Event, error)
	History(ctx context.Context) (client.Event, error)
	Fetch(ctx context.Context, hashes []common.Hash) (client.Event, error)
	Shown(ctx context.Context, hashes ...common.Hash) error
	Seen(ctx context.Context, hashes []common.Hash) error
	Post(ctx context.Context, sealed *whisper.Envelope, wake bool) (common.Hash, error)
	ReadElsewhere(hashes ...common.Hash) []common.Hash
	Chats() []client.Chat
	SetChats(ctx context.Context, chats []client.Chat) error
	Doubt(topics ...whisper.Topic)
}

var _ Device = (*client.Device)(nil)

// App gives an inbox the platform's notifications. Its methods are called one at a
// time, and must not call the inbox. A method that fails is called again at the next
// occasion.
type App interface {
	// Show shows a notification, in place of the one with the same ID if there is
	// one. It returns nil when the platform has it: then the message counts as shown.
	Show(n Notification) error
	// Remove removes a notification. It returns nil even if there is none.
	Remove(id common.Hash) error
	// SetBadge sets the number on the app's icon. On iOS, 0 removes all notifications
	// of the app; the inbox sets 0 only when it wants none.
	SetBadge(n int) error
}

// Lister is an App whose platform tells which notifications it has. With it, a crash
// while showing a notification does not show it twice, and notifications left by a
// lost inbox are removed.
type Lister interface {
	App
	Displayed() ([]common.Hash, error)
}

// Notification is what is shown for a message.
type Notification struct {
	ID      common.Hash // of the message
	Chat    client.ChatID
	Title   string // name of the chat
	Sender  []byte // compressed key; empty: not signed
	Text    string
	Sent    time.Time
	Claimed bool   // Sent is not the sender's word, see client.Preview
	Link    string // for a tap
	Unread  int    // messages of the chat
	Manner  Manner
}

// Config configures an inbox.
type Config struct {
	File   string // name of its file, in a directory that only the app can read
	Device Device
	App    App

	// Own are the keys with which the user signs messages, on all their devices. The
	// first key signs what the inbox sends.
	Own []*ecdsa.PrivateKey
	// Sync is a chat among the device's chats whose key only the user's devices know.
	// Through it they tell each other what was read, muted and blocked. nil: there is
	// none, and they learn only which notifications to remove.
	Sync *client.Chat

	Logger *slog.Logger // nil: nothing is logged

	storage storage // in tests; nil: File
}

// Inbox is the messages of a device, and what the user has seen of them. Its methods
// may be called from any goroutine. Several processes may have the same file open.
type Inbox struct {
	device Device
	app    App
	own    []*ecdsa.PrivateKey
	sync   *client.Chat
	logger *slog.Logger
	kick   chan struct{} // capacity 1: there is something to tell
	flush  chan struct{} // capacity 1: full while the outbox is being emptied

	mu        sync.Mutex // guards the following, and is held while the app is called
	journal   journal
	model     *model
	grown     int64 // size at which the file is rewritten
	warned    int64 // of journal.lost
	attention Attention
	visible   client.ChatID                  // the zero value: none
	chats     map[client.ChatID]*client.Chat // without sync
	badge     int                            // on the icon; -1: not known
	handed    map[common.Hash]bool           // handed over by the device in this run, and not acknowledged yet
	shown     map[common.Hash]bool           // shown by the app in this run, if that could not be written
	missed    []client.Event                 // events that could not be written
	closed    bool
}

// ErrClosed says that the inbox was closed.
var ErrClosed = errors.New("inbox: it is closed")

// Open reads the file of an inbox, or begins it, and brings the platform's
// notifications in line with it. It asks the mailserver nothing; call History for
// what arrived while the app did not run.
func Open(ctx context.Context, cfg Config) (*Inbox, error) {
	if cfg.Device == nil || cfg.App == nil {
		return nil, errors.New("inbox: Config.Device or Config.App is missing")
	}
	if cfg.storage == nil {
		if cfg.File == "" {
			return nil, errors.New("inbox: Config.File is empty; give the name of a file")
		}
		cfg.storage = file(cfg.File)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	i := &Inbox{
		device: cfg.Device, app: cfg.App, own: cfg.Own, sync: cfg.Sync, logger: cfg.Logger,
		kick: make(chan struct{}, 1), flush: make(chan struct{}, 1),
		journal: journal{storage: cfg.storage}, model: newModel(), badge: -1, attention: Background,
		handed: make(map[common.Hash]bool), shown: make(map[common.Hash]bool),
	}
	i.setChats(cfg.Device.Chats())
	i.mu.Lock()
	defer i.mu.Unlock()
	if err := i.change(ctx, func(t *change) error { return i.opened(t) }); err != nil {
		return nil, err
	}
	if err := i.reconcile(ctx); err != nil {
		return nil, err
	}
	if err := i.settle(ctx); err != nil {
		i.logger.Warn("a notification could not be brought in line, it is tried again", "err", err)
	}
	return i, nil
}

// opened takes over what the device knows and a crash kept out of the file.
func (i *Inbox) opened(t *change) error {
	if i.model.device == 0 {
		var b [8]byte
		rand.Read(b[:])
		t.add(&deviceRecord{binary.BigEndian.Uint64(b[:]) | 1})
	}
	i.readElsewhere(t)
	i.tryUnopened(t)
	return nil
}

// readElsewhere takes over dismissals that the device kept.
func (i *Inbox) readElsewhere(t *change) {
	var unread []common.Hash
	for hash, e := range i.model.entries {
		if e.unread() {
			unread = append(unread, hash)
			unread = append(unread, e.Copies...)
		}
	}
	if read := i.device.ReadElsewhere(unread...); len(read) > 0 {
		t.add(&readRecord{Hashes: read})
	}
}

func (i *Inbox) setChats(chats []client.Chat) {
	i.chats = make(map[client.ChatID]*client.Chat, len(chats))
	for at := range chats {
		if id := chats[at].ID(); !i.isSync(id) {
			c := chats[at]
			i.chats[id] = &c
		}
	}
}

func (i *Inbox) isSync(id client.ChatID) bool { return i.sync != nil && i.sync.ID() == id }

// Close ends the use of the inbox. Nothing is lost: everything is in the file.
func (i *Inbox) Close() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.closed = true
	return nil
}

// change is one change of the model. It is written as a whole.
type change struct {
	model   *model
	records [][]byte
}

// add applies a record at once, so that later decisions of the same change see it.
func (t *change) add(r record) {
	r.apply(t.model)
	t.records = append(t.records, encodeRecord(r))
}

// change takes over what other processes did, lets do change the model, and writes
// the result. On error nothing has changed. The caller holds mu.
func (i *Inbox) change(ctx context.Context, do func(*change) error) error {
	if i.closed {
		return ErrClosed
	}
	unlock, err := i.journal.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := i.follow(); err != nil {
		return err
	}
	t := &change{model: i.model}
	if err = do(t); err == nil && len(t.records) > 0 {
		err = i.journal.write(t.records)
	}
	if err != nil {
		if len(t.records) > 0 { // the model has records that the file does not have
			i.journal.generation = [generationSize]byte{}
		}
		return err
	}
	i.compact()
	return nil
}

// follow takes over what is in the file.
func (i *Inbox) follow() error {
	err := i.journal.follow(func() {
		i.model = newModel()
		i.grown, i.warned = 0, 0
	}, func(b []byte) error {
		return decodeRecords(b, func(r record) { r.apply(i.model) })
	})
	if err != nil {
		i.journal.generation = [generationSize]byte{}
		return err
	}
	if i.journal.lost > i.warned {
		i.warned = i.journal.lost
		i.logger.Warn("part of the inbox file was damaged and is passed over; it is kept aside", "bytes", i.journal.lost)
		if all, err := i.journal.Read(0, maxRead); err == nil {
			if err := i.journal.Keep(all); err != nil {
				i.logger.Warn("the damaged file could not be kept", "err", err)
			}
		}
		i.grown = 1 // rewrite what is left
	}
	return nil
}

// compact rewrites the file when most of it is out of date.
func (i *Inbox) compact() {
	if i.grown == 0 {
		i.grown = 2*i.liveSize() + minGarbage
	}
	if i.journal.end <= i.grown {
		return
	}
	records := i.model.records()
	size := int64(headerSize)
	for _, r := range records {
		size += int64(len(r))
	}
	if err := i.journal.begin(records); err != nil {
		i.logger.Warn("the inbox file could not be written anew; it goes on growing", "err", err)
		i.grown = i.journal.end + i.journal.end/2
		return
	}
	i.grown, i.warned = 2*size+minGarbage, 0
}

// liveSize is about how long the file would be if it were rewritten.
func (i *Inbox) liveSize() int64 {
	return int64(i.model.bytes + i.model.held + 300*len(i.model.entries) + 8*(len(i.model.gone.list)+len(i.model.actions.list)))
}

// update changes the model, brings the platform in line, and lets Run tell others.
func (i *Inbox) update(ctx context.Context, do func(*change) error) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if err := i.change(ctx, do); err != nil {
		return err
	}
	return i.changed(ctx)
}

// changed brings the platform in line after a change, and lets Run tell others. The
// caller holds mu.
func (i *Inbox) changed(ctx context.Context) error {
	select {
	case i.kick <- struct{}{}:
	default:
	}
	return i.settle(ctx)
}

func compressed(key *ecdsa.PublicKey) []byte {
	if key == nil {
		return nil
	}
	return crypto.CompressPubkey(key)
}
