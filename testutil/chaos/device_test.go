//go:build linux

package chaos

import (
	"context"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/pushext/client"
	"whisperpush/pushext/emulate"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// A device waits between two attempts, twice as long each time, as an app does; between half of it and all of it, so that
// those that failed together do not come back together.
const (
	firstPause   = 200 * time.Millisecond
	longestPause = 5 * time.Second
)

// challenged is how long a device waits for its challenge.
const challenged = 15 * time.Second

// One device in so many keeps a link, for up to stays and a second to one node.
const (
	links = 8
	stays = 10 * time.Second
)

// renewals is after how many wake-ups a device renews its registration, on average.
const renewals = 16

// attemptTimeout is how long a device waits for one node before it asks another one.
const attemptTimeout = 4 * time.Second

// device is a phone that asks a different node each time.
type device struct {
	w      *world
	token  string
	chat   client.Chat
	linked bool // it keeps a link to one of the nodes most of the time
	state  client.MemoryStore
	rng    *rand.Rand // its own goroutine's

	// Its own goroutine's: what a node said last that its registration's version is.
	version  uint64
	answered time.Time // when a node answered last, or it began to ask after that

	mu       sync.Mutex                // guards the following fields
	covered  map[common.Hash]time.Time // when a wake-up that names it was accepted first
	repeated map[int]int               // wake-ups with nothing new, by how much was broken before
	shown    map[common.Hash]bool
}

// patience is how long a device may find no node that answers, while the database is there.
const patience = 30 * time.Second

// unanswered gives up if nobody has answered the device for too long.
func (d *device) unanswered(last error) {
	now := time.Now()
	if d.w.away.served(d.answered, now) > patience {
		d.w.giveUp("no node has answered a device for %v, although the database was there for more than %v of that: %v",
			now.Sub(d.answered).Round(time.Second), patience, last)
	}
}

// ask does something with a device at one node after the other, until it succeeds.
func (d *device) ask(ctx context.Context, do func(context.Context, *client.Device) error) error {
	var last error
	d.answered = time.Now()
	for wait := firstPause; ctx.Err() == nil; wait = min(2*wait, longestPause) {
		last = func() error {
			ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
			defer cancel()
			n := d.w.nodes[d.rng.IntN(len(d.w.nodes))]
			c, err := client.Open(ctx, d.config(n))
			if err != nil {
				return err
			}
			defer c.Close()
			return do(ctx, c)
		}()
		if last == nil {
			return nil
		}
		d.unanswered(last)
		pause(ctx, wait/2+time.Duration(d.rng.Int64N(int64(wait/2))))
	}
	return fmt.Errorf("nobody answered: %w", last)
}

func (d *device) config(n *node) client.Config {
	return client.Config{Server: n.enode.URLv4(), PushKey: d.w.pushKey, Store: &d.state, Chats: []client.Chat{d.chat}}
}

// register registers the device, again if it has before.
func (d *device) register(ctx context.Context) error {
	return d.ask(ctx, func(ctx context.Context, c *client.Device) error {
		registration := client.Registration{Routes: []pushwire.Route{{Provider: "fcm", Address: []byte(d.token)}}, Plain: true}
		if d.linked {
			direct, err := c.DirectRoute("direct")
			if err != nil {
				return err
			}
			registration.Routes = append([]pushwire.Route{direct}, registration.Routes...)
		}
		return c.Register(ctx, registration)
	})
}

// renew registers the device once more, and looks at its registration by any node: whatever a node has acknowledged or
// shown before, another one has not a version of before. Only the device changes it, one change after the other, so this
// is all that there is to see of an order.
func (d *device) renew(ctx context.Context) error {
	if err := d.register(ctx); err != nil {
		return err
	}
	before, first := d.version, true
	for range 2 {
		err := d.ask(ctx, func(ctx context.Context, c *client.Device) error {
			status, err := c.Status(ctx)
			if err != nil {
				return err
			}
			if status.Version < d.version || first && status.Version <= before {
				d.w.broke("a registration of version %d had version %d after it was renewed", status.Version, d.version)
			}
			d.version, first = status.Version, false
			return nil
		})
		if err != nil {
			return err
		}
	}
	d.w.renewed.Add(1)
	return nil
}

// enrol registers the device and answers its challenge. A challenge that was on its way when its shard went to another node
// is lost: then the device registers again, as apps do.
func (d *device) enrol(ctx context.Context) error {
	for {
		if err := d.register(ctx); err != nil {
			return err
		}
		select {
		case push := <-d.w.fcm.Pushes(d.token):
			return d.ask(ctx, func(ctx context.Context, c *client.Device) error {
				_, err := c.Receive(ctx, push.Body)
				return err
			})
		case <-time.After(challenged):
		case <-ctx.Done():
			return fmt.Errorf("no challenge: %w", ctx.Err())
		}
	}
}

// live fetches what the device is woken for, until ctx ends.
func (d *device) live(ctx context.Context) {
	if d.linked {
		d.answered = time.Now()
		for ctx.Err() == nil {
			d.stay(ctx)
		}
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case push := <-d.w.fcm.Pushes(d.token):
			d.ask(ctx, func(ctx context.Context, c *client.Device) error {
				event, err := c.Receive(ctx, push.Body)
				d.mu.Lock()
				for _, p := range event.Previews {
					d.shown[p.Hash] = true
				}
				d.mu.Unlock()
				if err != nil {
					return err
				}
				return c.Shown(ctx, event.Hashes()...)
			})
			if d.rng.IntN(renewals) == 0 {
				d.renew(ctx)
			}
		}
	}
}

// stay keeps a link to one node for a while, over which it is rung, and takes what comes by the push service meanwhile.
func (d *device) stay(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second+time.Duration(d.rng.Int64N(int64(stays))))
	defer cancel()
	c, err := client.Open(ctx, d.config(d.w.nodes[d.rng.IntN(len(d.w.nodes))]))
	if err != nil {
		d.unanswered(err)
		pause(ctx, firstPause)
		return
	}
	d.answered = time.Now()
	defer c.Close()
	var one sync.Mutex // of what rings
	ring := func(body []byte) error {
		one.Lock()
		defer one.Unlock()
		event, err := c.Receive(ctx, body)
		d.mu.Lock()
		for _, p := range event.Previews {
			if _, before := d.covered[p.Hash]; !before {
				d.covered[p.Hash] = time.Now() // it came over the link, and was fetched
			}
			d.shown[p.Hash] = true
		}
		d.mu.Unlock()
		if err == nil {
			c.Shown(ctx, event.Hashes()...)
		}
		return nil // what failed is named by the next one
	}
	var pushed sync.WaitGroup
	pushed.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case push := <-d.w.fcm.Pushes(d.token):
				ring(push.Body)
			}
		}
	})
	c.Listen(ctx, ring)
	pause(ctx, firstPause) // where it was refused
	cancel()
	pushed.Wait()
}

// woken records what the push service accepted.
func (d *device) woken(push emulate.Push, broken int) {
	payload, err := pushwire.OpenPayload(push.Body, nil)
	if err != nil || payload.Kind != pushwire.Messages {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	fresh := false
	for _, h := range payload.Hashes {
		if _, before := d.covered[h]; !before {
			d.covered[h] = push.At
			fresh = true
		}
	}
	if !fresh && !d.linked { // a link may be lost with what was rung over it, and the push service is next
		d.repeated[broken]++
	}
}

// write posts a message for the device.
func (d *device) write(ctx context.Context, number int) (common.Hash, error) {
	e, err := whisper.Seal(ctx, whisper.Draft{
		Payload: fmt.Appendf(nil, "message %d", number), Topic: d.chat.Topic, Key: d.chat.Key, TTL: 300, PoW: 0.0001,
	})
	if err != nil {
		return common.Hash{}, err
	}
	return e.Hash(), d.w.writer.Post(ctx, e)
}

func short(h common.Hash) string { return hex.EncodeToString(h[:4]) }
