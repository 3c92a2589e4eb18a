package whisper_test

import (
	"context"
	"crypto/ecdsa"
	"fmt"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/stretchr/testify/require"

	"whisperpush/testutil/genuinenode"
	"whisperpush/testutil/network"
	"whisperpush/whisper"
)

// These tests run the genuine node, go-ethereum v1.9.20, as a peer on the
// loopback.

var (
	interopKey = crypto.Keccak256([]byte("interop"))
	plain      = whisper.TopicFor("plain")
	// collide has two bloom bits in one byte, of which genuine nodes keep the later.
	collide = whisper.Topic{0x10, 0x17, 0x83, 0x00}
)

func interop(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute) // a first build takes one
	t.Cleanup(cancel)
	return ctx
}

// meet links a node of ours with a genuine one.
func meet(t *testing.T, ctx context.Context, ours whisper.Config, genuine genuinenode.Options) (*network.Peer, *genuinenode.Node) {
	t.Helper()
	g := genuinenode.Run(t, genuine)
	o := network.Start(t, network.Options{Whisper: ours})
	link(t, ctx, o, g)
	return o, g
}

func link(t *testing.T, ctx context.Context, o *network.Peer, g *genuinenode.Node) {
	t.Helper()
	require.NoError(t, g.AddPeer(ctx, o.Enode.URLv4()))
	require.NoError(t, o.Node.WaitPeer(ctx, g.ID))
}

func key(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := crypto.GenerateKey()
	require.NoError(t, err)
	return k
}

func post(t *testing.T, ctx context.Context, o *network.Peer, d whisper.Draft) common.Hash {
	t.Helper()
	if d.To == nil {
		d.Key = interopKey
	}
	e, err := whisper.Seal(ctx, d)
	require.NoError(t, err)
	require.NoError(t, o.Node.Post(ctx, e))
	return e.Hash()
}

func next(t *testing.T, ctx context.Context, sub *whisper.Subscription) whisper.Received {
	t.Helper()
	select {
	case m := <-sub.C():
		return m
	case <-ctx.Done():
		require.FailNow(t, "no message from the genuine node")
		panic("unreachable")
	}
}

func TestInteropGenuineToOurs(t *testing.T) {
	ctx := interop(t)
	ours, genuine := meet(t, ctx, whisper.Config{MinPoW: 0.001}, genuinenode.Options{MinPoW: 0.001})
	alice, bob := key(t), key(t)
	symmetric, err := ours.Node.Subscribe(whisper.Filter{Key: interopKey, From: &alice.PublicKey}, 10)
	require.NoError(t, err)
	asymmetric, err := ours.Node.Subscribe(whisper.Filter{Identity: bob}, 10)
	require.NoError(t, err)
	for _, topic := range []whisper.Topic{plain, collide} {
		sent, err := genuine.Post(ctx, genuinenode.Post{SymKey: interopKey, SignKey: alice, Topic: topic, Payload: topic[:], PoW: 0.01})
		require.NoError(t, err)
		m := next(t, ctx, symmetric)
		require.Equal(t, sent.Hash, m.Envelope.Hash())
		require.Equal(t, topic[:], m.Payload)

		sent, err = genuine.Post(ctx, genuinenode.Post{To: &bob.PublicKey, Topic: topic, Payload: topic[:], PoW: 0.01})
		require.NoError(t, err)
		m = next(t, ctx, asymmetric)
		require.Equal(t, sent.Hash, m.Envelope.Hash())
		require.Nil(t, m.Signer)
	}
}

func TestInteropOursToGenuine(t *testing.T) {
	ctx := interop(t)
	ours, genuine := meet(t, ctx, whisper.Config{MinPoW: 0.001}, genuinenode.Options{MinPoW: 0.001})
	alice, bob := key(t), key(t)
	symmetric, err := genuine.Subscribe(ctx, genuinenode.Filter{SymKey: interopKey, Signer: &alice.PublicKey})
	require.NoError(t, err)
	asymmetric, err := genuine.Subscribe(ctx, genuinenode.Filter{PrivateKey: bob})
	require.NoError(t, err)
	for _, topic := range []whisper.Topic{plain, collide} {
		hash := post(t, ctx, ours, whisper.Draft{Topic: topic, Payload: topic[:], Sign: alice, PoW: 0.01})
		m, err := symmetric.Next(ctx)
		require.NoError(t, err)
		require.Equal(t, hash, m.Hash)
		require.Equal(t, topic[:], []byte(m.Payload))

		hash = post(t, ctx, ours, whisper.Draft{Topic: topic, Payload: topic[:], To: &bob.PublicKey, PoW: 0.01})
		m, err = asymmetric.Next(ctx)
		require.NoError(t, err)
		require.Equal(t, hash, m.Hash)
	}
}

// TestInteropGenuineLightPeer: a genuine light node advertises the smaller bloom
// filter of a topic whose bits collide, and gets that topic and no other.
func TestInteropGenuineLightPeer(t *testing.T) {
	ctx := interop(t)
	genuine := genuinenode.Run(t, genuinenode.Options{Light: true})
	bloom := collide.Bloom()
	require.NoError(t, genuine.SetBloom(ctx, bloom[:]))
	ours := network.Start(t, network.Options{})
	link(t, ctx, ours, genuine)
	require.True(t, ours.Node.Peers()[0].Light)
	require.False(t, ours.Node.Peers()[0].Full)

	sub, err := genuine.Subscribe(ctx, genuinenode.Filter{SymKey: interopKey, Topics: [][4]byte{collide}, AllowP2P: true})
	require.NoError(t, err)
	post(t, ctx, ours, whisper.Draft{Topic: plain, PoW: 0.01})
	wanted := post(t, ctx, ours, whisper.Draft{Topic: collide, PoW: 0.01})
	m, err := sub.Next(ctx)
	require.NoError(t, err)
	require.Equal(t, wanted, m.Hash)
	pool, err := genuine.PoolHashes(ctx)
	require.NoError(t, err)
	require.Equal(t, []common.Hash{wanted}, pool)
}

// TestInteropOurLightNode: a genuine node gives ours the topics of its bloom
// filter and no others, and takes what ours posts.
func TestInteropOurLightNode(t *testing.T) {
	ctx := interop(t)
	bloom := collide.Bloom()
	ours, genuine := meet(t, ctx, whisper.Config{LightNode: true, Bloom: &bloom}, genuinenode.Options{})
	sub, err := ours.Node.Subscribe(whisper.Filter{Key: interopKey}, 10)
	require.NoError(t, err)
	_, err = genuine.Post(ctx, genuinenode.Post{SymKey: interopKey, Topic: plain, PoW: 0.01})
	require.NoError(t, err)
	sent, err := genuine.Post(ctx, genuinenode.Post{SymKey: interopKey, Topic: collide, PoW: 0.01})
	require.NoError(t, err)
	require.Equal(t, sent.Hash, next(t, ctx, sub).Envelope.Hash())
	require.Equal(t, 1, ours.Node.Pool().Envelopes)

	theirs, err := genuine.Subscribe(ctx, genuinenode.Filter{SymKey: interopKey, Topics: [][4]byte{plain}})
	require.NoError(t, err)
	own := post(t, ctx, ours, whisper.Draft{Topic: plain, PoW: 0.01})
	m, err := theirs.Next(ctx)
	require.NoError(t, err)
	require.Equal(t, own, m.Hash)
}

// TestInteropUpdates: each side heeds the other's changes of the minimum PoW and
// of the bloom filter, and is sent what it was kept from when it lowers them.
func TestInteropUpdates(t *testing.T) {
	ctx := interop(t)
	ours, genuine := meet(t, ctx, whisper.Config{}, genuinenode.Options{})
	heard := func(ok func(whisper.PeerInfo) bool) {
		t.Helper()
		require.Eventually(t, func() bool { return ok(ours.Node.Peers()[0]) }, 20*time.Second, 10*time.Millisecond)
	}

	// The genuine node changes.
	require.NoError(t, genuine.SetMinPoW(ctx, 5))
	heard(func(p whisper.PeerInfo) bool { return p.MinPoW == 5 })
	theirs, err := genuine.Subscribe(ctx, genuinenode.Filter{SymKey: interopKey, Topics: [][4]byte{plain, collide}})
	require.NoError(t, err)
	cheap := post(t, ctx, ours, whisper.Draft{Topic: plain, TTL: 500})
	worked := post(t, ctx, ours, whisper.Draft{Topic: plain, TTL: 20, PoW: 6})
	m, err := theirs.Next(ctx)
	require.NoError(t, err)
	require.Equal(t, worked, m.Hash)
	require.NoError(t, genuine.SetMinPoW(ctx, 0))
	m, err = theirs.Next(ctx)
	require.NoError(t, err)
	require.Equal(t, cheap, m.Hash)

	bloom := collide.Bloom()
	require.NoError(t, genuine.SetBloom(ctx, bloom[:]))
	heard(func(p whisper.PeerInfo) bool { return !p.Full })
	outside := post(t, ctx, ours, whisper.Draft{Topic: plain, TTL: 400})
	inside := post(t, ctx, ours, whisper.Draft{Topic: collide, TTL: 400})
	m, err = theirs.Next(ctx)
	require.NoError(t, err)
	require.Equal(t, inside, m.Hash)
	full := whisper.FullBloom()
	require.NoError(t, genuine.SetBloom(ctx, full[:]))
	m, err = theirs.Next(ctx)
	require.NoError(t, err)
	require.Equal(t, outside, m.Hash)

	// Ours changes. A message after the change tells that it was heard; what the
	// change lets through may come before or after it.
	sub, err := ours.Node.Subscribe(whisper.Filter{Key: interopKey}, 100)
	require.NoError(t, err)
	change := func(change func(), through ...common.Hash) {
		t.Helper()
		change()
		mark := post(t, ctx, ours, whisper.Draft{Topic: plain, PoW: 6, TTL: 20, Payload: []byte("mark")})
		m, err := theirs.Next(ctx)
		require.NoError(t, err)
		require.Equal(t, mark, m.Hash)
		want := append(through, mark)
		got := make([]common.Hash, len(want))
		for i := range got {
			got[i] = next(t, ctx, sub).Envelope.Hash()
		}
		require.ElementsMatch(t, want, got)
	}
	send := func(topic whisper.Topic, ttl uint32, pow float64) common.Hash {
		t.Helper()
		sent, err := genuine.Post(ctx, genuinenode.Post{SymKey: interopKey, Topic: topic, TTL: ttl, PoW: pow})
		require.NoError(t, err)
		m, err := theirs.Next(ctx)
		require.NoError(t, err)
		require.Equal(t, sent.Hash, m.Hash)
		return sent.Hash
	}
	change(func() { require.NoError(t, ours.Node.SetMinPoW(5)) })
	cheap = send(plain, 300, 0.001)
	worked = send(plain, 20, 6)
	require.Equal(t, worked, next(t, ctx, sub).Envelope.Hash())
	change(func() { require.NoError(t, ours.Node.SetMinPoW(0)) }, cheap)

	change(func() { ours.Node.SetBloom(collide.Bloom()) })
	outside = send(plain, 300, 0.001)
	inside = send(collide, 300, 0.001)
	require.Equal(t, inside, next(t, ctx, sub).Envelope.Hash())
	change(func() { ours.Node.SetBloom(whisper.FullBloom()) }, outside)
	require.True(t, genuine.Connected(ours.ID()))
}

// TestInteropDirect: packets 127 and 126 both ways.
func TestInteropDirect(t *testing.T) {
	ctx := interop(t)
	requests := make(requestChan, 10)
	ours, genuine := meet(t, ctx, whisper.Config{Requests: requests}, genuinenode.Options{})
	require.NoError(t, genuine.TrustPeer(ctx, ours.ID()))
	ours.Node.Trust(genuine.ID)
	theirs, err := genuine.Subscribe(ctx, genuinenode.Filter{SymKey: interopKey, AllowP2P: true})
	require.NoError(t, err)
	sub, err := ours.Node.Subscribe(whisper.Filter{Key: interopKey, AllowDirect: true}, 10)
	require.NoError(t, err)

	e, err := whisper.Seal(ctx, whisper.Draft{Key: interopKey, Now: time.Now().Add(-time.Hour), Payload: []byte("archived")})
	require.NoError(t, err)
	require.NoError(t, ours.Node.SendDirect(ctx, genuine.ID, e))
	m, err := theirs.Next(ctx)
	require.NoError(t, err)
	require.Equal(t, e.Hash(), m.Hash)

	sent, err := genuine.Send(ctx, e.Raw(), genuinenode.Direct, ours.ID())
	require.NoError(t, err)
	received := next(t, ctx, sub)
	require.Equal(t, sent.Hash, received.Envelope.Hash())
	require.True(t, received.Direct)

	_, err = genuine.Send(ctx, e.Raw(), genuinenode.Request, ours.ID())
	require.NoError(t, err)
	select {
	case payload := <-requests:
		require.Equal(t, e.Raw(), payload)
	case <-ctx.Done():
		require.FailNow(t, "no request from the genuine node")
	}
}

// TestInteropLargePool: a pool larger than the genuine node's maximum message
// size is offered to it in packets that do not cost the link.
func TestInteropLargePool(t *testing.T) {
	ctx := interop(t)
	genuine := genuinenode.Run(t, genuinenode.Options{})
	ours := network.Start(t, network.Options{})
	want := make([]common.Hash, 40)
	for i := range want {
		want[i] = post(t, ctx, ours, whisper.Draft{Topic: plain, TTL: 300, Payload: fmt.Append(make([]byte, 100<<10), i)})
	}
	sub, err := genuine.Subscribe(ctx, genuinenode.Filter{SymKey: interopKey})
	require.NoError(t, err)
	link(t, ctx, ours, genuine)
	got := make([]common.Hash, len(want))
	for i := range got {
		m, err := sub.Next(ctx)
		require.NoError(t, err)
		got[i] = m.Hash
	}
	require.ElementsMatch(t, want, got)
	require.True(t, genuine.Connected(ours.ID()))
}

// requestChan is a RequestHandler that hands over to the test.
type requestChan chan []byte

func (c requestChan) HandleRequest(_ enode.ID, payload []byte) { c <- payload }
