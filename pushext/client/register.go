package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// Registration is how a device wants to be woken, and for how long. Config.Chats says what
// it is woken for.
type Registration struct {
	// Routes are the ways to wake the device, the preferred one first; at least
	// one.
	Routes []pushwire.Route
	// Lifetime is how long the registration lasts unless another Register renews it; 0:
	// the longest that the server allows.
	Lifetime time.Duration
	// Plain asks for pushes that show the hashes to the push service, for tools that
	// cannot decrypt. See docs/protocol.md for what that gives away.
	Plain bool
	// Group is a secret that the devices of one user share (NewGroup): the other devices
	// need not show what one of them has seen. It may be empty.
	Group []byte
	// Preferences let others ring this device; the zero value lets nobody do so.
	Preferences pushwire.Preferences
	// Voucher pays for the registration where the server asks for that; see package
	// voucher. Pass it to every Register as long as it pays. It may be empty.
	Voucher []byte
}

// Status is what the server holds about the device.
type Status struct {
	State  pushwire.State
	Reason string // why it does not wake the device, if so
	pushwire.StatusReply
}

// check refuses what no server would take, in the app's own words.
func (r *Registration) check() error {
	if len(r.Routes) == 0 {
		return errors.New("client: Registration.Routes is empty; give at least one way to wake the device, such as a push token or DirectRoute")
	}
	for i, route := range r.Routes {
		if route.Provider == "" {
			return fmt.Errorf("client: Registration.Routes[%d].Provider is empty; give the name of one of the server's providers, such as fcm", i)
		}
		if len(route.Address) == 0 {
			return fmt.Errorf("client: Registration.Routes[%d].Address is empty; give the token or URL that the push service gave the app", i)
		}
	}
	if len(r.Voucher) > pushwire.MaxVoucher {
		return fmt.Errorf("client: Registration.Voucher has %d bytes, at most %d", len(r.Voucher), pushwire.MaxVoucher)
	}
	if r.Lifetime < 0 {
		return fmt.Errorf("client: Registration.Lifetime is %s, less than nothing", r.Lifetime)
	}
	return nil
}

// Register creates the registration or replaces it as a whole. The server then sends a
// challenge to each new address, and Receive answers it. Register again whenever the
// platform hands out a new token, and before the lifetime is over. If another device turns
// out to have the same keys, as after a backup was restored to a second phone, this one
// starts over with keys of its own, and both are woken.
func (d *Device) Register(ctx context.Context, r Registration) error {
	if err := r.check(); err != nil {
		return err
	}
	ctx, done, err := d.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	for again := false; ; again = true {
		if err := d.part(ctx); err != nil {
			return err
		}
		if err := d.register(ctx, r); again || !IsRefused(err, pushwire.Stale) {
			return err
		}
	}
}

// register is Register. The caller has the turn.
func (d *Device) register(ctx context.Context, r Registration) error {
	body := &pushwire.Register{
		Routes:      r.Routes,
		Plain:       r.Plain,
		Lifetime:    uint64(r.Lifetime / time.Second),
		Voucher:     r.Voucher,
		Group:       r.Group,
		Preferences: r.Preferences,
	}
	d.mu.Lock()
	if !r.Plain {
		body.SealKey = d.state.SealPublicKey
	}
	body.Channels = channelsOf(d.chats)
	before, seal := d.state.Asked, d.state.SealKey
	d.mu.Unlock()
	err := d.change(ctx, func(version uint64) pushwire.RequestBody {
		body.Version = version
		if len(body.SealKey) > 0 {
			// A seal key of SealKeySize bytes always gives a chain start. Wake-ups are
			// sealed even without one.
			if start, err := pushwire.ChainStart(seal, version); err == nil {
				body.Chain = start[:]
			}
		}
		return body
	}, func(ok bool) {
		if !ok {
			d.state.Asked = before
			return
		}
		d.state.Plain, d.state.Asked = r.Plain, ""
		d.state.Grouped = len(r.Group) > 0
		d.unsure = nil // the server has exactly these channels now
	}, func() {
		if r.Plain != d.state.Plain {
			d.state.Asked = formOf(r.Plain)
		}
	})
	if IsRefused(err, pushwire.Limit) && d.exceeds(body) {
		err = fmt.Errorf("%w: %w", ErrExceeds, err)
	}
	return err
}

// ErrExceeds says that a registration has more routes or channels than the mailserver
// allows, so that it is always refused. The refusal's text says how many there may be.
var ErrExceeds = errors.New("client: the registration is more than the mailserver allows one device")

// exceeds tells, by the limits that the server reported, whether a registration is refused
// for its own size and not for what other devices use.
func (d *Device) exceeds(body *pushwire.Register) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	most := d.known.limits
	return most.Routes > 0 && uint64(len(body.Routes)) > most.Routes || most.Channels > 0 && uint64(len(body.Channels)) > most.Channels
}

// SetChats replaces the chats and tells the server which topics were added, changed or
// removed.
func (d *Device) SetChats(ctx context.Context, chats []Chat) error {
	if err := checkChats(chats); err != nil {
		return err
	}
	chats = slices.Clone(chats)
	ctx, done, err := d.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	d.mu.Lock()
	body := &pushwire.Channels{Channels: difference(channelsOf(d.chats), channelsOf(chats), d.unsure)}
	if len(body.Channels) == 0 {
		d.chats = chats
	}
	d.mu.Unlock()
	if len(body.Channels) == 0 {
		return nil
	}
	return d.change(ctx, func(version uint64) pushwire.RequestBody {
		body.Version = version
		return body
	}, func(ok bool) {
		if ok {
			d.chats, d.unsure = chats, nil
		}
	}, func() {
		for i := range body.Channels {
			d.unsure = append(d.unsure, body.Channels[i].Topic)
		}
	})
}

// Doubt marks topics whose state on the server is unknown: a former run may have sent a
// change and then ended. The next SetChats tells the server about them in any case.
func (d *Device) Doubt(topics ...whisper.Topic) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, topic := range topics {
		if !slices.Contains(d.unsure, topic) {
			d.unsure = append(d.unsure, topic)
		}
	}
}

// difference returns the changes that turn one list of channels into another. Topics whose
// state on the server is unknown are sent again.
func difference(from, to []pushwire.Channel, unsure []whisper.Topic) []pushwire.Channel {
	same := make(map[pushwire.Channel]bool)
	for _, c := range from {
		same[c] = !slices.Contains(unsure, c.Topic)
	}
	var changes []pushwire.Channel
	stay := make(map[whisper.Topic]bool)
	for _, c := range to {
		stay[c.Topic] = true
		if !same[c] {
			changes = append(changes, c)
		}
	}
	remove := func(topic whisper.Topic) {
		if !stay[topic] {
			stay[topic] = true // only once
			changes = append(changes, pushwire.Channel{Topic: topic, Mode: pushwire.Removed})
		}
	}
	for _, c := range from {
		remove(c.Topic)
	}
	for _, topic := range unsure {
		remove(topic)
	}
	return changes
}

// Unregister ends the registration. The keys stay; Register starts it again.
func (d *Device) Unregister(ctx context.Context) error {
	ctx, done, err := d.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	return d.change(ctx, func(version uint64) pushwire.RequestBody {
		return &pushwire.Unregister{Version: version}
	}, func(ok bool) {
		if ok {
			d.state.Epoch, d.state.Seq = 0, 0
		}
	}, func() {})
}

// Status asks what the server holds about the device, and whether wake-ups get through
// (Delivery, nil if the server does not report it).
func (d *Device) Status(ctx context.Context) (Status, error) {
	return d.status(ctx, &pushwire.Status{Detail: new(pushwire.StatusDetail)})
}

// TestPush is Status, and also asks for a test push on every route in use. Receive returns
// an event of kind Canary for each one that arrives, and a later Status reports what the
// push services said (RouteDelivery.Outcome). The server sends few test pushes
// (Delivery.Tests) and refuses one too many with pushwire.Limit.
func (d *Device) TestPush(ctx context.Context) (Status, error) {
	return d.status(ctx, &pushwire.Status{Detail: &pushwire.StatusDetail{Test: true}})
}

func (d *Device) status(ctx context.Context, body *pushwire.Status) (Status, error) {
	ctx, done, err := d.begin(ctx)
	if err != nil {
		return Status{}, err
	}
	defer done()
	x, err := d.ask(ctx, body)
	if err != nil {
		return Status{}, err
	}
	status := Status{State: x.reply.State, Reason: x.reply.Reason}
	if body, ok := x.reply.Body.(*pushwire.StatusReply); ok {
		status.StatusReply = *body
	}
	if err := x.reply.Error(); err != nil {
		return status, errors.Join(fmt.Errorf("client: status: %w", err), d.save(ctx))
	}
	return status, d.save(ctx)
}

// Active tells whether the server's last reply confirmed the registration.
func (d *Device) Active() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.state.Active
}

// confirm answers a challenge of this server for this account. Any other challenge was
// requested by somebody else, perhaps by this server at another one.
func (d *Device) confirm(ctx context.Context, challenge pushwire.Payload) error {
	names, err := d.names()
	if err != nil {
		return err
	}
	at := slices.IndexFunc(names, challenge.Names)
	if at < 0 {
		return fmt.Errorf("client: challenge: %w", pushwire.ErrReceiver)
	}
	x, err := d.ask(ctx, pushwire.NewConfirm([pushwire.CodeSize]byte(challenge.Code), names[at].Server, names[at].Account))
	if err != nil {
		return err
	}
	if err := x.reply.Error(); err != nil {
		return errors.Join(fmt.Errorf("client: answering the challenge: %w", err), d.save(ctx))
	}
	return d.save(ctx)
}

// names are the bindings of this device's account to the server, under its push key and
// under the ones it had before: a challenge may have been under way when the server
// changed keys.
func (d *Device) names() (all []pushwire.Binding, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	account, err := d.state.account()
	all = append(all, pushwire.Binding{Server: [pushwire.PushKeySize]byte(d.state.current(d.keep.account)), Account: account})
	for _, one := range d.state.successions() {
		all = append(all, pushwire.Binding{Server: one.Former, Account: account})
	}
	return all, err
}

// change sends a request that carries a version. It saves the version before it uses it,
// so that no version is used twice. If the server finds the version stale, change raises
// it above the server's once, except for a Register, where a stale version means that
// another device has the same keys. sent notes before the request what may be true from
// now on; answered notes what the change means once the server has answered. Both are
// called with mu held.
func (d *Device) change(ctx context.Context, body func(version uint64) pushwire.RequestBody, answered func(ok bool), sent func()) error {
	for again := false; ; again = true {
		now := d.now()
		d.mu.Lock()
		version := d.state.nextVersion(now)
		d.mu.Unlock()
		if err := sayable(body(version)); err != nil {
			return err
		}
		d.mu.Lock()
		sent()
		d.mu.Unlock()
		if err := d.save(ctx); err != nil {
			return err
		}
		x, err := d.ask(ctx, body(version))
		if err != nil {
			return err
		}
		if x.reply.Code == pushwire.Stale && !again && x.request.Kind() != pushwire.KindRegister {
			d.mu.Lock()
			d.state.Version = max(d.state.Version, d.known.version)
			d.mu.Unlock()
			continue
		}
		err = x.reply.Error()
		d.mu.Lock()
		answered(err == nil)
		d.mu.Unlock()
		if err != nil {
			err = fmt.Errorf("client: %s: %w", x.request.Kind(), err)
		}
		return errors.Join(err, d.save(ctx))
	}
}

// channelsOf are the topics of the listed chats. Chats that share a topic are one channel,
// with the mode that wakes most.
func channelsOf(chats []Chat) []pushwire.Channel {
	var list []pushwire.Channel
	index := make(map[whisper.Topic]int)
	for i := range chats {
		if chats[i].Unlisted {
			continue
		}
		c := chats[i].channel()
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
