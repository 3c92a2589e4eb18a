package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"whisperpush/pushext/pushwire"
)

// Registration is how and for how long a device wants to be woken. What it is
// woken for are the Config's chats.
type Registration struct {
	// Routes are the ways to wake the device, the preferred one first; at least
	// one.
	Routes []pushwire.Route
	// Lifetime is after what time the registration ends unless it is renewed by
	// another Register; 0: the longest that the server allows.
	Lifetime time.Duration
	// Plain asks for pushes that show the push service the hashes, for tools
	// that cannot decrypt. See docs/protocol.md for what that gives away.
	Plain bool
	// Group is a secret that the devices of one user share (NewGroup): what one
	// of them has seen, the others need not show. It may be empty.
	Group []byte
	// Preferences let others ring this device; the zero value lets nobody.
	Preferences pushwire.Preferences
}

// Status is what the server holds about the device.
type Status struct {
	State  pushwire.State
	Reason string // why it does not wake the device, if it does not
	pushwire.StatusReply
}

// Register creates the registration or replaces it as a whole. The server then
// sends a challenge to each new address; Receive answers it. Register again
// whenever the platform hands out a new token, and before the lifetime is over.
func (d *Device) Register(ctx context.Context, r Registration) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	body := &pushwire.Register{
		Routes:      r.Routes,
		Plain:       r.Plain,
		Lifetime:    uint64(r.Lifetime / time.Second),
		Group:       r.Group,
		Preferences: r.Preferences,
	}
	if !r.Plain {
		body.SealKey = d.state.SealPublicKey
	}
	body.Channels = d.channels()
	d.state.Plain = r.Plain
	_, err := d.change(ctx, func(version uint64) pushwire.RequestBody {
		body.Version = version
		return body
	})
	return err
}

// SetChats replaces the chats and tells the server of the topics that came,
// changed or went.
func (d *Device) SetChats(ctx context.Context, chats []Chat) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	former := d.channels()
	old := d.chats
	d.chats = chats
	body := new(pushwire.Channels)
	present := make(map[pushwire.Channel]bool)
	topics := make(map[[4]byte]bool)
	for _, c := range former {
		present[c] = true
	}
	for _, c := range d.channels() {
		topics[c.Topic] = true
		if !present[c] {
			body.Channels = append(body.Channels, c)
		}
	}
	for _, c := range former {
		if !topics[c.Topic] {
			body.Channels = append(body.Channels, pushwire.Channel{Topic: c.Topic, Mode: pushwire.Removed})
		}
	}
	if len(body.Channels) == 0 {
		return nil
	}
	_, err := d.change(ctx, func(version uint64) pushwire.RequestBody {
		body.Version = version
		return body
	})
	if err != nil {
		d.chats = old
	}
	return err
}

// Unregister ends the registration. The keys stay; Register starts it anew.
func (d *Device) Unregister(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, err := d.change(ctx, func(version uint64) pushwire.RequestBody {
		return &pushwire.Unregister{Version: version}
	})
	return err
}

// Status asks what the server holds about the device.
func (d *Device) Status(ctx context.Context) (Status, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	x, err := d.ask(ctx, new(pushwire.Status))
	if err != nil {
		return Status{}, err
	}
	status := Status{State: x.reply.State, Reason: x.reply.Reason}
	if err := x.reply.Error(); err != nil {
		return status, fmt.Errorf("client: status: %w", err)
	}
	if body, ok := x.reply.Body.(*pushwire.StatusReply); ok {
		status.StatusReply = *body
	}
	return status, d.state.save(ctx, d.store)
}

// Active tells whether the server confirmed the registration, by its last reply.
func (d *Device) Active() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.state.Active
}

// confirm answers a challenge of this server for this account. Any other was
// asked for by somebody else, perhaps by this server at another.
func (d *Device) confirm(ctx context.Context, challenge pushwire.Payload) error {
	names := d.names()
	if !challenge.Names(names) {
		return fmt.Errorf("client: challenge: %w", pushwire.ErrReceiver)
	}
	x, err := d.ask(ctx, pushwire.NewConfirm([pushwire.CodeSize]byte(challenge.Code), names.Server, names.Account))
	if err != nil {
		return err
	}
	if err := x.reply.Error(); err != nil {
		return fmt.Errorf("client: answering the challenge: %w", err)
	}
	return d.state.save(ctx, d.store)
}

// names are the server and the account of this device.
func (d *Device) names() (b pushwire.Binding) {
	copy(b.Server[:], crypto.CompressPubkey(d.pushKey))
	if key, err := d.state.identity(); err == nil { // as loadState has checked
		copy(b.Account[:], crypto.CompressPubkey(&key.PublicKey))
	}
	return b
}

// change sends a request that carries a version. The version is kept before it
// is used, so that it is never used twice; one that the server finds stale is
// raised above the server's once.
func (d *Device) change(ctx context.Context, body func(version uint64) pushwire.RequestBody) (pushwire.Reply, error) {
	for again := false; ; again = true {
		version := d.state.nextVersion(time.Now().Add(d.offset))
		if err := d.state.save(ctx, d.store); err != nil {
			return pushwire.Reply{}, err
		}
		x, err := d.ask(ctx, body(version))
		if err != nil {
			return pushwire.Reply{}, err
		}
		if x.reply.Code == pushwire.Stale && !again {
			continue // ask has learned the server's version
		}
		if err := x.reply.Error(); err != nil {
			return x.reply, fmt.Errorf("client: %s: %w", x.request.Kind(), err)
		}
		return x.reply, d.state.save(ctx, d.store)
	}
}

// channels are the topics of the chats. Chats that share one are one channel,
// with the mode that wakes most.
func (d *Device) channels() []pushwire.Channel {
	var list []pushwire.Channel
	index := make(map[[4]byte]int)
	for i := range d.chats {
		c := d.chats[i].channel()
		at, ok := index[c.Topic]
		switch {
		case !ok:
			index[c.Topic] = len(list)
			list = append(list, c)
		case c.Mode < list[at].Mode || c.Mode == list[at].Mode && c.MutedUntil < list[at].MutedUntil:
			list[at] = c
		}
	}
	return list
}

// IsRefused tells whether an error is the server's refusal with that code.
func IsRefused(err error, code pushwire.Code) bool {
	var refusal *pushwire.RefusalError
	return errors.As(err, &refusal) && refusal.Code == code
}
