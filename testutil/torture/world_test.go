//go:build linux

package torture

import (
	"context"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/log"
	"github.com/ethereum/go-ethereum/p2p"
	"github.com/stretchr/testify/require"

	"whisperpush/mailserver/mailclient"
	"whisperpush/mailserver/mailwire"
	"whisperpush/pushext/client"
	"whisperpush/pushext/emulate"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
	"whisperpush/whisper/devp2p"
)

// patience is how long anything may take that only waits for a node on the loopback.
const patience = 60 * time.Second

// world is everything outside the tortured node: the writers, the mail clients,
// the devices, and the oracle. It never dies.
type world struct {
	t    testing.TB
	rng  *rand.Rand // the driving goroutine's
	fcm  *emulate.FCM
	site *site

	node *whisper.Node // writes envelopes and asks for mail
	mail *mailclient.Client

	// Of one life of the tortured node.
	process *process
	link    *p2p.Server

	log *os.File // append-only: what was acknowledged

	mu      sync.Mutex // guards the following fields; its holder never calls fcm
	devices []*device
	tokens  map[string]*device
	posted  map[common.Hash]*posted
	acked   []common.Hash // in the order of the archive
	isAcked map[common.Hash]int
	cursor  mailwire.Cursor
	crashes int
}

// posted is an envelope that was given to the network.
type posted struct {
	listeners []*device // whose registration for its topic had been acknowledged before
}

// device is a registered device and what the push service did for it.
type device struct {
	*client.Device
	name  string
	token string
	codes chan []byte // bodies of challenges

	// Guarded by world.mu.
	topics    map[whisper.Topic]bool // acknowledged
	active    bool                   // confirmed, acknowledged
	collapse  string
	collapsed []time.Time          // when a wake-up with the collapse id was accepted
	covered   map[common.Hash]bool // named by an accepted wake-up
	bare      map[common.Hash]bool // the newest of an accepted wake-up without a collapse id
	fetched   map[common.Hash]bool // fetch acknowledged
	unfetched int                  // wake-ups since the last fetch
	wakeups   int
	repeated  map[int]int // wake-ups with nothing new in them, by the number of crashes before
	merged    int         // of those, such as the push service can merge with the first
	history   []string    // every wake-up, for people
	wrong     []string    // what no wake-up may do
}

// secret opens every message of a test.
var secret = crypto.Keccak256([]byte("torture"))

func newWorld(t testing.TB, extra ...string) *world {
	w := &world{
		t: t, rng: newRand(t), tokens: make(map[string]*device),
		posted: make(map[common.Hash]*posted), isAcked: make(map[common.Hash]int),
	}
	var err error
	w.fcm, err = emulate.StartFCM(emulate.FCMConfig{})
	require.NoError(t, err)
	t.Cleanup(w.fcm.Close)
	w.fcm.Watch(w.pushed)
	w.site = newSite(t, w.fcm, extra...)
	w.log, err = os.Create(filepath.Join(filepath.Dir(w.site.dir), "acknowledged.log"))
	require.NoError(t, err)
	t.Cleanup(func() { w.log.Close() })
	w.mail = mailclient.New(mailclient.Config{Timeout: 5 * time.Second, Retries: 1})
	w.node, err = whisper.NewNode(whisper.Config{Direct: w.mail})
	require.NoError(t, err)
	w.mail.Attach(w.node)
	require.NoError(t, w.node.Start())
	t.Cleanup(w.node.Stop)
	return w
}

// rise starts the node and connects the writer.
func (w *world) rise() {
	w.t.Helper()
	w.process = w.site.start()
	key, err := crypto.GenerateKey()
	require.NoError(w.t, err)
	// A server of its own for each life: devp2p does not dial again so soon.
	w.link = &p2p.Server{Config: p2p.Config{
		PrivateKey: key, MaxPeers: 4, NoDiscovery: true, Name: "torture",
		Protocols: []p2p.Protocol{devp2p.Protocol(w.node)}, Logger: log.NewLogger(log.DiscardHandler()),
	}}
	require.NoError(w.t, w.link.Start())
	w.node.Trust(w.process.server.ID())
	w.link.AddPeer(w.process.server)
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	require.NoError(w.t, w.node.WaitPeer(ctx, w.process.server.ID()), w.process.stderr)
}

// fall kills the node.
func (w *world) fall() {
	if !w.process.alive() {
		require.FailNow(w.t, "the node ended by itself", "%v\n%s", w.process.err, w.process.stderr)
	}
	w.kill(w.process)
	w.link.Stop()
}

// kill ends one life. What it gave to the push service is dealt with before the
// next begins, so that every wake-up is known to be of the one or the other.
func (w *world) kill(p *process) {
	w.t.Helper()
	p.kill()
	for deadline := time.Now().Add(patience); w.fcm.Connections() > 0; time.Sleep(time.Millisecond) {
		require.True(w.t, time.Now().Before(deadline), "connections of a dead process stay")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.crashes++
}

// server is the node as one to ask for mail.
func (w *world) server() mailclient.Server {
	return mailclient.Server{ID: w.process.server.ID(), PublicKey: w.process.server.Pubkey()}
}

// acknowledge appends to the oracle's log.
func (w *world) acknowledge(format string, args ...any) {
	if _, err := fmt.Fprintf(w.log, format+"\n", args...); err != nil {
		panic(err)
	}
}

// audit asks for what was archived since the last time and takes it for acknowledged.
func (w *world) audit(ctx context.Context) error {
	w.mu.Lock()
	cursor := w.cursor
	w.mu.Unlock()
	cursor, err := w.mail.Collect(ctx, w.server(), mailclient.Since(cursor), func(envs []*whisper.Envelope) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, e := range envs {
			h := e.Hash()
			w.isAcked[h]++
			if w.isAcked[h] == 1 {
				w.acked = append(w.acked, h)
				w.acknowledge("archived %x", h)
			}
		}
		return nil
	})
	w.mu.Lock()
	w.cursor = cursor
	w.mu.Unlock()
	return err
}

// auditAll reads the whole archive from its beginning and demands that what was
// acknowledged is there, in the order in which it was, each once.
func (w *world) auditAll() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 5*patience)
	defer cancel()
	require.NoError(w.t, w.audit(ctx))
	var all []common.Hash
	_, err := w.mail.Collect(ctx, w.server(), mailclient.Since(mailwire.Cursor{}), func(envs []*whisper.Envelope) error {
		for _, e := range envs {
			all = append(all, e.Hash())
		}
		return nil
	})
	require.NoError(w.t, err)
	w.mu.Lock()
	defer w.mu.Unlock()
	require.GreaterOrEqual(w.t, len(all), len(w.acked), "acknowledged envelopes are lost")
	require.Equal(w.t, w.acked, all[:len(w.acked)], "the log changed")
	seen := make(map[common.Hash]bool)
	for _, h := range all {
		require.False(w.t, seen[h], "an envelope is archived twice")
		seen[h] = true
	}
}

// enrol registers a new device for a topic of its own. It counts only with the
// server's last word.
func (w *world) enrol(ctx context.Context, name string) error {
	topic := whisper.TopicFor(name)
	c, err := client.Open(ctx, client.Config{
		Server: w.process.server.URLv4(), PushKey: w.process.pushKey,
		Chats: []client.Chat{{Name: name, Topic: topic, Key: secret}},
	})
	if err != nil {
		return err
	}
	d := &device{
		Device: c, name: name, token: w.fcm.NewToken(), codes: make(chan []byte, 16), topics: map[whisper.Topic]bool{topic: true},
		covered: make(map[common.Hash]bool), bare: make(map[common.Hash]bool), fetched: make(map[common.Hash]bool), repeated: make(map[int]int),
	}
	w.t.Cleanup(func() { c.Close() })
	w.mu.Lock()
	w.tokens[d.token] = d
	w.mu.Unlock()
	route := pushwire.Route{Provider: "fcm", Address: []byte(d.token)}
	if err := c.Register(ctx, client.Registration{Routes: []pushwire.Route{route}, Plain: true}); err != nil {
		return err
	}
	select {
	case body := <-d.codes:
		if _, err := c.Receive(ctx, body); err != nil {
			return err
		}
	case <-ctx.Done():
		return ctx.Err()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	d.active = true
	w.devices = append(w.devices, d)
	w.acknowledge("registered %s", name)
	return nil
}

// pushed records what the push service accepts.
func (w *world) pushed(push emulate.Push) {
	payload, err := pushwire.OpenPayload(push.Body, nil)
	w.mu.Lock()
	defer w.mu.Unlock()
	d := w.tokens[push.Token]
	switch {
	case err != nil:
		d.wrong = append(d.wrong, "unreadable wake-up: "+err.Error())
	case payload.Kind == pushwire.Challenge:
		d.codes <- push.Body
	case payload.Kind == pushwire.Messages:
		if len(payload.Hashes) == 0 {
			d.wrong = append(d.wrong, "wake-up without a hash")
			return
		}
		newest := payload.Hashes[0]
		repeated := d.covered[newest] // so nothing in it is new
		d.judgeCollapse(push, repeated)
		d.history = append(d.history, fmt.Sprintf("after crash %d, %s: number %d, %d hashes, newest %x, new %t",
			w.crashes, push.At.Format("15:04:05.000"), payload.Seq, len(payload.Hashes), newest[:4], !repeated))
		if repeated {
			d.repeated[w.crashes]++
			if !d.bare[newest] {
				d.merged++
			}
		}
		d.bare[newest] = push.CollapseID == ""
		d.wakeups++
		d.unfetched++
		for _, h := range payload.Hashes {
			d.covered[h] = true
			if w.posted[h] == nil {
				d.wrong = append(d.wrong, "wake-up for what nobody wrote")
			}
		}
	}
}

// How many wake-ups with a collapse id a device may be sent at once: of FCM's 20,
// before it delays them, some are left for challenges and dismissals.
const (
	collapsible      = 16
	collapsibleAfter = collapsible * 3 * time.Minute // and they are all allowed again
)

// judgeCollapse holds a wake-up against the rules: one collapse id a device; a
// repetition has it; and a first one too, unless the push service was given all
// that it takes of them.
func (d *device) judgeCollapse(push emulate.Push, repeated bool) {
	d.collapsed = slices.DeleteFunc(d.collapsed, func(at time.Time) bool { return push.At.Sub(at) > collapsibleAfter+time.Minute })
	if push.CollapseID == "" {
		if repeated {
			d.wrong = append(d.wrong, "repetition without the collapse id")
		} else if len(d.collapsed) < collapsible {
			d.wrong = append(d.wrong, fmt.Sprintf("wake-up without the collapse id, after %d with it", len(d.collapsed)))
		}
		return
	}
	d.collapsed = append(d.collapsed, push.At)
	if d.collapse == "" {
		d.collapse = push.CollapseID
	}
	if push.CollapseID != d.collapse {
		d.wrong = append(d.wrong, "wake-up with another collapse id")
	}
}

// change makes a device listen to one more topic.
func (w *world) change(ctx context.Context, d *device, name string) error {
	w.mu.Lock()
	topics := make(map[whisper.Topic]bool)
	for t := range d.topics {
		topics[t] = true
	}
	w.mu.Unlock()
	topics[whisper.TopicFor(name)] = true
	var chats []client.Chat
	for t := range topics {
		chats = append(chats, client.Chat{Name: name, Topic: t, Key: secret})
	}
	if err := d.SetChats(ctx, chats); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	d.topics = topics
	w.acknowledge("changed %s %s", d.name, name)
	return nil
}

// fetch gets everything that a device was woken for.
func (w *world) fetch(ctx context.Context, d *device) error {
	w.mu.Lock()
	var hashes []common.Hash
	for h := range d.covered {
		if !d.fetched[h] {
			hashes = append(hashes, h)
		}
	}
	w.mu.Unlock()
	if len(hashes) == 0 {
		return nil
	}
	event, err := d.Fetch(ctx, hashes)
	if err == nil {
		err = d.Shown(ctx, event.Hashes()...)
	}
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(event.Missing) > 0 {
		d.wrong = append(d.wrong, fmt.Sprintf("woken for %d envelopes that are not archived", len(event.Missing)))
	}
	for _, h := range hashes {
		d.fetched[h] = true
		w.acknowledge("fetched %s %x", d.name, h)
	}
	d.unfetched = 0
	return nil
}

// write gives an envelope on a topic to the network.
func (w *world) write(ctx context.Context, topic whisper.Topic, text string) error {
	e, err := whisper.Seal(ctx, whisper.Draft{Payload: []byte(text), Topic: topic, Key: secret, TTL: 120})
	if err != nil {
		return err
	}
	w.mu.Lock()
	p := new(posted)
	for _, d := range w.devices {
		if d.active && d.topics[topic] {
			p.listeners = append(p.listeners, d)
		}
	}
	w.posted[e.Hash()] = p
	w.mu.Unlock()
	return w.node.Post(ctx, e)
}

// silent lists the devices that were not woken for something that was archived.
func (w *world) silent() (missed []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, h := range w.acked {
		p := w.posted[h]
		if p == nil {
			continue
		}
		for _, d := range p.listeners {
			if !d.covered[h] && !d.fetched[h] {
				missed = append(missed, fmt.Sprintf("%s for %s", d.name, hex.EncodeToString(h[:4])))
			}
		}
	}
	return missed
}

// settle waits until everybody was woken for everything that was acknowledged.
func (w *world) settle() {
	w.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		missed := w.silent()
		if len(missed) == 0 {
			return
		}
		if time.Now().After(deadline) {
			require.FailNow(w.t, "archived, and nobody was woken", "%d matches, such as %v\n%s", len(missed), missed[:min(len(missed), 8)], w.process.autopsy())
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-w.process.exited:
			require.FailNow(w.t, "the node ended by itself", "%v\n%s", w.process.err, w.process.stderr)
		}
	}
}

// judge holds every wake-up against the rules: of the collapse id, and at most
// one repetition a device and crash.
func (w *world) judge() (wakeups, repeated, merged int) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, d := range w.devices {
		require.Empty(w.t, d.wrong, d.name)
		for crash, n := range d.repeated {
			require.Positive(w.t, crash, "%s: repeated without a crash", d.name)
			require.LessOrEqual(w.t, n, 1, "%s: repeated more than once after crash %d:\n%s", d.name, crash,
				strings.Join(d.history[max(0, len(d.history)-15):], "\n"))
			repeated += n
		}
		wakeups += d.wakeups
		merged += d.merged
	}
	return wakeups, repeated, merged
}

// some picks up to n devices, those that must fetch first.
func (w *world) some(n int) []*device {
	w.mu.Lock()
	defer w.mu.Unlock()
	order := slices.Clone(w.devices)
	w.rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	slices.SortStableFunc(order, func(a, b *device) int { return b.unfetched - a.unfetched })
	return order[:min(n, len(order))]
}
