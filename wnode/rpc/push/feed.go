package push

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rpc"

	"whisperpush/pushext/client"
	"whisperpush/pushext/pushwire"
)

const (
	// maxSubscriptions bounds the subscriptions of all callers.
	maxSubscriptions = 64
	// maxWaiting is how many previews wait for one subscriber at most, and maxWaitingBytes how many bytes their payloads
	// have. What does not fit is left to push_history, and the subscriber is told.
	maxWaiting      = 256
	maxWaitingBytes = 4 << 20
	// maxStates is how many changes of state wait for one subscriber; then the oldest go.
	maxStates = 16
	// maxUnshown is how many messages are remembered that subscribers were given and push_shown was not told of: as many
	// as a device keeps waiting.
	maxUnshown = 1024
	// deafPause is how long a device waits that cannot listen, before it finds out whether it can, unless it is registered
	// meanwhile.
	deafPause = time.Minute
)

var errTooManySubscriptions = fmt.Errorf("there are %d subscriptions already; end some with push_unsubscribe", maxSubscriptions)

// feed is one subscription: what waits for a subscriber.
type feed struct {
	previews bool          // what it is for, and else for states
	wake     chan struct{} // capacity 1: something waits
	ended    chan struct{} // closed by end
	once     sync.Once

	mu     sync.Mutex // guards the following
	events []Event
	states []State
	held   int  // previews in events
	bytes  int  // of their payloads
	lagged bool // an event did not fit
}

func newFeed(previews bool) *feed {
	return &feed{previews: previews, wake: make(chan struct{}, 1), ended: make(chan struct{})}
}

func (f *feed) end() { f.once.Do(func() { close(f.ended) }) }

func (f *feed) ring() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// weigh is how many bytes of payload an event has.
func weigh(e *Event) (bytes int) {
	for i := range e.Previews {
		bytes += len(e.Previews[i].Payload)
	}
	return bytes
}

// offer has an event wait, if it fits. One that is larger than the limit waits alone.
func (f *feed) offer(e Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	bytes := weigh(&e)
	if len(f.events) > 0 && (f.held+len(e.Previews) > maxWaiting || f.bytes+bytes > maxWaitingBytes || len(f.events) >= maxWaiting) {
		f.lagged = true
	} else {
		f.events = append(f.events, e)
		f.held, f.bytes = f.held+len(e.Previews), f.bytes+bytes
	}
	f.ring()
}

// became has a state wait.
func (f *feed) became(s State) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.states) >= maxStates {
		f.states = f.states[1:]
	}
	f.states = append(f.states, s)
	f.ring()
}

// next is what a subscriber is told next; nil: nothing waits.
func (f *feed) next() any {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case len(f.events) > 0:
		e := f.events[0]
		f.events = slices.Delete(f.events, 0, 1)
		f.held, f.bytes = f.held-len(e.Previews), f.bytes-weigh(&e)
		return e
	case f.lagged:
		f.lagged = false
		return eventOf(&client.Event{Kind: pushwire.Messages, More: true})
	case len(f.states) > 0:
		s := f.states[0]
		f.states = f.states[1:]
		return s
	}
	return nil
}

// Previews is push_subscribe("previews", name): each event that arrives over the device's own connection, which the node
// keeps open as long as somebody subscribes. The device has to be registered with a direct route.
func (a *API) Previews(ctx context.Context, name string) (*rpc.Subscription, error) {
	return a.subscribe(ctx, name, newFeed(true))
}

// State is push_subscribe("state", name): how the registration is, at once and whenever that is found to have changed.
func (a *API) State(ctx context.Context, name string) (*rpc.Subscription, error) {
	return a.subscribe(ctx, name, newFeed(false))
}

func (a *API) subscribe(ctx context.Context, name string, f *feed) (*rpc.Subscription, error) {
	notifier, ok := rpc.NotifierFromContext(ctx)
	if !ok {
		return nil, rpc.ErrNotificationsUnsupported
	}
	d, err := a.device(name)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, errClosed
	}
	if a.subscriptions >= maxSubscriptions {
		return nil, errTooManySubscriptions
	}
	if err := d.join(ctx, f); err != nil {
		return nil, err
	}
	a.subscriptions++
	subscription := notifier.CreateSubscription()
	a.work.Go(func() {
		a.feed(notifier, subscription, f)
		d.leaves(f)
		a.mu.Lock()
		a.subscriptions--
		a.mu.Unlock()
	})
	return subscription, nil
}

// feed tells a subscriber what waits, until they leave, or the device or the API ends.
func (a *API) feed(notifier *rpc.Notifier, subscription *rpc.Subscription, f *feed) {
	for {
		for told := f.next(); told != nil; told = f.next() {
			if err := notifier.Notify(subscription.ID, told); err != nil {
				a.logger.Debug("a subscriber to a device is gone", "err", err)
				return
			}
		}
		select {
		case <-f.wake:
		case <-f.ended:
			return
		case <-subscription.Err():
			return
		case <-a.life.Done():
			return
		}
	}
}

// join adds a subscription, and has the device listen if it is the first one to previews. The caller holds the API's mu.
func (d *device) join(ctx context.Context, f *feed) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.opened(ctx); err != nil {
		return err
	}
	d.feeds[f] = true
	if !f.previews {
		f.became(d.state)
		return nil
	}
	d.ears++
	if d.deaf == nil {
		listening, cancel := context.WithCancel(d.api.life)
		d.deaf = cancel
		d.api.work.Go(func() { d.listen(listening) })
	}
	return nil
}

// leaves ends a subscription, and the listening with the last one to previews.
func (d *device) leaves(f *feed) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.feeds, f)
	if !f.previews {
		return
	}
	if d.ears--; d.ears == 0 && d.deaf != nil {
		d.deaf()
		d.deaf = nil
	}
}

// listen stays connected, as long as the mailserver wakes the device. It ends with ctx.
func (d *device) listen(ctx context.Context) {
	for ctx.Err() == nil {
		c, unused, err := d.open(ctx)
		if err == nil {
			err = c.Listen(ctx, func(body []byte) error {
				event, err := c.Receive(ctx, body)
				if err != nil {
					d.api.logger.Debug("a ring of a local program's device brought nothing", "err", err)
				}
				d.gave(event.Hashes())
				if err == nil || len(event.Previews) > 0 {
					d.publish(eventOf(&event))
				}
				return ctx.Err()
			})
			unused()
		}
		if ctx.Err() != nil {
			d.rest() // else the mailserver goes on ringing over the link
			return
		}
		if errors.Is(err, client.ErrInactive) || client.IsRefused(err, pushwire.NotRegistered) {
			d.became(State{State: pushwire.None.String(), Reason: err.Error()})
		}
		select {
		case <-d.kick:
		case <-time.After(deafPause):
		case <-ctx.Done():
		}
	}
}

// publish tells every subscriber to previews.
func (d *device) publish(e Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for f := range d.feeds {
		if f.previews {
			f.offer(e)
		}
	}
}

// became notes how the registration is, and tells subscribers of a change.
func (d *device) became(s State) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s.Active {
		select {
		case d.kick <- struct{}{}:
		default:
		}
	}
	if s == d.state {
		return
	}
	d.state = s
	for f := range d.feeds {
		if !f.previews {
			f.became(s)
		}
	}
}

// gave remembers what callers have been given.
func (d *device) gave(hashes []common.Hash) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, h := range hashes {
		if slices.Contains(d.unshown, h) {
			continue
		}
		if len(d.unshown) >= maxUnshown {
			d.unshown = d.unshown[1:]
		}
		d.unshown = append(d.unshown, h)
	}
}

// shown forgets what callers say that they have.
func (d *device) shown(hashes []common.Hash) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.unshown = slices.DeleteFunc(d.unshown, func(h common.Hash) bool { return slices.Contains(hashes, h) })
}

// notShown is what callers were given and have not said that they have, but for these.
func (d *device) notShown(but []common.Hash) []common.Hash {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(d.unshown), func(h common.Hash) bool { return slices.Contains(but, h) })
}
