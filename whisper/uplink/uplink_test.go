package uplink

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/p2p/rlpx"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"whisperpush/testutil/network"
	"whisperpush/whisper"
)

func TestMain(m *testing.M) {
	// The test servers keep their tables of nodes in it.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/syndtr/goleveldb/leveldb.(*DB).mpoolDrain"))
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := crypto.GenerateKey()
	require.NoError(t, err)
	return key
}

// newNode is a phone's node.
func newNode(t testing.TB) *whisper.Node {
	t.Helper()
	node, err := whisper.NewNode(whisper.Config{Bloom: new(whisper.Bloom), LightNode: true})
	require.NoError(t, err)
	require.NoError(t, node.Start())
	t.Cleanup(node.Stop)
	return node
}

func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// With a p2p.Server at the other end messages arrive, either end may hang up, and
// the node may be dialled anew.
func TestDial(t *testing.T) {
	server := network.Start(t, network.Options{})
	node := newNode(t)
	for range 2 {
		key := newKey(t)
		cfg := Config{Node: node, Server: server.Enode, Key: key, Name: "test"}
		us := enode.PubkeyToIDV4(&key.PublicKey)
		link, err := Dial(soon(t), cfg)
		require.NoError(t, err)
		require.NoError(t, server.Node.WaitPeer(soon(t), us))
		require.Equal(t, server.ID(), link.ID())
		_, err = Dial(soon(t), cfg)
		require.ErrorIs(t, err, whisper.ErrConnected)

		env, err := whisper.Seal(soon(t), whisper.Draft{Payload: make([]byte, 100_000), Topic: whisper.Topic{1}, Key: make([]byte, 32), PoW: 0.001})
		require.NoError(t, err)
		require.NoError(t, node.SendMessages(soon(t), server.ID(), env))
		require.Eventually(t, func() bool { return server.Node.Pool().Envelopes > 0 }, time.Minute, time.Millisecond)

		link.Close()
		link.Close()
		require.ErrorIs(t, context.Cause(link.Context()), ErrClosed)
		require.NoError(t, server.Node.WaitGone(soon(t), us))
		require.False(t, node.Connected(server.ID()))
	}
	link, err := Dial(soon(t), Config{Node: node, Server: server.Enode})
	require.NoError(t, err)
	server.Node.Stop()
	<-link.Context().Done()
	require.ErrorIs(t, context.Cause(link.Context()), Quitting)
	link.Close()
}

// A link ends with its node.
func TestNodeStops(t *testing.T) {
	server := network.Start(t, network.Options{})
	node := newNode(t)
	link, err := Dial(soon(t), Config{Node: node, Server: server.Enode})
	require.NoError(t, err)
	node.Stop()
	link.Close()
	require.ErrorIs(t, context.Cause(link.Context()), whisper.ErrNotRunning)
	_, err = Dial(soon(t), Config{Node: node, Server: server.Enode})
	require.ErrorIs(t, err, whisper.ErrNotRunning)
}

// What goes wrong is told at once, by its cause, and without the address.
func TestDialFails(t *testing.T) {
	full := network.Start(t, network.Options{MaxPeers: 2}) // one of them may have dialled it
	other := newNode(t)
	first, err := Dial(soon(t), Config{Node: other, Server: full.Enode})
	require.NoError(t, err)
	defer first.Close()

	mute := &p2p.Server{Config: p2p.Config{
		PrivateKey: newKey(t), MaxPeers: 5, NoDiscovery: true, ListenAddr: "127.0.0.1:0",
		Protocols: []p2p.Protocol{{Name: "eth", Version: 68, Length: 17, Run: func(*p2p.Peer, p2p.MsgReadWriter) error { return nil }}},
	}}
	require.NoError(t, mute.Start())
	defer mute.Stop()

	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	at := func(key *ecdsa.PublicKey, addr net.Addr) *enode.Node {
		tcp := addr.(*net.TCPAddr)
		return enode.NewV4(key, tcp.IP, tcp.Port, 0)
	}
	where := &net.TCPAddr{IP: full.Enode.IP(), Port: full.Enode.TCP()}

	for what, c := range map[string]struct {
		server *enode.Node
		is     error
		says   string
	}{
		"full":                  {full.Enode, TooManyPeers, "as many peers as it takes"},
		"no shh":                {mute.Self(), ErrNoWhisper, "does not speak shh/6"},
		"refused":               {at(&newKey(t).PublicKey, closed.Addr()), nil, "the node cannot be reached: connection refused"},
		"another identity":      {at(&newKey(t).PublicKey, where), ErrBroken, "key exchange"},
		"no address":            {enode.NewV4(&newKey(t).PublicKey, nil, 0, 0), errNoAddress, ""},
		"no such name":          {enode.NewV4(&newKey(t).PublicKey, nil, 30303, 0).WithHostname("nobody.invalid"), nil, "the node cannot be reached: "},
		"no port beside a name": {enode.NewV4(&newKey(t).PublicKey, nil, 0, 0).WithHostname("nobody.invalid"), errNoAddress, ""},
	} {
		t.Run(what, func(t *testing.T) {
			ctx := soon(t)
			_, err := Dial(ctx, Config{Node: newNode(t), Server: c.server})
			require.ErrorContains(t, err, c.says)
			if c.is != nil {
				require.ErrorIs(t, err, c.is)
			}
			require.NoError(t, ctx.Err())
			require.NotContains(t, err.Error(), "127.0.0.1")
			require.NotContains(t, err.Error(), "nobody")
		})
	}
}

// Whoever gave up is told so, whatever was under way.
func TestDialGivesUp(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()
	tcp := silent.Addr().(*net.TCPAddr)
	server := enode.NewV4(&newKey(t).PublicKey, tcp.IP, tcp.Port, 0)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("no patience")
	go func() {
		conn, err := silent.Accept()
		if err == nil {
			defer conn.Close()
			conn.Read(make([]byte, 1))
		}
		cancel(why)
	}()
	_, err = Dial(ctx, Config{Node: newNode(t), Server: server})
	require.ErrorIs(t, err, why)
}

// far is the other end in the hands of the test.
type far struct {
	t    *testing.T
	conn *rlpx.Conn
	tcp  net.Conn
}

// meet connects a node to a far end that does as script says, in fake time. Without
// one it completes both handshakes.
func meet(t *testing.T, node *whisper.Node, script func(*far)) (*Link, *far, error) {
	t.Helper()
	here, there := net.Pipe()
	key := newKey(t)
	f := &far{t: t, conn: rlpx.NewConn(there, nil), tcp: there}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, err := f.conn.Handshake(key); err != nil {
			return
		}
		if script != nil {
			script(f)
			return
		}
		f.hello(capability{"eth", 68}, capability{"shh", 6})
		f.want(baseLength + whisper.StatusPacket)
		f.send(baseLength+whisper.StatusPacket, []any{uint64(whisper.ProtocolVersion)})
	}()
	link, err := connect(t.Context(), here, Config{Node: node, Server: enode.NewV4(&key.PublicKey, net.IPv4(127, 0, 0, 1), 1, 0)})
	if err != nil {
		there.Close()
	}
	<-done
	return link, f, err
}

// hello answers a hello.
func (f *far) hello(caps ...capability) {
	f.want(helloMessage)
	f.send(helloMessage, &hello{Version: baseVersion, Name: "far", Caps: caps, ID: make([]byte, 64), Rest: []rlp.RawValue{{1}}})
	f.conn.SetSnappy(true)
}

func (f *far) send(code uint64, payload any) {
	f.t.Helper()
	b, err := rlp.EncodeToBytes(payload)
	require.NoError(f.t, err)
	_, err = f.conn.Write(code, b)
	require.NoError(f.t, err)
}

// want reads the next message, which must have that code.
func (f *far) want(code uint64) []byte {
	f.t.Helper()
	got, payload, _, err := f.conn.Read()
	require.NoError(f.t, err)
	require.Equal(f.t, code, got)
	return payload
}

// bubble runs f in fake time.
func bubble(t *testing.T, f func(t *testing.T, node *whisper.Node)) {
	synctest.Test(t, func(t *testing.T) {
		node := newNode(t)
		f(t, node)
		node.Stop()
	})
}

// Each end asks whether the other is there, and a silent one is hung up on.
func TestPing(t *testing.T) {
	bubble(t, func(t *testing.T, node *whisper.Node) {
		link, f, err := meet(t, node, nil)
		require.NoError(t, err)
		f.send(pingMessage, []any{})
		f.want(pongMessage)
		began := time.Now()
		f.want(pingMessage)
		require.Equal(t, pingEvery, time.Since(began))
		f.send(pongMessage, []any{})
		f.send(0x04, []any{}) // of a later version
		heard := time.Now()
		f.want(pingMessage)
		<-link.Context().Done() // the next ping is not taken
		require.Equal(t, readTimeout, time.Since(heard))
		require.ErrorIs(t, context.Cause(link.Context()), ErrBroken)
		link.Close()
	})
}

// A peer that takes nothing holds up neither Close nor the node's end.
func TestPeerTakesNothing(t *testing.T) {
	bubble(t, func(t *testing.T, node *whisper.Node) {
		link, _, err := meet(t, node, nil)
		require.NoError(t, err)
		time.Sleep(pingEvery + 1) // a ping waits for the peer now
		began := time.Now()
		link.Close()
		require.Equal(t, goodbyeTimeout, time.Since(began))
	})
	bubble(t, func(t *testing.T, node *whisper.Node) {
		link, f, err := meet(t, node, nil)
		require.NoError(t, err)
		var talking sync.WaitGroup
		talking.Go(func() { // and does not listen
			for {
				if _, err := f.conn.Write(pongMessage, emptyList); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		})
		began := time.Now()
		<-link.Context().Done()
		require.Equal(t, pingEvery+writeTimeout, time.Since(began))
		link.Close()
		talking.Wait()
	})
}

// A peer that does not keep to the protocol costs the link and is told why.
func TestWrongPeer(t *testing.T) {
	for what, c := range map[string]struct {
		script func(*far)
		is     error
	}{
		"says nothing":         {func(f *far) { f.want(helloMessage); f.conn.Read() }, ErrBroken},
		"hangs up first":       {func(f *far) { f.want(helloMessage); f.send(disconnectMessage, []uint64{4}) }, TooManyPeers},
		"hangs up the old way": {func(f *far) { f.want(helloMessage); f.send(disconnectMessage, uint64(4)) }, TooManyPeers},
		"begins with a ping":   {func(f *far) { f.want(helloMessage); f.send(pingMessage, []any{}); f.want(disconnectMessage) }, errHello},
		"sends a long hello": {func(f *far) {
			f.want(helloMessage)
			f.send(helloMessage, make([]byte, maxHelloBytes))
			f.want(disconnectMessage)
		}, errHello},
		"sends garbage": {func(f *far) { f.want(helloMessage); f.send(helloMessage, "x"); f.want(disconnectMessage) }, errHello},
		"speaks shh/5":  {func(f *far) { f.hello(capability{"shh", 5}); f.want(disconnectMessage) }, ErrNoWhisper},
		"sends an unknown code": {func(f *far) {
			f.hello(shh)
			f.want(baseLength)
			f.send(baseLength+whisper.ProtocolLength, []any{})
			require.Equal(f.t, subprotocolError, decodeDisconnect(f.want(disconnectMessage)))
		}, errCode},
		"begins shh wrongly": {func(f *far) {
			f.hello(shh)
			f.want(baseLength)
			f.send(baseLength+whisper.StatusPacket, []any{uint64(5)})
			require.Equal(f.t, subprotocolError, decodeDisconnect(f.want(disconnectMessage)))
		}, whisper.ErrHandshake},
	} {
		t.Run(what, func(t *testing.T) {
			bubble(t, func(t *testing.T, node *whisper.Node) {
				_, _, err := meet(t, node, c.script)
				require.ErrorIs(t, err, c.is)
			})
		})
	}
}

// What a stranger sends before it has proved anything is read without harm.
func FuzzHello(f *testing.F) {
	good, err := rlp.EncodeToBytes(&hello{Version: 5, Name: "x", Caps: []capability{shh}, ID: make([]byte, 64)})
	require.NoError(f, err)
	f.Add(good)
	f.Add(encodeDisconnect(Quitting))
	f.Add([]byte{4})
	f.Fuzz(func(t *testing.T, payload []byte) {
		if h, err := decodeHello(payload); err == nil {
			_, err = rlp.EncodeToBytes(&h)
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, errHello)
		}
		require.NotEmpty(t, decodeDisconnect(payload).Error())
	})
}
