package main

import (
	"context"
	"encoding/json"
	"fmt"

	"whisperpush/pushext/client"
	"whisperpush/testutil/faultproxy"
	"whisperpush/whisper"
)

const (
	// sampled devices fetch everything, one after the other. They are enough for
	// the mean to be that of all devices, whose messages come in bursts.
	sampled = 200
	// namedPush is the body of the smallest push that names one envelope:
	// {"hash":"0x…"} with 64 digits.
	namedPush = 77
)

// Baseline is what the devices would have spent with one push per message, each
// answered by a fetch of the device's full range.
type Baseline struct {
	Devices         int
	BytesPerMessage float64
}

// baseline measures full-range fetches of devices with as many messages as the
// run brought them, and of one without any. The i-th message of a device makes it
// fetch i messages; the size of a fetch is linear in their number.
func (r *run) baseline(ctx context.Context) (Baseline, error) {
	proxy, err := faultproxy.Listen(r.node.addr(), faultproxy.Profile{Name: "none"}, r.Seed)
	if err != nil {
		return Baseline{}, err
	}
	defer proxy.Close()
	nobody := client.Chat{Name: "nobody", Topic: whisper.TopicFor("slo nobody writes here"), Key: make([]byte, 32)}
	empty, count, err := r.fullRange(ctx, proxy, r.devices[0], nobody)
	if err != nil {
		return Baseline{}, err
	}
	if count != 0 {
		return Baseline{}, fmt.Errorf("%d messages for nobody", count)
	}
	var bytes float64
	var messages, devices int
	for _, d := range r.devices {
		if devices == sampled {
			break
		}
		full, count, err := r.fullRange(ctx, proxy, d, d.chat)
		if err != nil {
			return Baseline{}, err
		}
		if count == 0 {
			continue
		}
		devices++
		messages += count
		n := float64(count)
		bytes += n*float64(namedPush+empty) + float64(full-empty)*(n+1)/2 // Σ i/n of what the last one costs more than an empty one
	}
	if messages == 0 {
		return Baseline{}, fmt.Errorf("none of %d devices had a message", len(r.devices))
	}
	return Baseline{Devices: devices, BytesPerMessage: bytes / float64(messages)}, nil
}

// fullRange makes a device that forgot everything it was shown fetch everything
// since it registered, and returns the bytes of that and how many messages
// arrived.
func (r *run) fullRange(ctx context.Context, proxy *faultproxy.Proxy, d *device, chat client.Chat) (bytes int64, messages int, err error) {
	text, err := d.store.Load(ctx)
	if err != nil {
		return 0, 0, err
	}
	var state struct {
		Format   int                                   `json:"format"`
		Accounts map[string]map[string]json.RawMessage `json:"accounts"`
	}
	if err := json.Unmarshal(text, &state); err != nil {
		return 0, 0, err
	}
	for _, account := range state.Accounts {
		for _, key := range []string{"cursor", "known", "waiting", "behind"} {
			delete(account, key)
		}
		account["active"] = json.RawMessage("false") // it gives no receipts then
	}
	text, err = json.Marshal(state)
	if err != nil {
		return 0, 0, err
	}
	forgetful := new(client.MemoryStore)
	if err := forgetful.Save(ctx, text); err != nil {
		return 0, 0, err
	}
	sdk, err := client.Open(ctx, client.Config{Server: r.through(proxy), PushKey: r.node.pushKey, Store: forgetful, Chats: []client.Chat{chat}})
	if err != nil {
		return 0, 0, err
	}
	up, down := proxy.Bytes()
	event, err := sdk.History(ctx)
	sdk.Close()
	if err != nil {
		return 0, 0, err
	}
	upNow, downNow := proxy.Bytes()
	return upNow + downNow - up - down, len(event.Previews), nil
}
