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
	"whisperpush/pushext/pushwire"
	"whisperpush/testutil/emulate"
	"whisperpush/testutil/faultproxy"
	"whisperpush/whisper"
)

var errUnanswered = errors.New("the challenge is not answered yet")

// device is a phone: the real client SDK, woken by an emulated push service.
type device struct {
	index   int
	network faultproxy.Profile
	chat    client.Chat
	route   pushwire.Route
	pushes  <-chan emulate.Push
	ledger  *ledger

	sdk     *client.Device
	store   *client.MemoryStore
	sealKey []byte // private, to see what a push names
}

func newDevice(index int, network faultproxy.Profile, service *emulate.Instance, l *ledger) (*device, error) {
	address, err := service.NewDevice()
	if err != nil {
		return nil, err
	}
	key := make([]byte, 32)
	rand.Read(key)
	return &device{
		index: index, network: network, ledger: l, store: new(client.MemoryStore),
		chat:   client.Chat{Name: "chat", Topic: whisper.TopicFor(fmt.Sprintf("slo chat %d", index)), Key: key},
		route:  pushwire.Route{Provider: service.Type, Address: []byte(address.Address), Keys: address.Keys},
		pushes: service.Pushes(address.Token),
	}, nil
}

// register registers and answers the challenge. server is the mailserver's enode
// URL by way of the device's network.
func (d *device) register(ctx context.Context, server, pushKey string) error {
	var err error
	d.sdk, err = client.Open(ctx, client.Config{Server: server, PushKey: pushKey, Store: d.store, Chats: []client.Chat{d.chat}})
	if err != nil {
		return err
	}
	for { // as an app does, until the network lets it
		err := d.sdk.Register(ctx, client.Registration{Routes: []pushwire.Route{d.route}})
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
		SealKey hexutil.Bytes `json:"sealKey"`
	}
	if err := json.Unmarshal(text, &state); err != nil {
		return err
	}
	d.sealKey = state.SealKey
	for !d.sdk.Active() {
		select {
		case push := <-d.pushes:
			for err := errUnanswered; err != nil; {
				if _, err = d.sdk.Receive(ctx, push.Body); ctx.Err() != nil {
					return err
				}
			}
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

// live sleeps and is woken until ctx ends.
func (d *device) live(ctx context.Context) {
	defer d.sdk.Close()
	linger := time.NewTimer(lingering)
	defer linger.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-linger.C:
			d.sdk.Sleep()
		case push := <-d.pushes:
			d.wake(ctx, push)
		}
		linger.Reset(lingering)
	}
}

// wake handles a push when it has come over the device's network.
func (d *device) wake(ctx context.Context, push emulate.Push) {
	payload, err := pushwire.OpenPayload(push.Body, d.sealKey)
	if err != nil || payload.Kind != pushwire.Messages {
		return // a challenge that was repeated
	}
	d.ledger.woke(push.At, len(push.Body), payload.Hashes)
	pause(ctx, time.Until(push.At.Add(d.network.Latency+time.Duration(len(push.Body))*time.Second/time.Duration(d.network.Down))))
	for attempt := 0; ctx.Err() == nil; attempt++ {
		event, err := d.sdk.Receive(ctx, push.Body)
		now := time.Now()
		for _, p := range event.Previews {
			d.ledger.showed(p.Hash, now, push.At)
		}
		if err == nil {
			return
		}
		d.ledger.stumbled()
		// An app's background job: the system runs it again when there is a network.
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
