package inbox

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"syscall"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"

	"whisperpush/durable/faultstore"
	"whisperpush/mailserver/archive"
	"whisperpush/pushext/client"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// realServer is the mailserver itself: archive, mail, push server and door, and
// client.Devices that ask through the door. What is not real is the wire (pipes in memory),
// the disk of the push database (faultstore, which forgets what was not synced), and
// Firebase (platform).
type realServer struct {
	h        *history
	dir      string // of the archive
	platform *platform
	devices  []*realDevice

	mu      sync.Mutex // guards the following
	archive *archive.Archive
	disk    *faultstore.Disk
	node    *realNode // nil: the server is down
	stays   bool      // it stays down
	offered []*whisper.Envelope
	waiting []*whisper.Envelope // on the network, for when the server is up
	wrong   string              // what a push must not say
	over    bool
	wg      sync.WaitGroup
}

func newRealServer(h *history) side {
	dir, err := os.MkdirTemp(memory, "model")
	require.NoError(h.t, err)
	w := &realServer{h: h, dir: dir, disk: faultstore.NewDisk()}
	w.disk.Store("push")
	require.NoError(h.t, w.disk.SyncRoot())
	w.platform = &platform{w: w}
	w.start()
	return w
}

// memory is a directory without a disk, where there is one: else a history would wait for
// its disk most of the time.
var memory = func() string {
	if dir := "/dev/shm"; os.WriteFile(filepath.Join(dir, ".model"), nil, 0o600) == nil {
		return dir
	}
	return ""
}()

// start starts the server, unless it runs or has to stay down.
func (w *realServer) start() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.node != nil || w.stays || w.over {
		return
	}
	var err error
	if w.archive == nil {
		w.archive, err = archive.Open(filepath.Join(w.dir, "archive"), archive.Options{Retention: -1})
		require.NoError(w.h.t, err)
	}
	w.disk.SetFault(nil)
	w.disk.OnSync(nil)
	w.node, err = startNode(w)
	require.NoError(w.h.t, err)
	for _, e := range w.waiting {
		w.node.archived(context.Background(), e)
	}
	w.waiting = nil
}

// crash cuts the server's power, and has it come up a moment later. What is left of its
// disk is what it had synced, and by chance some of what it had not.
func (w *realServer) crash(chance int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.node == nil {
		return
	}
	node := w.node
	w.node = nil
	node.cut()
	left := w.disk.Crash(rand.New(rand.NewPCG(uint64(chance), 1)))
	w.disk.OnSync(nil)
	w.disk.SetFault(func(faultstore.Op) error { return syscall.EIO })
	w.disk = left
	w.wg.Go(func() {
		node.stop()
		time.Sleep(time.Duration(chance%1000) * time.Millisecond)
		w.start()
	})
}

func (w *realServer) down() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stays
}

func (w *realServer) trouble(a, b int) string {
	w.rest()
	w.mu.Lock()
	up := w.node != nil
	w.mu.Unlock()
	switch {
	case a < 3 && up:
		w.crash(b)
		return w.did("its power is cut")
	case a < 6 && up:
		n := 1 + b%12
		left := n
		w.disk.OnSync(func(int) {
			if left--; left == 0 {
				w.crash(b)
			}
		})
		return w.did("its power will be cut before sync %d", n)
	case a < 7 && up:
		w.mu.Lock()
		w.stays = true
		w.mu.Unlock()
		w.crash(b)
		return w.did("its power is cut, and stays away")
	case a < 8 && w.down():
		w.mu.Lock()
		w.stays = false
		w.mu.Unlock()
		w.wg.Wait()
		w.start()
		return w.did("it is up again")
	case a < 9:
		n, takes := 1+b%4, b%8 > 3
		w.platform.refuse(n, takes)
		return w.did("the push service fails the next %d, and takes them: %t", n, takes)
	case a < 10:
		w.platform.keep(b%2 == 0)
		return w.did("the push service keeps all: %t", b%2 == 0)
	case a < 11 && up:
		n := 1 + b%8
		left := n
		var mu sync.Mutex // guards left
		w.disk.SetFault(func(op faultstore.Op) error {
			mu.Lock()
			defer mu.Unlock()
			if (op.Kind == faultstore.Write || op.Kind == faultstore.Sync) && left > 0 {
				left--
				return syscall.ENOSPC
			}
			return nil
		})
		return w.did("its disk refuses the next %d writes", n)
	case up:
		w.mu.Lock()
		node := w.node
		w.node = nil
		w.mu.Unlock()
		node.stop()
		require.NoError(w.h.t, w.archive.Close())
		w.archive = nil
		w.start()
		return w.did("it is stopped and started")
	}
	return ""
}

// troubles are what may happen to the server and the push service.
var troubles = []string{
	"its power is cut", "its power will be cut before sync %d", "its power is cut, and stays away", "it is up again",
	"the push service fails the next %d, and takes them: %t", "the push service keeps all: %t", "its disk refuses the next %d writes",
	"it is stopped and started",
}

func (w *realServer) did(format string, args ...any) string {
	w.h.happened.Store(format, true)
	return fmt.Sprintf(format, args...)
}

func (w *realServer) rings() bool { return true }

func (w *realServer) owes() bool { return true }

func (w *realServer) rest() { synctest.Wait() }

func (w *realServer) saidWrong() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.wrong
}

func (w *realServer) calm() {
	w.rest()
	require.Empty(w.h.t, w.saidWrong())
	w.mu.Lock()
	w.stays = false
	w.mu.Unlock()
	w.wg.Wait()
	w.start()
	w.platform.refuse(0, false)
	w.disk.OnSync(nil)
	w.disk.SetFault(nil)
	time.Sleep(10 * time.Minute)
	w.rest()
}

func (w *realServer) close() {
	w.mu.Lock()
	w.over = true
	node := w.node
	w.mu.Unlock()
	for _, d := range w.devices {
		w.ended(d.p)
	}
	w.wg.Wait()
	if node != nil {
		node.stop()
	}
	w.archive.Close()
	os.RemoveAll(w.dir)
	time.Sleep(2 * time.Second) // goleveldb's pool lingers for one
}

func (w *realServer) post(e *whisper.Envelope) {
	w.mu.Lock()
	w.offered = append(w.offered, e)
	node := w.node
	if node == nil {
		w.waiting = append(w.waiting, e)
	}
	w.mu.Unlock()
	if node != nil {
		require.NoError(w.h.t, node.archived(context.Background(), e))
	}
	w.rest()
}

func (w *realServer) envelopes() []*whisper.Envelope {
	var hashes []common.Hash
	for _, e := range w.offered {
		if !slices.Contains(hashes, e.Hash()) {
			hashes = append(hashes, e.Hash())
		}
	}
	found, _, err := w.archive.ByHash(context.Background(), hashes)
	require.NoError(w.h.t, err)
	var envelopes []*whisper.Envelope
	for _, r := range found {
		envelopes = append(envelopes, r.Envelope)
	}
	return envelopes
}

// realDevice is a phone's client.Device, and what there is of it between processes.
type realDevice struct {
	w     *realServer
	p     *phone
	token string
	said  map[uint64][]common.Hash // what the push of each number names

	now       *client.Device // nil: no process
	transport *http.Transport

	mu   sync.Mutex // guards text, which a push looks into while the process saves it
	text []byte     // of its store
}

func (d *realDevice) stored() []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.text
}

func (d *realDevice) store(text []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.text = text
}

func (w *realServer) join(p *phone) {
	d := &realDevice{w: w, p: p, token: fmt.Sprintf("token-%d:%0130d", p.id, p.id), said: make(map[uint64][]common.Hash)}
	w.devices = append(w.devices, d)
	device, err := w.device(p)
	require.NoError(w.h.t, err)
	ctx := context.Background()
	require.NoError(w.h.t, device.(*realProcess).Register(ctx, client.Registration{
		Routes: []pushwire.Route{{Provider: "fcm", Address: []byte(d.token)}}, Group: w.h.cast.group,
	}))
	for !device.(*realProcess).Active() {
		push, ok := w.h.takePush(0, false)
		if !ok {
			time.Sleep(time.Second)
			continue
		}
		_, err := device.Receive(ctx, push.body)
		require.NoError(w.h.t, err)
	}
	w.ended(p)
}

func (w *realServer) device(p *phone) (Device, error) {
	d := w.devices[p.id]
	d.transport = &http.Transport{DialContext: w.dial}
	var err error
	d.now, err = client.Open(context.Background(), client.Config{
		Server: "http://127.0.0.1", PushKey: hex.EncodeToString(crypto.CompressPubkey(&w.h.cast.push.PublicKey)),
		Store: d, Chats: p.chats, Complete: true, HTTP: phoneTransport{d},
	})
	if err != nil {
		return nil, err
	}
	spare(d.now)
	return &realProcess{d.now, d}, nil
}

// spare spares a device the proof of work of its requests, which the server of a history does
// not ask for: with it, a history takes five times as long. No app has a way to do so.
func spare(d *client.Device) {
	pow := reflect.ValueOf(d).Elem().FieldByName("known").FieldByName("pow")
	*(*float64)(pow.Addr().UnsafePointer()) = 0
}

func (w *realServer) ended(p *phone) {
	d := w.devices[p.id]
	if d.now != nil {
		d.now.Close()
		d.transport.CloseIdleConnections()
		d.now = nil
	}
}

func (w *realServer) backUp(p *phone) any { return w.devices[p.id].stored() }

func (w *realServer) putBack(p *phone, kept any) { w.devices[p.id].store(kept.([]byte)) }

// Load implements client.Store.
func (d *realDevice) Load(context.Context) ([]byte, error) { return d.stored(), nil }

// Save implements client.Store. The process may end before it or behind it.
func (d *realDevice) Save(_ context.Context, text []byte) error {
	if err := d.p.step(); err != nil {
		return err
	}
	d.store(slices.Clone(text))
	return d.p.step()
}

// pushed is a push to the phone.
func (d *realDevice) pushed(body []byte, name string) push {
	var store struct {
		Accounts map[string]struct {
			SealKey hexutil.Bytes `json:"sealKey"`
		} `json:"accounts"`
	}
	p := push{to: d.p.id, body: body, what: "unreadable", name: name}
	if err := json.Unmarshal(d.stored(), &store); err != nil {
		p.what = err.Error()
	}
	for _, account := range store.Accounts {
		if payload, err := pushwire.OpenPayload(body, account.SealKey); err == nil {
			if payload.Kind == pushwire.Messages {
				before, again := d.said[payload.Seq]
				fresh := slices.ContainsFunc(payload.Hashes, func(hash common.Hash) bool { return !slices.Contains(before, hash) })
				if again && fresh && !payload.More { // one that is repeated may name less, what was fetched meanwhile
					d.w.mu.Lock()
					d.w.wrong = fmt.Sprintf("phone %d: number %d is of two pushes, and the second one names more", d.p.id, payload.Seq)
					d.w.mu.Unlock()
				}
				d.said[payload.Seq] = payload.Hashes
			}
			p.what, p.hashes = fmt.Sprintf("%v %d, of %d", payload.Kind, payload.Seq, len(payload.Hashes)), len(payload.Hashes)
		}
	}
	return p
}

// realProcess is a client.Device of a process that ends when the phone says so.
type realProcess struct {
	*client.Device
	d *realDevice
}

// SetChats implements Device. What the server was told the app gives at its next start.
func (r *realProcess) SetChats(ctx context.Context, chats []client.Chat) error {
	err := r.Device.SetChats(ctx, chats)
	if err == nil && !r.d.p.dead {
		r.d.p.chats = chats
	}
	return err
}
