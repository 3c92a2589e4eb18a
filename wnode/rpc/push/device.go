package push

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"

	"whisperpush/pushext/client"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// account is what is kept of a device besides what client.Device keeps.
type account struct {
	Name         string          `json:"name"`
	Server       string          `json:"server,omitempty"`  // empty: this node
	PushKey      string          `json:"pushKey,omitempty"` // this node's when the device was opened last, if Server is empty
	MailPassword string          `json:"mailPassword,omitempty"`
	Channels     []record        `json:"channels,omitempty"`
	Doubt        []whisper.Topic `json:"doubt,omitempty"`      // of a change that the mailserver may know or not
	Registered   bool            `json:"registered,omitempty"` // and not unregistered since, by what the caller asked for
	Root         hexutil.Bytes   `json:"root,omitempty"`       // of the capabilities that ring the device
	Handle       hexutil.Bytes   `json:"handle,omitempty"`     // by which they name it
}

func (a *account) chats() ([]client.Chat, error) { return chatsOf(a.Channels) }

func chatsOf(records []record) ([]client.Chat, error) {
	chats := make([]client.Chat, 0, len(records))
	for i := range records {
		chat, err := records[i].chat()
		if err != nil {
			return nil, err
		}
		chats = append(chats, chat)
	}
	return chats, nil
}

// device is one device, opened when it is needed first.
type device struct {
	api  *API
	turn chan struct{} // capacity 1: full while the account changes

	mu      sync.Mutex // guards the following fields, and is held while the device is opened
	account account    // replaced as a whole by who has the turn
	client  *client.Device
	closed  bool
	state   State          // as the mailserver said last
	unshown []common.Hash  // given to subscriptions and not Shown, the oldest first
	feeds   map[*feed]bool // subscriptions
	ears    int            // subscriptions to previews
	users   int            // calls under way, and listening
	linger  *time.Timer    // hangs up when nobody has used the device for a while
	kick    chan struct{}  // capacity 1: the registration may have become active
	deaf    func()         // ends listening; nil: it does not listen
}

func newDevice(a *API, of *account) *device {
	return &device{api: a, turn: make(chan struct{}, 1), account: *of, feeds: map[*feed]bool{}, kick: make(chan struct{}, 1)}
}

// lingerFor is how long a device stays connected that nobody uses: a mailserver lets an address connect twice a minute.
const lingerFor = 30 * time.Second

// open returns the device, with its keys read or made. It is connected as long as it is used.
func (d *device) open(ctx context.Context) (_ *client.Device, done func(), err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, err := d.opened(ctx)
	if err != nil {
		return nil, nil, err
	}
	d.users++
	if d.linger != nil {
		d.linger.Stop()
	}
	return c, d.unused, nil
}

// with does something with the device for as long as one call may take.
func (d *device) with(ctx context.Context, do func(context.Context, *client.Device) error) error {
	ctx, stop := d.api.limited(ctx)
	defer stop()
	c, unused, err := d.open(ctx)
	if err != nil {
		return err
	}
	defer unused()
	return do(ctx, c)
}

// unused ends a use of the device.
func (d *device) unused() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.users--; d.users > 0 || d.closed {
		return
	}
	d.linger = time.AfterFunc(lingerFor, d.rest)
}

// rest hangs up if nobody uses the device.
func (d *device) rest() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.users == 0 && d.client != nil {
		d.client.Sleep()
	}
}

// opened is the device, for who holds mu.
func (d *device) opened(ctx context.Context) (*client.Device, error) {
	if d.closed {
		return nil, errNoDevice
	}
	if d.client == nil {
		c, err := d.api.client(ctx, &d.account)
		if err != nil {
			return nil, err
		}
		d.client, d.state = c, stateOf(c)
	}
	return d.client, nil
}

// stateOf is the state of a registration as far as the device remembers it.
func stateOf(c *client.Device) State {
	if c.Active() {
		return State{Active: true, State: pushwire.Active.String()}
	}
	return State{State: pushwire.None.String()}
}

// close ends the device and its subscriptions.
func (d *device) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	if d.linger != nil {
		d.linger.Stop()
	}
	if d.deaf != nil {
		d.deaf()
	}
	for f := range d.feeds {
		f.end()
	}
	if d.client != nil {
		d.client.Close()
	}
}

// take has the turn until done is called, in a context that ends after patience, and with the API.
func (d *device) take(ctx context.Context) (_ context.Context, done func(), err error) {
	ctx, stop := d.api.limited(ctx)
	select {
	case d.turn <- struct{}{}:
		return ctx, func() { <-d.turn; stop() }, nil
	case <-ctx.Done():
		stop()
		return nil, nil, context.Cause(ctx)
	}
}

// limited is a context for one call.
func (a *API) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	stop := context.AfterFunc(a.life, cancel)
	return ctx, func() { stop(); cancel() }
}

// keep writes the account with a change made to it. The caller has the turn.
func (d *device) keep(ctx context.Context, change func(a *account)) error {
	d.mu.Lock()
	next := d.account
	d.mu.Unlock()
	change(&next)
	if err := d.api.cabinet.write(ctx, &next); err != nil {
		return fmt.Errorf("the device cannot be kept: %w", err)
	}
	d.mu.Lock()
	d.account = next
	d.mu.Unlock()
	return nil
}

// snapshot is the account as it is.
func (d *device) snapshot() account {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.account
}

func (d *device) describe(ctx context.Context) (Device, error) {
	a := d.snapshot()
	told := Device{Name: a.Name, Server: a.Server, Channels: len(a.Channels)}
	d.mu.Lock()
	defer d.mu.Unlock()
	c, err := d.opened(ctx)
	if errors.Is(err, errNoDevice) || errors.Is(err, errNoPush) {
		return told, nil
	}
	if err != nil {
		return told, err
	}
	told.Active = c.Active()
	return told, nil
}

// register registers the device as a whole, and tells its state.
func (d *device) register(ctx context.Context, r *Registration) (State, error) {
	ctx, done, err := d.take(ctx)
	if err != nil {
		return State{}, err
	}
	defer done()
	c, unused, err := d.open(ctx)
	if err != nil {
		return State{}, err
	}
	defer unused()
	wanted, err := r.registration(c.DirectRoute)
	if err != nil {
		return State{}, err
	}
	if wanted.Preferences, err = d.preferences(ctx, r); err != nil {
		return State{}, err
	}
	// Kept before: a mailserver that knows the device is told of its channels from now on.
	if err := d.keep(ctx, func(a *account) { a.Registered = true }); err != nil {
		return State{}, err
	}
	if err := c.Register(ctx, wanted); err != nil {
		return State{}, err
	}
	if err := d.keep(ctx, func(a *account) { a.Doubt = nil }); err != nil {
		return State{}, err
	}
	state := State{Active: c.Active(), State: pushwire.Waiting.String()}
	if state.Active {
		state.State = pushwire.Active.String()
	}
	d.became(state)
	return state, nil
}

// preferences let others ring the device if its registration says so.
func (d *device) preferences(ctx context.Context, r *Registration) (p pushwire.Preferences, err error) {
	if !r.Rings {
		return p, nil
	}
	if len(r.Revoked) > pushwire.MaxRevoked {
		return p, fmt.Errorf("%d revoked holders, and one registration names at most %d", len(r.Revoked), pushwire.MaxRevoked)
	}
	a := d.snapshot()
	if len(a.Root) == 0 {
		root, handle := make([]byte, pushwire.RootSize), make([]byte, pushwire.HandleSize)
		rand.Read(root) // never fails
		rand.Read(handle)
		if err := d.keep(ctx, func(a *account) { a.Root, a.Handle = root, handle }); err != nil {
			return p, err
		}
		a = d.snapshot()
	}
	return pushwire.Preferences{Root: a.Root, Handle: a.Handle, Revoked: r.Revoked}, nil
}

// unregister ends the registration.
func (d *device) unregister(ctx context.Context) error {
	ctx, done, err := d.take(ctx)
	if err != nil {
		return err
	}
	defer done()
	c, unused, err := d.open(ctx)
	if err != nil {
		return err
	}
	defer unused()
	if err := c.Unregister(ctx); err != nil && !client.IsRefused(err, pushwire.NotRegistered) {
		return err
	}
	d.became(State{State: pushwire.Terminated.String()})
	return d.keep(ctx, func(a *account) { a.Registered = false })
}

// leave is unregister for a device that goes, and tells whether the mailserver knows.
func (d *device) leave(ctx context.Context) bool {
	return !d.snapshot().Registered || d.unregister(ctx) == nil
}

// errTooManyChannels says what the limit is.
var errTooManyChannels = fmt.Errorf("a device has at most %d channels", maxChannels)

// setChannels replaces the channels by what change makes of them, and tells the mailserver if the device is registered.
// If that cannot be told they stay as they were; whether the mailserver has heard is asked for with the next change.
func (d *device) setChannels(ctx context.Context, change func(now []record) ([]record, error)) ([]KnownChannel, error) {
	ctx, done, err := d.take(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	c, unused, err := d.open(ctx)
	if err != nil {
		return nil, err
	}
	defer unused()
	before := d.snapshot()
	next, err := change(slices.Clone(before.Channels))
	if err != nil {
		return nil, err
	}
	if len(next) > maxChannels {
		return nil, errTooManyChannels
	}
	chats, err := chatsOf(next)
	if err != nil {
		return nil, err
	}
	if before.Registered {
		doubt := slices.Clone(before.Doubt)
		for _, r := range slices.Concat(before.Channels, next) {
			if !slices.Contains(doubt, r.Topic) {
				doubt = append(doubt, r.Topic)
			}
		}
		if err := d.keep(ctx, func(a *account) { a.Doubt = doubt }); err != nil {
			return nil, err
		}
		if err := c.SetChats(ctx, chats); err != nil {
			return nil, err
		}
	}
	if err := d.keep(ctx, func(a *account) { a.Channels, a.Doubt = next, nil }); err != nil {
		return nil, err
	}
	if !before.Registered { // opened with the new ones when it is needed next
		d.mu.Lock()
		d.client.Close()
		d.client = nil
		d.mu.Unlock()
	}
	return knownOf(next)
}

func knownOf(records []record) ([]KnownChannel, error) {
	all := []KnownChannel{}
	for i := range records {
		k, err := records[i].known()
		if err != nil {
			return nil, err
		}
		all = append(all, k)
	}
	return all, nil
}

// occupied tells whether there is anything in a directory.
func occupied(dir string) (bool, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return len(entries) > 0, err
}

func cmpName(x, y string) int { return strings.Compare(x, y) }
