package node

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/stretchr/testify/require"

	"whisperpush/config"
	"whisperpush/pushext/client"
	"whisperpush/pushext/emulate"
	"whisperpush/pushext/pushwire"
	"whisperpush/testutil/loopback"
	"whisperpush/whisper"
)

// town is a mailserver with emulated push services, and devices with chats of their own.
type town struct {
	*Node
	t        *testing.T
	services map[string]*emulate.Instance
}

// inhabitant is a device and where its pushes come, in the order of its routes.
type inhabitant struct {
	*client.Device
	chat    client.Chat
	store   *client.MemoryStore
	pushes  []<-chan emulate.Push
	devices []emulate.Device
}

func newTown(t *testing.T, kinds ...string) *town {
	t.Helper()
	w := &town{t: t, services: make(map[string]*emulate.Instance)}
	dir, tables := t.TempDir(), ""
	for _, kind := range kinds {
		service, err := emulate.Start(kind, "")
		require.NoError(t, err)
		t.Cleanup(service.Close)
		w.services[kind] = service
		paths, err := emulate.WriteFiles(dir, service.Files)
		require.NoError(t, err)
		tables += service.Table(paths) + "\n"
	}
	file := filepath.Join(dir, "node.toml")
	require.NoError(t, os.WriteFile(file, []byte(tables), 0o600))
	cfg := loopback.Config(t)
	require.NoError(t, config.Load(file, &cfg))
	cfg.RPC.IPCDisable, cfg.Push.Enabled, cfg.Shh.MinimumAcceptedPOW = true, true, 0
	cfg.Push.Delivery.LadderDelay = config.Duration(time.Second)
	var err error
	w.Node, err = Start(cfg, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(w.Stop)
	return w
}

// settle registers a device with a route of each kind and answers the challenges.
func (w *town) settle(name string, kinds ...string) *inhabitant {
	w.t.Helper()
	d := &inhabitant{chat: client.Chat{Name: name, Topic: whisper.TopicFor(name), Key: make([]byte, 32)}, store: new(client.MemoryStore)}
	var routes []pushwire.Route
	for _, kind := range kinds {
		device, err := w.services[kind].NewDevice()
		require.NoError(w.t, err)
		d.devices = append(d.devices, device)
		d.pushes = append(d.pushes, w.services[kind].Pushes(device.Token))
		routes = append(routes, pushwire.Route{Provider: kind, Address: []byte(device.Address), Keys: device.Keys})
	}
	var err error
	d.Device, err = client.Open(w.t.Context(), client.Config{
		Server: w.link.Self().URLv4(), PushKey: compressedHex(w.PushKey()), Store: d.store, Chats: []client.Chat{d.chat},
	})
	require.NoError(w.t, err)
	w.t.Cleanup(func() { d.Close() })
	require.NoError(w.t, d.Register(w.t.Context(), client.Registration{Routes: routes}))
	for _, pushes := range d.pushes {
		event, err := d.Receive(w.t.Context(), (<-pushes).Body)
		require.NoError(w.t, err)
		require.Equal(w.t, pushwire.Challenge, event.Kind)
	}
	require.True(w.t, d.Active())
	d.Sleep()
	return d
}

// write sends a message to a device's chat.
func (w *town) write(d *inhabitant, text string) {
	w.t.Helper()
	e, err := whisper.Seal(w.t.Context(), whisper.Draft{Payload: []byte(text), Topic: d.chat.Topic, Key: d.chat.Key})
	require.NoError(w.t, err)
	require.NoError(w.t, w.whisper.Post(w.t.Context(), e))
}

// payload opens a push as the device would.
func (d *inhabitant) payload(t *testing.T, push emulate.Push) pushwire.Payload {
	t.Helper()
	text, err := d.store.Load(t.Context())
	require.NoError(t, err)
	var state struct {
		Accounts map[string]struct {
			SealKey hexutil.Bytes `json:"sealKey"`
		} `json:"accounts"`
	}
	require.NoError(t, json.Unmarshal(text, &state))
	require.Len(t, state.Accounts, 1)
	var p pushwire.Payload
	for _, account := range state.Accounts {
		p, err = pushwire.OpenPayload(push.Body, account.SealKey)
		require.NoError(t, err)
	}
	return p
}

// counted sums the samples of a counter with a label's value.
func (w *town) counted(name, label, value string) (sum float64) {
	families, err := w.registry.Gather()
	require.NoError(w.t, err)
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, metric := range family.GetMetric() {
			for _, pair := range metric.GetLabel() {
				if pair.GetName() == label && pair.GetValue() == value {
					sum += metric.GetCounter().GetValue()
				}
			}
		}
	}
	return sum
}

// The first route's service takes the wake-up and the device does not hear it: the next route is rung with the
// same number, and when the first push comes after all, the client shows nothing twice.
func TestLadderEndToEnd(t *testing.T) {
	t.Parallel()
	w := newTown(t, "fcm", "webpush")
	d := w.settle("ladder", "fcm", "webpush")
	w.write(d, "hello")
	unheard := <-d.pushes[0]
	heard := <-d.pushes[1]
	first, second := d.payload(t, unheard), d.payload(t, heard)
	require.Equal(t, first.Seq, second.Seq)
	require.Equal(t, first.Hashes, second.Hashes)
	require.Len(t, first.Hashes, 1)

	event, err := d.Receive(t.Context(), heard.Body)
	require.NoError(t, err)
	require.Len(t, event.Previews, 1)
	require.Equal(t, "hello", event.Previews[0].Text)
	require.False(t, event.Gap)
	require.NoError(t, d.Shown(t.Context(), event.Hashes()...))
	event, err = d.Receive(t.Context(), unheard.Body)
	require.NoError(t, err)
	require.Empty(t, event.Previews)
}

// What matches while a device has not fetched is named by the next wake-up too: one push repairs the one before.
func TestCoalescingEndToEnd(t *testing.T) {
	t.Parallel()
	w := newTown(t, "webhook")
	d := w.settle("coalesce", "webhook")
	w.write(d, "one")
	lost := <-d.pushes[0]
	require.Len(t, d.payload(t, lost).Hashes, 1)
	w.write(d, "two")
	push := <-d.pushes[0]
	require.Len(t, d.payload(t, push).Hashes, 2)
	event, err := d.Receive(t.Context(), push.Body)
	require.NoError(t, err)
	require.Len(t, event.Previews, 2)
	require.True(t, event.Gap, "the device knows that it missed one")
}

// On 2026-09-01 FCM called every token invalid for a while. Nobody must lose their registration by that.
func TestOutageDeletesNobody(t *testing.T) {
	t.Parallel()
	w := newTown(t, "fcm")
	var devices []*inhabitant
	for i := range 12 { // above the number that a small server may lose at once
		devices = append(devices, w.settle(fmt.Sprintf("outage %d", i), "fcm"))
	}
	w.services["fcm"].Script("", emulate.Answer{
		Times: -1, Code: "INVALID_ARGUMENT", Message: "The registration token is not a valid FCM registration token",
	})
	for _, d := range devices {
		w.write(d, "are you there?")
	}
	require.Eventually(t, func() bool {
		return w.counted("whisperpush_pushext_attempts_total", "class", "token_dead") >= float64(len(devices))
	}, time.Minute, 10*time.Millisecond, "every device was called dead")
	for _, d := range devices {
		status, err := d.Status(t.Context())
		require.NoError(t, err)
		require.Equal(t, pushwire.Active, status.State)
		d.Sleep()
	}
	require.Zero(t, w.counted("whisperpush_pushext_registrations_dead_total", "provider", "fcm"))
}

// A provider that hangs holds up nobody else's wake-ups.
func TestLanesAreApart(t *testing.T) {
	t.Parallel()
	w := newTown(t, "fcm", "webhook")
	var stuck []*inhabitant
	for i := range 3 {
		stuck = append(stuck, w.settle(fmt.Sprintf("stuck %d", i), "fcm"))
	}
	free := w.settle("free", "webhook")
	w.services["fcm"].Script("", emulate.Answer{Times: -1, Hang: true})
	accepted := w.services["fcm"].Accepted()
	for _, d := range stuck {
		w.write(d, "late")
	}
	w.write(free, "in time")
	event, err := free.Receive(t.Context(), (<-free.pushes[0]).Body)
	require.NoError(t, err)
	require.Len(t, event.Previews, 1)
	require.Equal(t, accepted, w.services["fcm"].Accepted(), "the others hang meanwhile")
}
