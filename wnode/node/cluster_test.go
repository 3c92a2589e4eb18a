//go:build unix

package node

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext/client"
	"whisperpush/pushext/emulate"
	"whisperpush/pushext/pushwire"
)

// newClusterOf starts so many nodes with push on one database, with one emulated FCM, that are
// connected to no other.
func newClusterOf(t *testing.T, n int) []*world {
	t.Helper()
	_, store, passwordFile, _ := onDatabase(t)
	var nodes []*world
	for i := range n {
		w := newWorld(t)
		if i > 0 {
			w.fcm, w.cfg.Push.Provider = nodes[0].fcm, nodes[0].cfg.Push.Provider
			for _, name := range []string{"pushkey", "push.disk.key"} {
				key, err := os.ReadFile(filepath.Join(nodes[0].cfg.Node.DataDir, name))
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(filepath.Join(w.cfg.Node.DataDir, name), key, 0o600))
			}
		}
		w.cfg.Node.Store, w.cfg.Node.StorePasswordFile = store, passwordFile
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
	w     *world // where it asks
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
	p.Device, err = client.Open(t.Context(), client.Config{
		Server: w.link.Self().URLv4(), PushKey: compressedHex(w.pushKey), Store: &p.state,
		Chats: []client.Chat{loopChat()}, Logger: NewLogger(&w.log, w.cfg.Log),
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
