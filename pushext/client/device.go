package client

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	gethlog "github.com/ethereum/go-ethereum/log"
	"github.com/ethereum/go-ethereum/p2p/enode"

	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

const (
	// attemptTimeout is how long one request waits for its reply, dialling
	// included: on 2G the handshakes alone take three seconds. A link that is
	// refused or breaks ends the attempt at once.
	attemptTimeout = 8 * time.Second
	// maxAttempts is how often a request is sent; each time under a new ID.
	maxAttempts = 4
	// firstPause is how long a device waits before the second attempt; each
	// later pause is twice as long, and all are cut by up to a half at random.
	firstPause = 250 * time.Millisecond
	// maxPoW is the most proof of work that a device does for a server: about a
	// second of a phone.
	maxPoW = 10
)

// Config says which mailserver a Device uses and what it listens to.
type Config struct {
	Server  string // enode URL of the mailserver
	PushKey string // its push key: 33 or 65 bytes in hexadecimal
	Store   Store  // where the device keeps its state; nil: only in memory
	Chats   []Chat // what it can open; Register tells the server their topics

	// MailPassword is the mailserver's password for requests of history. Empty:
	// they are encrypted to its node key, the one in the enode URL.
	MailPassword string

	Logger *slog.Logger // nil: nothing is logged
}

// Device is one installation of an app. Its methods may be called from any
// goroutine and take turns.
type Device struct {
	server  *enode.Node
	pushKey *ecdsa.PublicKey
	mailKey func() []byte // of the mail password, derived when it is needed first; nil: there is none
	store   Store
	logger  *slog.Logger
	rings   chan []byte // that wait for Listen

	mu      sync.Mutex // guards the following, and is held during requests
	state   *state
	chats   []Chat
	session *session      // nil: not connected
	offset  time.Duration // of the server's clock from ours
	pow     float64       // that the server asks for
	closed  bool
}

// ErrClosed says that the Device was closed.
var ErrClosed = errors.New("client: device is closed")

// Open reads the device's state from its store, and creates keys if there is
// none. It does not connect.
func Open(ctx context.Context, cfg Config) (*Device, error) {
	server, err := enode.ParseV4(cfg.Server)
	if err != nil {
		return nil, fmt.Errorf("client: mailserver %.40q is not an enode URL: %w", cfg.Server, err)
	}
	pushKey, err := ParsePublicKey(cfg.PushKey)
	if err != nil {
		return nil, fmt.Errorf("client: push key: %w", err)
	}
	for _, c := range cfg.Chats {
		if (c.Key == nil) == (c.Identity == nil) {
			return nil, fmt.Errorf("client: chat %q needs a symmetric key or an identity, and not both", c.Name)
		}
	}
	if cfg.Store == nil {
		cfg.Store = new(MemoryStore)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s, err := loadState(ctx, cfg.Store)
	if err != nil {
		return nil, err
	}
	d := &Device{
		server: server, pushKey: pushKey, store: cfg.Store, logger: cfg.Logger, rings: make(chan []byte, maxRings),
		state: s, chats: slices.Clone(cfg.Chats), pow: pushwire.DefaultPoW,
	}
	if cfg.MailPassword != "" {
		d.mailKey = sync.OnceValue(func() []byte { return whisper.KeyFromPassword(cfg.MailPassword) })
	}
	return d, nil
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

// Connect dials the mailserver unless the device is connected already. Other
// methods do so by themselves.
func (d *Device) Connect(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, err := d.connect(ctx)
	return err
}

// Sleep hangs up. The device connects again when it has something to ask.
func (d *Device) Sleep() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hangUp()
}

// Close hangs up for good. The registration stays.
func (d *Device) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hangUp()
	d.closed = true
	return nil
}

func (d *Device) connect(ctx context.Context) (*session, error) {
	if d.closed {
		return nil, ErrClosed
	}
	if d.session != nil && d.session.connected() {
		return d.session, nil
	}
	d.hangUp()
	identity, err := d.state.identity()
	if err != nil {
		return nil, err
	}
	d.session, err = dial(ctx, d.server, identity, d.pushKey, d.mailKey, d.rings, d.logger)
	return d.session, err
}

func (d *Device) hangUp() {
	if d.session != nil {
		d.session.close()
		d.session = nil
	}
}

// ask sends a request until it is answered, connecting where needed, and returns
// the reply whatever its code. It repeats what may succeed: a lost link, no
// reply, a busy server, a clock that is off, too little work.
func (d *Device) ask(ctx context.Context, body pushwire.RequestBody) (exchange, error) {
	var last error
	pause := firstPause
	for attempt := range maxAttempts {
		if attempt > 0 {
			if err := wait(ctx, pause/2+rand.N(pause/2)); err != nil {
				return exchange{}, errors.Join(last, err)
			}
			pause *= 2
		}
		x, err := d.tryOnce(ctx, body)
		switch {
		case errors.Is(err, ErrClosed) || err != nil && ctx.Err() != nil:
			return exchange{}, err
		case err != nil:
			d.hangUp()
			last = err
			continue
		}
		switch x.reply.Code {
		case pushwire.Clock:
			if clock, ok := x.reply.Body.(*pushwire.ClockReply); ok {
				d.offset = time.Until(time.UnixMilli(int64(clock.Now)))
			}
		case pushwire.Work:
			d.learn(x.reply)
		case pushwire.Busy, pushwire.Internal, pushwire.Replayed:
		default:
			d.learn(x.reply)
			return x, nil
		}
		last = x.reply.Error()
	}
	return exchange{}, fmt.Errorf("client: gave up after %d attempts: %w", maxAttempts, last)
}

// tryOnce sends one request and waits for its reply.
func (d *Device) tryOnce(ctx context.Context, body pushwire.RequestBody) (exchange, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	s, err := d.connect(ctx)
	if err != nil {
		return exchange{}, err
	}
	x := exchange{request: body}
	x.reply, x.envelopes, err = s.do(ctx, pushwire.NewRequest(body, time.Now().Add(d.offset)), x.wanted(), d.pow)
	return x, err
}

// learn takes from a reply what concerns later requests.
func (d *Device) learn(reply pushwire.Reply) {
	switch body := reply.Body.(type) {
	case *pushwire.RegisterReply:
		d.pow = min(max(d.pow, body.Limits.PoW), maxPoW)
		d.state.Version = max(d.state.Version, body.Version)
	case *pushwire.StatusReply:
		d.pow = min(max(d.pow, body.Limits.PoW), maxPoW)
		d.state.Version = max(d.state.Version, body.Version)
	}
	d.state.Active = reply.State == pushwire.Active
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

// silent is a logger for go-ethereum's parts, which log peers' addresses.
func silent() gethlog.Logger {
	return gethlog.NewLogger(gethlog.NewTerminalHandler(io.Discard, false))
}
