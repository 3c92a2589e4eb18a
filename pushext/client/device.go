package client

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"

	"whisperpush/whisper"
)

// Config says which mailserver a Device uses and what it listens to.
type Config struct {
	Server  string // enode URL of the mailserver, or the https URL of its door
	PushKey string // its push key: 33 or 65 bytes in hexadecimal; a former one works while the server still names its successor
	Store   Store  // where the device keeps its state; nil: in memory only
	Chats   []Chat // the chats it can open; Register tells the server their topics

	// FormerPushKeys are push keys that the server had before. Its operator tells them
	// to the app in the same way as PushKey. The device takes over an account under one
	// of them and continues with PushKey. That is for a key that was changed because
	// others may know it; a device finds any other change by itself. It may be empty.
	FormerPushKeys []string

	// MailPassword is the mailserver's password for requests of history. If it is empty,
	// those are encrypted to the mailserver's node key, the one in the enode URL.
	MailPassword string

	// Complete also hands the app what a notification does not need: envelopes that no
	// chat can open (Event.Unopened), which wait for Shown as previews do; messages that
	// were read on another device (Preview.Read); and the hashes under which messages
	// come again (Event.Copies). It is for an app that keeps a model of its messages, as
	// package inbox does.
	Complete bool

	// Installation names this installation of the app on this device by an identifier
	// that the platform leaves out of backups, such as ANDROID_ID or
	// identifierForVendor. With it, a backup restored to a second phone begins an
	// account of its own at once, and the first phone continues to be woken. Without it,
	// the conflict shows when either of them registers again. The device keeps a hash of
	// it and sends nothing. It may be empty.
	Installation string

	// HTTP is how a door is reached; it is not used for an enode URL. nil: over
	// connections of the device's own, with the platform's certificates.
	HTTP http.RoundTripper

	Logger *slog.Logger // nil: nothing is logged
}

// Device is one installation of an app at one mailserver. Its methods may be called from
// any goroutine. Methods that ask the mailserver take turns; the others do not wait for
// them.
type Device struct {
	address  string // Config.Server
	server   endpoint
	mailKey  func() []byte // of the mail password, derived when first needed; nil: there is none
	keep     *keeper
	logger   *slog.Logger
	complete bool          // Config.Complete
	rings    chan []byte   // rings that wait for Listen
	turn     chan struct{} // capacity 1: full while a method asks the mailserver

	mu      sync.Mutex // guards the following; never held during a wait
	state   *state
	given   map[common.Hash]bool // waits in the state and was handed to the app in this run
	chats   []Chat               // replaced as a whole
	unsure  []whisper.Topic      // topics whose change the server may or may not have made
	session *session             // nil: not connected
	known   known                // what is known of the server in this run
	listens int                  // calls of Listen under way
	awake   context.Context      // ends with ErrAsleep or ErrClosed, and ends calls under way
	lull    context.CancelCauseFunc
}

var (
	// ErrClosed says that the Device was closed.
	ErrClosed = errors.New("client: device is closed")
	// ErrAsleep says that Sleep ended the call.
	ErrAsleep = errors.New("client: device was put to sleep")
)

// Open reads the device's account with the mailserver from its store. If there is none,
// it begins one, with keys of its own. It does not connect.
func Open(ctx context.Context, cfg Config) (*Device, error) {
	if cfg.Server == "" {
		return nil, errors.New("client: Config.Server is empty; give the enode URL that the mailserver prints when it starts, or the https URL of its door")
	}
	if cfg.PushKey == "" {
		return nil, errors.New("client: Config.PushKey is empty; give the push key that the mailserver prints when it starts")
	}
	pushKey, err := ParsePublicKey(cfg.PushKey)
	if err != nil {
		return nil, fmt.Errorf("client: Config.PushKey: %w", err)
	}
	names := []string{hex.EncodeToString(crypto.CompressPubkey(pushKey))}
	for i, former := range cfg.FormerPushKeys {
		key, err := ParsePublicKey(former)
		if err != nil {
			return nil, fmt.Errorf("client: Config.FormerPushKeys[%d]: %w", i, err)
		}
		names = append(names, hex.EncodeToString(crypto.CompressPubkey(key)))
	}
	server, err := parseEndpoint(cfg.Server, pushKey, cfg.HTTP)
	if err != nil {
		return nil, err
	}
	if err := checkChats(cfg.Chats); err != nil {
		return nil, err
	}
	if cfg.Store == nil {
		cfg.Store = new(MemoryStore)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	d := &Device{
		address: cfg.Server, server: server, logger: cfg.Logger, rings: make(chan []byte, maxRings), turn: make(chan struct{}, 1),
		keep:     &keeper{store: cfg.Store},
		complete: cfg.Complete, given: make(map[common.Hash]bool), chats: slices.Clone(cfg.Chats), known: newKnown(),
	}
	d.awake, d.lull = context.WithCancelCause(context.Background())
	if d.state, err = d.keep.open(ctx, time.Now(), names); err != nil {
		return nil, err
	}
	changed, err := d.state.settle(installation(cfg.Installation))
	if given := crypto.CompressPubkey(pushKey); !d.state.had(d.keep.account, given) {
		d.state.replace(given)
		changed = true
	}
	if err == nil && changed {
		err = d.save(ctx)
	}
	d.retarget()
	if err != nil {
		return nil, err
	}
	if cfg.MailPassword != "" {
		d.mailKey = sync.OnceValue(func() []byte { return whisper.KeyFromPassword(cfg.MailPassword) })
	}
	return d, nil
}

// Chats returns the chats that the device can open.
func (d *Device) Chats() []Chat {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.chats)
}

func checkChats(chats []Chat) error {
	for i := range chats {
		if (chats[i].Key == nil) == (chats[i].Identity == nil) {
			return fmt.Errorf("client: chat %q needs a symmetric key or an identity, and not both", chats[i].Name)
		}
	}
	return nil
}

// ParsePublicKey reads a public key in hexadecimal, compressed (33 bytes) or not
// (65 bytes), with or without 0x.
func ParsePublicKey(s string) (*ecdsa.PublicKey, error) {
	if len(s) < 2 || s[:2] != "0x" {
		s = "0x" + s
	}
	b, err := hexutil.Decode(s)
	if err != nil {
		return nil, fmt.Errorf("%.80q is not hexadecimal: %w", s, err)
	}
	if len(b) == 33 {
		return crypto.DecompressPubkey(b)
	}
	return crypto.UnmarshalPubkey(b)
}

// Connect dials the mailserver once, unless the device is connected already. Other
// methods connect by themselves, and retry.
func (d *Device) Connect(ctx context.Context) error {
	ctx, done, err := d.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	if _, err = d.connect(ctx); err != nil {
		return fmt.Errorf("client: %w", blame(ctx, ctx, err))
	}
	return nil
}

// Sleep hangs up at once. Calls under way end with ErrAsleep, except Listen, which
// continues. The device connects again when it has something to ask.
func (d *Device) Sleep() { d.end(ErrAsleep) }

// Close hangs up for good, at once. Calls under way end with ErrClosed. The registration
// stays.
func (d *Device) Close() error {
	d.end(ErrClosed)
	return nil
}

func (d *Device) end(cause error) {
	d.mu.Lock()
	s := d.session
	d.session = nil
	d.lull(cause)
	if !errors.Is(context.Cause(d.awake), ErrClosed) && cause != ErrClosed {
		d.awake, d.lull = context.WithCancelCause(context.Background())
	}
	d.mu.Unlock()
	if s != nil {
		s.close()
	}
	d.server.rest()
}

// begin waits for the turn to ask the mailserver, and takes over what another process
// did to the account. The context it returns ends with ctx, on Sleep and on Close; done
// gives the turn back.
func (d *Device) begin(ctx context.Context) (_ context.Context, done func(), err error) {
	d.mu.Lock()
	awake := d.awake
	d.mu.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(awake, func() { cancel(context.Cause(awake)) })
	done = func() {
		stop()
		cancel(nil)
	}
	if awake.Err() != nil {
		cancel(context.Cause(awake))
	}
	select {
	case d.turn <- struct{}{}:
		leave := done
		done = func() {
			<-d.turn
			leave()
		}
		if ctx.Err() == nil {
			err = d.keep.sync(ctx, &d.mu, d.state, false)
		}
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("client: nothing was asked: %w", ended(ctx))
	}
	if err != nil {
		done()
		return nil, nil, err
	}
	return ctx, done, nil
}

// save writes the account.
func (d *Device) save(ctx context.Context) error { return d.keep.sync(ctx, &d.mu, d.state, true) }

// connect returns the link, and dials where there is none. The caller has the turn.
func (d *Device) connect(ctx context.Context) (*session, error) {
	d.mu.Lock()
	s := d.session
	identity, err := d.state.identity()
	pushKey, keyErr := d.publicKey()
	d.mu.Unlock()
	if err = cmp.Or(err, keyErr); err != nil {
		return nil, err
	}
	d.server.goOn(pushKey) // another process may have changed to this key
	if s != nil {
		s.goOn(pushKey)
	}
	if s != nil && s.connected() {
		return s, nil
	}
	d.hangUp()
	if s, err = dial(ctx, d.server, identity, pushKey, d.mailKey, d.rings, d.now, d.logger); err != nil {
		return nil, err
	}
	d.mu.Lock()
	if ctx.Err() == nil {
		d.session = s
		d.mu.Unlock()
		return s, nil
	}
	d.mu.Unlock()
	s.close() // it was put to sleep meanwhile
	return nil, fmt.Errorf("connecting to the mailserver: %w", ended(ctx))
}

func (d *Device) hangUp() {
	d.mu.Lock()
	s := d.session
	d.session = nil
	d.mu.Unlock()
	if s != nil {
		s.close()
	}
}

// ended is the reason for the end of a context of begin, as a method's caller should see
// it.
func ended(ctx context.Context) error {
	if cause := context.Cause(ctx); errors.Is(cause, ErrClosed) || errors.Is(cause, ErrAsleep) {
		return cause
	}
	return ctx.Err()
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
