//go:build unix

package node

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"

	"whisperpush/config"
	"whisperpush/desk"
	"whisperpush/pushext/client"
	"whisperpush/pushext/emulate"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// newClusterOf starts so many nodes with push on one database, with one emulated FCM, that are
// connected to no other.
func newClusterOf(t *testing.T, n int, providers ...config.Provider) []*world {
	t.Helper()
	return newClusterWith(t, n, func(cfg *config.Config) { cfg.Push.Provider = append(cfg.Push.Provider, providers...) })
}

// newClusterWith is newClusterOf of nodes with settings that set changes.
func newClusterWith(t *testing.T, n int, set func(*config.Config)) []*world {
	t.Helper()
	_, store, passwordFile, _ := onDatabase(t)
	var nodes []*world
	for i := range n {
		w := newWorld(t)
		set(&w.cfg)
		if i > 0 {
			w.fcm, w.cfg.Push.Provider = nodes[0].fcm, nodes[0].cfg.Push.Provider
			for _, name := range []string{"pushkey", "push.disk.key"} {
				key, err := os.ReadFile(filepath.Join(nodes[0].cfg.Node.DataDir, name))
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(filepath.Join(w.cfg.Node.DataDir, name), key, 0o600))
			}
		}
		w.cfg.Node.Store, w.cfg.Node.StorePasswordFile = store, passwordFile
		w.cfg.Door.Enabled = true
		w.restart(t, true)
		nodes = append(nodes, w)
	}
	requireShared(t, nodes...)
	return nodes
}

// owned are the shards whose cores run at a node.
func owned(w *world) []int { return w.push.(*sharedPush).Shards() }

// requireShared waits until every shard is open at one of the nodes, and each has its part.
func requireShared(t *testing.T, nodes ...*world) {
	t.Helper()
	require.Eventually(t, func() bool {
		all := 0
		for _, w := range nodes {
			n := len(owned(w))
			if n < 16/len(nodes) || n > 16/len(nodes)+1 {
				return false
			}
			all += n
		}
		return all == 16
	}, 10*time.Second, 20*time.Millisecond)
}

// phone is a device with a token of its own.
type phone struct {
	*client.Device
	token string
	state client.MemoryStore
	chat  client.Chat // loopChat, unless it is set
	w     *world      // where it asks
}

// phoneAt registers a device at a node.
func phoneAt(t *testing.T, w *world) *phone {
	t.Helper()
	p := &phone{token: w.fcm.NewToken()}
	p.ask(t, w)
	require.NoError(t, p.Register(t.Context(), client.Registration{Routes: []pushwire.Route{{Provider: "fcm", Address: []byte(p.token)}}}))
	event, err := p.Receive(t.Context(), p.ring(t).Body)
	require.NoError(t, err)
	require.Equal(t, pushwire.Challenge, event.Kind)
	require.True(t, p.Active())
	p.Sleep()
	return p
}

// ask has the device ask another node from now on.
func (p *phone) ask(t *testing.T, w *world) {
	t.Helper()
	if p.Device != nil {
		require.NoError(t, p.Close())
	}
	var err error
	p.w = w
	if p.chat.Name == "" {
		p.chat = loopChat()
	}
	p.Device, err = client.Open(t.Context(), client.Config{
		Server: w.link.Self().URLv4(), PushKey: compressedHex(w.PushKey()), Store: &p.state,
		Chats: []client.Chat{p.chat}, Logger: NewLogger(&w.log, w.cfg.Log),
	})
	require.NoError(t, err)
	device := p.Device
	t.Cleanup(func() { require.NoError(t, device.Close()) })
}

// ring waits for a push to the device.
func (p *phone) ring(t *testing.T) emulate.Push {
	t.Helper()
	select {
	case push := <-p.w.fcm.Pushes(p.token):
		return push
	case <-time.After(15 * time.Second):
		require.FailNow(t, "no push within 15 s")
		return emulate.Push{}
	}
}

// Devices register at either of two nodes, each of which has half of the shards, and are
// rung for what either archives; they fetch at a node which they never asked before. When
// a node leaves, or another one comes, that goes on.
func TestClusterRings(t *testing.T) {
	t.Parallel()
	nodes := newClusterOf(t, 2)
	var phones []*phone
	for i := range 8 {
		phones = append(phones, phoneAt(t, nodes[i%2]))
	}
	round := func(text string, from *world, at func(i int) *world) {
		t.Helper()
		from.post(t, text)
		for i, p := range phones {
			push := p.ring(t)
			p.ask(t, at(i))
			require.Equal(t, []string{text}, shows(t, p.Device, push.Body), "device %d", i)
		}
		for _, p := range phones {
			require.Empty(t, p.w.fcm.Pushes(p.token), "nobody is rung twice")
		}
	}
	round("one", nodes[0], func(i int) *world { return nodes[(i+1)%2] })
	round("two", nodes[1], func(i int) *world { return nodes[i/2%2] })

	nodes[1].halt()
	requireShared(t, nodes[0])
	round("three", nodes[0], func(int) *world { return nodes[0] })
	nodes[1].restart(t, true)
	requireShared(t, nodes...)
	round("four", nodes[0], func(i int) *world { return nodes[1] })
	for i := range phones {
		_, err := phones[i].Status(t.Context())
		require.NoError(t, err)
	}
}

// A device that stays connected to one node is rung over its link by whichever node has
// its shard, also after that has moved while the device was silent; what it fetches at
// another node is the receipt.
func TestClusterRingsOverLinks(t *testing.T) {
	t.Parallel()
	nodes := newClusterOf(t, 3, config.Provider{Name: "direct", Type: "direct"})
	type listener struct {
		*phone
		bodies chan []byte
		other  *phone // the same device, on another network
	}
	var listeners []*listener
	for range 6 {
		l := &listener{phone: &phone{token: nodes[0].fcm.NewToken()}, bodies: make(chan []byte, 10)}
		l.ask(t, nodes[0])
		route, err := l.DirectRoute("direct")
		require.NoError(t, err)
		require.NoError(t, l.Register(t.Context(), client.Registration{Routes: []pushwire.Route{route}}))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			l.Listen(ctx, func(body []byte) error {
				l.bodies <- body
				return nil
			})
		}()
		t.Cleanup(func() {
			cancel()
			<-ended
		})
		listeners = append(listeners, l)
	}
	round := func(text string, at *world) {
		t.Helper()
		fetched := ended(t, nodes, "fetched")
		nodes[0].post(t, text)
		for i, l := range listeners {
			select {
			case body := <-l.bodies:
				if l.other == nil {
					state, err := l.state.Load(t.Context())
					require.NoError(t, err)
					l.other = &phone{token: l.token}
					require.NoError(t, l.other.state.Save(t.Context(), state))
				}
				l.other.ask(t, at)
				require.Equal(t, []string{text}, shows(t, l.other.Device, body))
				l.other.Sleep()
				_, err := l.Status(t.Context()) // its latest connection is the one that counts
				require.NoError(t, err)
			case <-time.After(15 * time.Second):
				require.FailNow(t, "a device was not rung over its link", "device %d, %s", i, text)
			}
		}
		require.Eventually(t, func() bool { return ended(t, nodes, "fetched") >= fetched+float64(len(listeners)) }, 10*time.Second, 20*time.Millisecond)
	}
	round("one", nodes[1])
	nodes[2].halt()
	requireShared(t, nodes[:2]...)
	round("two", nodes[1])
}

// ended counts the matches of all nodes that ended in one way.
func ended(t *testing.T, nodes []*world, outcome string) (n float64) {
	t.Helper()
	for _, w := range nodes {
		families, err := w.registry.Gather()
		require.NoError(t, err)
		for _, f := range families {
			if f.GetName() != "whisperpush_pushext_outcomes_total" {
				continue
			}
			for _, m := range f.GetMetric() {
				for _, l := range m.GetLabel() {
					if l.GetName() == "outcome" && l.GetValue() == outcome {
						n += m.GetCounter().GetValue()
					}
				}
			}
		}
	}
	return n
}

// An address belongs to the registration that proved it last, in whichever shards it is,
// and is challenged three times a day by all nodes together.
func TestClusterAgreesOnAddresses(t *testing.T) {
	t.Parallel()
	nodes := newClusterOf(t, 2)
	token := nodes[0].fcm.NewToken()
	route := client.Registration{Routes: []pushwire.Route{{Provider: "fcm", Address: []byte(token)}}}
	var phones []*phone
	for i := range 3 {
		p := &phone{token: token}
		p.ask(t, nodes[i%2])
		require.NoError(t, p.Register(t.Context(), route))
		_, err := p.Receive(t.Context(), p.ring(t).Body)
		require.NoError(t, err)
		require.True(t, p.Active())
		for _, before := range phones {
			require.Eventually(t, func() bool {
				s, err := before.Status(t.Context())
				return err == nil && s.State == pushwire.Dead
			}, 15*time.Second, 100*time.Millisecond)
		}
		s, err := p.Status(t.Context())
		require.NoError(t, err)
		require.Equal(t, pushwire.Active, s.State)
		phones = append(phones, p)
	}
	nodes[0].post(t, "to the last one")
	require.Equal(t, []string{"to the last one"}, shows(t, phones[2].Device, phones[2].ring(t).Body))
	require.Empty(t, nodes[0].fcm.Pushes(token))

	fourth := &phone{token: token}
	fourth.ask(t, nodes[1])
	require.ErrorContains(t, fourth.Register(t.Context(), route), "challenged 3 times")
}

// answers is a Caller that keeps what it is sent.
type answers struct {
	id   desk.ID
	sent chan *whisper.Envelope
}

func (a *answers) ID() desk.ID            { return a.id }
func (a *answers) Source() whisper.Source { return "a network" }
func (a *answers) Up() bool               { return true }
func (a *answers) Stays() bool            { return true }
func (a *answers) Answered()              {}
func (a *answers) Useful()                {}
func (a *answers) Proved()                {}
func (a *answers) Send(_ context.Context, envs ...*whisper.Envelope) error {
	for _, e := range envs {
		a.sent <- e
	}
	return nil
}

// A user's devices may be in any shards: one Notify rings all that have the handle, and
// what was seen on one of them disappears from the others.
func TestClusterReachesAllDevicesOfAUser(t *testing.T) {
	t.Parallel()
	nodes := newClusterOf(t, 2)
	group, root, handle := client.NewGroup(), bytes.Repeat([]byte{3}, pushwire.RootSize), bytes.Repeat([]byte{4}, pushwire.HandleSize)
	var phones []*phone
	for i := range 4 {
		p := &phone{token: nodes[0].fcm.NewToken(), chat: loopChat()}
		p.chat.Mode = pushwire.Mentions
		p.ask(t, nodes[i%2])
		require.NoError(t, p.Register(t.Context(), client.Registration{
			Routes: []pushwire.Route{{Provider: "fcm", Address: []byte(p.token)}}, Group: group,
			Preferences: pushwire.Preferences{Root: root, Handle: handle},
		}))
		_, err := p.Receive(t.Context(), p.ring(t).Body)
		require.NoError(t, err)
		require.True(t, p.Active())
		phones = append(phones, p)
	}
	e, err := whisper.Seal(t.Context(), whisper.Draft{Payload: []byte("@you"), Topic: loopChat().Topic, Key: loopChat().Key, PoW: whisper.DefaultMinPoW})
	require.NoError(t, err)
	require.NoError(t, nodes[0].whisper.Post(t.Context(), e))

	sender, err := crypto.GenerateKey()
	require.NoError(t, err)
	body := pushwire.NewNotify(pushwire.Capability(root, "alice"), [pushwire.HandleSize]byte(handle), "alice", e.Hash(), pushwire.NotifyMention, [33]byte(crypto.CompressPubkey(nodes[0].PushKey())))
	request, err := pushwire.SealRequest(t.Context(), pushwire.Request{Issued: uint64(time.Now().UnixMilli()), Body: body}, sender, nodes[0].PushKey(), pushwire.DefaultPoW)
	require.NoError(t, err)
	caller := &answers{id: desk.ID{1}, sent: make(chan *whisper.Envelope, 10)}
	nodes[1].push.(*sharedPush).HandleCall(caller, request)
	reply, err := pushwire.OpenReply(<-caller.sent, sender, nodes[0].PushKey())
	require.NoError(t, err)
	require.Equal(t, pushwire.OK, reply.Code)
	for _, p := range phones {
		require.Equal(t, []string{"@you"}, shows(t, p.Device, p.ring(t).Body))
	}
	require.Empty(t, caller.sent, "it is answered once")

	require.NoError(t, phones[0].Seen(t.Context(), []common.Hash{e.Hash()}))
	for _, p := range phones[1:] {
		event, err := p.Receive(t.Context(), p.ring(t).Body)
		require.NoError(t, err)
		require.Equal(t, pushwire.Dismiss, event.Kind)
	}
}
