package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"

	"whisperpush/pushext/client"
	"whisperpush/pushext/emulate"
	"whisperpush/pushext/pushwire"
	"whisperpush/testutil/faultproxy"
	"whisperpush/whisper"
)

var errUnanswered = errors.New("the challenge is not answered yet")

// device is a phone: the real client SDK, woken by an emulated push service or
// over its own link.
type device struct {
	phone
	index   int
	network faultproxy.Profile
	proxy   *faultproxy.Proxy // its network; not shared if it is direct
	chat    client.Chat
	route   pushwire.Route // of its push service
	pushes  <-chan emulate.Push
	rings   chan []byte // over its own link
	ledger  *ledger

	sdk     *client.Device
	store   *client.MemoryStore
	sealKey []byte // private, to see what a push names
}

func newDevice(index int, p phone, proxy *faultproxy.Proxy, service *emulate.Instance, l *ledger) (*device, error) {
	address, err := service.NewDevice()
	if err != nil {
		return nil, err
	}
	key := make([]byte, 32)
	rand.Read(key)
	return &device{
		phone: p, index: index, network: networks()[p.network], proxy: proxy, ledger: l, store: new(client.MemoryStore),
		chat:   client.Chat{Name: "chat", Topic: whisper.TopicFor(fmt.Sprintf("slo chat %d", index)), Key: key},
		route:  pushwire.Route{Provider: service.Type, Address: []byte(address.Address), Keys: address.Keys},
		pushes: service.Pushes(address.Token),
		rings:  make(chan []byte),
	}, nil
}

// register registers and answers the challenge. server is the mailserver's enode
// URL through the device's network.
func (d *device) register(ctx context.Context, server, pushKey string) error {
	var err error
	d.sdk, err = client.Open(ctx, client.Config{Server: server, PushKey: pushKey, Store: d.store, Chats: []client.Chat{d.chat}})
	if err != nil {
		return err
	}
	routes := []pushwire.Route{d.route}
	if d.direct {
		link, err := d.sdk.DirectRoute(direct)
		if err != nil {
			return err
		}
		routes = []pushwire.Route{link, d.route}
	}
	for { // as an app does, until the network lets the request through
		err := d.sdk.Register(ctx, client.Registration{Routes: routes})
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return err
		}
	}
	text, err := d.store.Load(ctx)
	if err != nil {
		return err
	}
	var state struct {
		Accounts map[string]struct {
			SealKey hexutil.Bytes `json:"sealKey"`
		} `json:"accounts"`
	}
	if err := json.Unmarshal(text, &state); err != nil {
		return err
	}
	for _, account := range state.Accounts {
		d.sealKey = account.SealKey
	}
	for confirmed := false; !confirmed; { // a direct device is already active
		select {
		case push := <-d.pushes:
			for err := errUnanswered; err != nil; {
				if _, err = d.sdk.Receive(ctx, push.Body); ctx.Err() != nil {
					return err
				}
			}
			confirmed = d.sdk.Active()
		case <-ctx.Done():
			return fmt.Errorf("no challenge came: %w", context.Cause(ctx))
		}
	}
	d.sdk.Sleep()
	return nil
}

// lingering is how long a woken device stays connected after its last fetch. A
// phone's radio stays on for about as long anyway, and people answer one another.
const lingering = 5 * time.Second

// live makes the device sleep, or stay connected, and be woken until ctx ends.
func (d *device) live(ctx context.Context, began time.Time) {
	defer d.sdk.Close()
	deaf := func() {} // ends listening
	if d.direct {
		deaf = d.listen(ctx)
	}
	defer func() { deaf() }()
	gone := !d.direct
	leave := time.NewTimer(time.Until(began.Add(d.leaves)))
	defer leave.Stop()
	if !d.direct || d.parting == stays {
		leave.Stop()
	}
	linger := time.NewTimer(lingering)
	defer linger.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-leave.C:
			gone = true
			linger.Reset(0)
			continue
		case <-linger.C:
			if !gone {
				continue
			}
			deaf()
			if d.direct && d.parting == freezes {
				d.proxy.BlackHole()
			} else {
				d.sdk.Sleep()
			}
			continue
		case push := <-d.pushes:
			if d.direct && d.parting == freezes && gone { // the system lets the app run
				d.proxy.Mend()
				deaf()
				deaf = d.listen(ctx)
			}
			over := d.network.Latency + time.Duration(len(push.Body))*time.Second/time.Duration(d.network.Down)
			d.wake(ctx, push.Body, push.At, over, d.service)
		case body := <-d.rings:
			d.wake(ctx, body, time.Now(), 0, direct)
		}
		linger.Reset(lingering)
	}
}

// listen stays connected to be rung, until stop is called.
func (d *device) listen(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = d.sdk.Listen(ctx, func(body []byte) error {
			select {
			case d.rings <- body:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	return func() {
		cancel()
		<-ended
	}
}

// wake handles a push that was accepted at a time, once it has passed the device's
// network. A ring already has: its bytes are those of the link.
func (d *device) wake(ctx context.Context, body []byte, at time.Time, over time.Duration, via string) {
	payload, err := pushwire.OpenPayload(body, d.sealKey)
	if err != nil || payload.Kind != pushwire.Messages {
		return // a repeated challenge
	}
	size := len(body)
	if via == direct {
		size = 0
	}
	d.ledger.woke(at, size, payload.Hashes, via)
	pause(ctx, time.Until(at.Add(over)))
	for ctx.Err() == nil {
		event, err := d.sdk.Receive(ctx, body)
		now := time.Now()
		for _, p := range event.Previews {
			d.ledger.showed(p.Hash, now, at, via)
		}
		if shownErr := d.sdk.Shown(ctx, event.Hashes()...); err == nil && shownErr == nil {
			return
		}
		d.ledger.stumbled(payload.Hashes)
		// An app's background job: the system runs it again once there is a
		// network.
		pause(ctx, time.Second)
	}
}

func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
