package push

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/pushext/client"
	"whisperpush/pushext/pushwire"
)

// Register creates the device's registration at its mailserver, or replaces it as a whole. The mailserver sends a
// challenge to each new address, and push_receive answers it; the device's own connection needs none.
func (a *API) Register(ctx context.Context, name string, registration Registration) (State, error) {
	d, err := a.device(name)
	if err != nil {
		return State{}, err
	}
	return d.register(ctx, &registration)
}

// Unregister ends the registration. The device and its channels stay, and push_register begins anew.
func (a *API) Unregister(ctx context.Context, name string) (bool, error) {
	d, err := a.device(name)
	if err != nil {
		return false, err
	}
	err = d.unregister(ctx)
	return err == nil, err
}

// Channels lists the channels of a device.
func (a *API) Channels(_ context.Context, name string) ([]KnownChannel, error) {
	d, err := a.device(name)
	if err != nil {
		return nil, err
	}
	return knownOf(d.snapshot().Channels)
}

// AddChannels adds channels to a device, or changes those that it has with the same key and topic, and returns all of
// them. Keys are copied: what happens to them in the namespace shh afterwards means nothing here.
func (a *API) AddChannels(ctx context.Context, name string, channels []Channel) ([]KnownChannel, error) {
	d, err := a.device(name)
	if err != nil {
		return nil, err
	}
	if len(channels) > maxChannels {
		return nil, errTooManyChannels
	}
	var add []record
	for i := range channels {
		r, err := channels[i].open(ctx, a.cfg.Keys)
		if err != nil {
			return nil, err
		}
		add = append(add, r)
	}
	return d.setChannels(ctx, func(now []record) ([]record, error) {
		at := map[string]int{}
		for i := range now {
			k, err := now[i].known()
			if err != nil {
				return nil, err
			}
			at[k.ID] = i
		}
		for i := range add {
			k, err := add[i].known()
			if err != nil {
				return nil, err
			}
			if place, ok := at[k.ID]; ok {
				now[place] = add[i]
				continue
			}
			at[k.ID] = len(now)
			now = append(now, add[i])
		}
		return now, nil
	})
}

// RemoveChannels removes the channels with these ids, as far as the device has them, and returns those that remain.
func (a *API) RemoveChannels(ctx context.Context, name string, ids []string) ([]KnownChannel, error) {
	d, err := a.device(name)
	if err != nil {
		return nil, err
	}
	return d.setChannels(ctx, func(now []record) ([]record, error) {
		return slices.DeleteFunc(now, func(r record) bool {
			k, err := r.known()
			return err == nil && slices.Contains(ids, k.ID)
		}), nil
	})
}

// Receive handles a push that came to an address of the device: it answers a challenge, or fetches what the push tells of
// and returns the previews. push is its body, the JSON object as the push service delivered it, or a string with it.
func (a *API) Receive(ctx context.Context, name string, push json.RawMessage) (Event, error) {
	if len(push) > maxPush {
		return Event{}, fmt.Errorf("the push has %d bytes, and at most %d are read", len(push), maxPush)
	}
	body := []byte(push)
	var text string
	if json.Unmarshal(push, &text) == nil {
		body = []byte(text)
	}
	return a.event(ctx, name, func(ctx context.Context, c *client.Device) (client.Event, error) { return c.Receive(ctx, body) })
}

// Fetch asks the mailserver for exactly these envelopes, and returns previews of those that push_shown was not told of.
func (a *API) Fetch(ctx context.Context, name string, hashes []common.Hash) (Event, error) {
	if err := checkHashes(hashes); err != nil {
		return Event{}, err
	}
	return a.event(ctx, name, func(ctx context.Context, c *client.Device) (client.Event, error) { return c.Fetch(ctx, hashes) })
}

// History returns previews of everything that push_shown was not told of: what the mailserver archived since the last
// time, and what subscriptions were given. It is for a program's start.
func (a *API) History(ctx context.Context, name string) (Event, error) {
	d, err := a.device(name)
	if err != nil {
		return Event{}, err
	}
	return a.event(ctx, name, func(ctx context.Context, c *client.Device) (client.Event, error) {
		event, err := c.History(ctx)
		if err != nil {
			return event, err
		}
		if left := d.notShown(event.Hashes()); len(left) > 0 {
			again, err := c.Fetch(ctx, left)
			event.Previews = append(event.Previews, again.Previews...)
			event.Missing = append(event.Missing, again.Missing...)
			if err != nil {
				return event, err
			}
		}
		slices.SortStableFunc(event.Previews, func(x, y client.Preview) int { return x.Sent.Compare(y.Sent) })
		return event, nil
	})
}

// event makes the answer of a call that brings messages. What came before an error comes again with push_history.
func (a *API) event(ctx context.Context, name string, do func(context.Context, *client.Device) (client.Event, error)) (Event, error) {
	d, err := a.device(name)
	if err != nil {
		return Event{}, err
	}
	var came Event
	err = d.with(ctx, func(ctx context.Context, c *client.Device) error {
		event, err := do(ctx, c)
		d.gave(event.Hashes())
		if err != nil {
			return err
		}
		if event.Kind == pushwire.Challenge && c.Active() {
			d.became(State{Active: true, State: pushwire.Active.String()})
		}
		came = eventOf(&event)
		return nil
	})
	return came, err
}

// Shown says that the program has these messages: they are not given to it again. The mailserver is not told.
func (a *API) Shown(ctx context.Context, name string, hashes []common.Hash) (bool, error) {
	return a.done(ctx, name, hashes, func(ctx context.Context, c *client.Device) error { return c.Shown(ctx, hashes...) })
}

// Seen tells the mailserver that these messages were read here: the notifications on the user's other devices disappear.
// They count as shown.
func (a *API) Seen(ctx context.Context, name string, hashes []common.Hash) (bool, error) {
	return a.done(ctx, name, hashes, func(ctx context.Context, c *client.Device) error { return c.Seen(ctx, hashes) })
}

func (a *API) done(ctx context.Context, name string, hashes []common.Hash, do func(context.Context, *client.Device) error) (bool, error) {
	if err := checkHashes(hashes); err != nil {
		return false, err
	}
	d, err := a.device(name)
	if err != nil {
		return false, err
	}
	err = d.with(ctx, func(ctx context.Context, c *client.Device) error {
		d.shown(hashes)
		return do(ctx, c)
	})
	return err == nil, err
}

func checkHashes(hashes []common.Hash) error {
	if len(hashes) > maxHashes {
		return fmt.Errorf("%d hashes at once; give at most %d", len(hashes), maxHashes)
	}
	return nil
}

// NewCapability makes what somebody, the holder, needs to ring this device for a message on a topic that it does not
// register. The device has to be registered with rings set.
func (a *API) NewCapability(_ context.Context, name, holder string) (Capability, error) {
	d, err := a.device(name)
	if err != nil {
		return Capability{}, err
	}
	account := d.snapshot()
	switch {
	case len(account.Root) == 0:
		return Capability{}, errors.New("nobody may ring this device; register it with rings set to true first")
	case len(holder) == 0 || len(holder) > pushwire.MaxHolder:
		return Capability{}, fmt.Errorf("the holder's name has %d bytes; give 1 to %d", len(holder), pushwire.MaxHolder)
	}
	secret := pushwire.Capability(account.Root, holder)
	return Capability{Handle: account.Handle, Holder: holder, Secret: secret[:]}, nil
}

var notifyKinds = map[string]pushwire.NotifyKind{"message": pushwire.NotifyMessage, "mention": pushwire.NotifyMention}

// Notify rings somebody at the device's mailserver for an envelope, with the capability that they gave. kind is message, or
// mention. Nobody is told whether they were rung.
func (a *API) Notify(ctx context.Context, name string, by Capability, hash common.Hash, kind string) (bool, error) {
	d, err := a.device(name)
	if err != nil {
		return false, err
	}
	ring := notifyKinds[kind]
	if ring == 0 {
		return false, fmt.Errorf("there is no kind %.20q of rings; give message or mention", kind)
	}
	if len(by.Handle) != pushwire.HandleSize || len(by.Secret) != pushwire.ProofSize {
		return false, errors.New("this is no capability; give what push_newCapability returned to who gave it")
	}
	capability := client.Capability{
		Handle: [pushwire.HandleSize]byte(by.Handle), Holder: by.Holder, Secret: [pushwire.ProofSize]byte(by.Secret),
	}
	err = d.with(ctx, func(ctx context.Context, c *client.Device) error { return c.Notify(ctx, capability, hash, ring) })
	return err == nil, err
}

// Status asks the mailserver how the registration and its routes are, and says it in plain words besides.
func (a *API) Status(ctx context.Context, name string) (Status, error) {
	return a.status(ctx, name, (*client.Device).Status)
}

// TestPush is push_status, and has a test push sent on every route. One that arrives is an event of kind canary.
func (a *API) TestPush(ctx context.Context, name string) (Status, error) {
	return a.status(ctx, name, (*client.Device).TestPush)
}

func (a *API) status(ctx context.Context, name string, ask func(*client.Device, context.Context) (client.Status, error)) (Status, error) {
	d, err := a.device(name)
	if err != nil {
		return Status{}, err
	}
	var status Status
	err = d.with(ctx, func(ctx context.Context, c *client.Device) error {
		told, err := ask(c, ctx)
		if err != nil && !client.IsRefused(err, pushwire.NotRegistered) {
			return err
		}
		status = statusOf(&told)
		d.became(status.State)
		return nil
	})
	return status, err
}
