package node

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"

	"whisperpush/config"
	"whisperpush/mailserver/mailwire"
	"whisperpush/pushext/pushserver"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
	"whisperpush/wnode/door"
)

// visitor is a device that knows HTTP and nothing of devp2p.
type visitor struct {
	t    *testing.T
	w    *world
	key  *ecdsa.PrivateKey
	http *http.Client
}

func newVisitor(t *testing.T, w *world) *visitor {
	transport := new(http.Transport)
	t.Cleanup(transport.CloseIdleConnections)
	return &visitor{t, w, newKey(t), &http.Client{Transport: transport}}
}

// open posts to a path, and returns the stream of the answer.
func (v *visitor) open(path string, env *whisper.Envelope) io.Reader {
	v.t.Helper()
	response, err := v.http.Post(v.w.door+path, "", bytes.NewReader(env.Raw()))
	require.NoError(v.t, err)
	v.t.Cleanup(func() { response.Body.Close() })
	require.Less(v.t, response.StatusCode, 300)
	return response.Body
}

// next reads a frame that says something; io.EOF at the end of a whole answer.
func next(r io.Reader) (kind byte, content []byte, err error) {
	for kind == 0 {
		head := make([]byte, 5)
		if _, err := io.ReadFull(r, head); err != nil {
			return 0, nil, err
		}
		kind, content = head[0], make([]byte, binary.BigEndian.Uint32(head[1:]))
		if _, err := io.ReadFull(r, content); err != nil {
			return 0, nil, err
		}
	}
	return kind, content, nil
}

func (v *visitor) seal(body pushwire.RequestBody) *whisper.Envelope {
	v.t.Helper()
	env, err := pushwire.SealRequest(v.t.Context(), pushwire.NewRequest(body, time.Now()), v.key, v.w.PushKey(), whisper.DefaultMinPoW)
	require.NoError(v.t, err)
	return env
}

// reply reads envelopes up to the reply.
func (v *visitor) reply(r io.Reader) (pushwire.Reply, [][]byte) {
	v.t.Helper()
	var before [][]byte
	for {
		kind, content, err := next(r)
		require.NoError(v.t, err)
		require.EqualValues(v.t, 127, kind)
		env, err := whisper.DecodeEnvelope(content)
		require.NoError(v.t, err)
		if env.Topic != pushwire.Topic() {
			before = append(before, content)
			continue
		}
		reply, err := pushwire.OpenReply(env, v.key, v.w.PushKey())
		require.NoError(v.t, err)
		return reply, before
	}
}

func (v *visitor) ends(r io.Reader) {
	v.t.Helper()
	_, _, err := next(r)
	require.Equal(v.t, io.EOF, err)
}

// doorWorld is a world with its door open and devices rung over their own streams.
func doorWorld(t *testing.T) *world {
	w := newWorld(t)
	w.cfg.Door.Enabled = true
	w.cfg.Push.Provider = append(w.cfg.Push.Provider, config.Provider{Name: "direct", Type: "direct"})
	w.restart(t, true)
	return w
}

// A device that knows nothing of devp2p reads the offer, registers, is rung over its stream, fetches, asks
// for its mail, and posts: all of it through the door.
func TestDeviceThroughTheDoor(t *testing.T) {
	t.Parallel()
	w := doorWorld(t)
	v := newVisitor(t, w)

	response, err := v.http.Get(w.door + door.OfferPath)
	require.NoError(t, err)
	raw, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	response.Body.Close()
	env, err := whisper.DecodeEnvelope(raw)
	require.NoError(t, err)
	offer, key, err := pushwire.OpenOffer(env)
	require.NoError(t, err)
	require.True(t, key.Equal(w.PushKey()))
	require.Equal(t, w.link.Self().URLv4(), offer.Enode)
	require.Len(t, offer.Providers, 2)

	private, public, err := pushwire.NewSealKey()
	require.NoError(t, err)
	register := &pushwire.Register{
		Version: 1, SealKey: public, Channels: []pushwire.Channel{{Topic: loopChat().Topic}},
		Routes: []pushwire.Route{{Provider: "direct", Address: crypto.CompressPubkey(&v.key.PublicKey)}},
	}
	stream := v.open(door.RequestPath, v.seal(register))
	reply, _ := v.reply(stream)
	require.Equal(t, pushwire.OK, reply.Code, reply.Text)
	require.Equal(t, pushwire.Active, reply.State)
	v.ends(stream)

	ring := v.open(door.RingPath, v.seal(&pushwire.Status{}))
	reply, _ = v.reply(ring)
	require.Equal(t, pushwire.Active, reply.State)

	message, err := whisper.Seal(t.Context(), whisper.Draft{Payload: []byte("by the door"), Topic: loopChat().Topic, Key: loopChat().Key, PoW: whisper.DefaultMinPoW})
	require.NoError(t, err)
	v.open(door.PostPath, message)
	v.open(door.PostPath, message) // whoever did not hear that it was taken posts it again
	reply, _ = v.reply(ring)
	require.Zero(t, reply.ID)
	payload, err := pushwire.OpenPayload(reply.Body.(*pushwire.Ring).Body, private)
	require.NoError(t, err)
	require.Equal(t, []common.Hash{message.Hash()}, payload.Hashes)

	stream = v.open(door.RequestPath, v.seal(&pushwire.Fetch{Hashes: payload.Hashes}))
	reply, envelopes := v.reply(stream)
	require.Equal(t, pushwire.OK, reply.Code)
	require.Equal(t, [][]byte{message.Raw()}, envelopes)
	v.ends(stream)

	// The mailserver answers as well, and its answer has an end mark.
	request := mailwire.Request{Form: mailwire.List, Upper: uint32(time.Now().Unix()) + 60, Topics: []whisper.Topic{loopChat().Topic}, Limit: 10}
	asked, err := request.Encode()
	require.NoError(t, err)
	env, err = whisper.Seal(t.Context(), whisper.Draft{Payload: asked, Sign: v.key, To: w.link.Self().Pubkey(), PoW: whisper.DefaultMinPoW})
	require.NoError(t, err)
	stream = v.open(door.RequestPath, env)
	kind, content, err := next(stream)
	require.NoError(t, err)
	require.EqualValues(t, 127, kind)
	require.Equal(t, message.Raw(), content)
	kind, content, err = next(stream)
	require.NoError(t, err)
	require.EqualValues(t, 125, kind)
	end, err := mailwire.DecodeComplete(content)
	require.NoError(t, err)
	require.Equal(t, env.Hash(), end.ID)
	v.ends(stream)
}

// What is asked through the door while a ring stream stands does not take the rings away from it, nor does
// what was asked before: only a stream is a link.
func TestRingsStayWithTheStream(t *testing.T) {
	t.Parallel()
	w := doorWorld(t)
	v := newVisitor(t, w)
	private, public, err := pushwire.NewSealKey()
	require.NoError(t, err)
	stream := v.open(door.RequestPath, v.seal(&pushwire.Register{
		Version: 1, SealKey: public, Channels: []pushwire.Channel{{Topic: loopChat().Topic}},
		Routes: []pushwire.Route{{Provider: "direct", Address: crypto.CompressPubkey(&v.key.PublicKey)}},
	}))
	v.reply(stream)
	w.post(t, "before there was a stream")
	ring := v.open(door.RingPath, v.seal(&pushwire.Status{}))
	v.reply(ring)
	rung := func() int {
		reply, _ := v.reply(ring)
		payload, err := pushwire.OpenPayload(reply.Body.(*pushwire.Ring).Body, private)
		require.NoError(t, err)
		return len(payload.Hashes)
	}
	require.Equal(t, 1, rung(), "who comes is rung for what waits")
	for range 3 {
		stream := v.open(door.RequestPath, v.seal(&pushwire.Status{}))
		v.reply(stream)
		v.ends(stream)
		w.post(t, "while something else is asked")
		require.Positive(t, rung())
	}
}

// A request for something that is off, or by a client that cannot be answered, ends at once and without a frame.
func TestDoorWithoutAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cfg.Door.Enabled = true
	w.restart(t, false)
	w.pushKeys.Store(&pushserver.Keys{Current: newKey(t)})
	v := newVisitor(t, w)
	began := time.Now()
	v.ends(v.open(door.RequestPath, v.seal(&pushwire.Status{}))) // push is off
	v.ends(v.open(door.RingPath, v.seal(&pushwire.Status{})))
	env, err := whisper.Seal(t.Context(), whisper.Draft{Payload: []byte("?"), Key: make([]byte, 32)})
	require.NoError(t, err)
	v.ends(v.open(door.RequestPath, env)) // for another mailserver
	require.Less(t, time.Since(began), 10*time.Second)
	response, err := v.http.Get(w.door + door.OfferPath)
	require.NoError(t, err)
	response.Body.Close()
	require.Equal(t, http.StatusNotFound, response.StatusCode)
}

// An observer of a connection to the door sees the same sizes whatever a request is, and whether it is granted
// or not.
func TestDoorObserver(t *testing.T) {
	t.Parallel()
	w := doorWorld(t)
	v := newVisitor(t, w)
	var up, down atomic.Int64
	v.http.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		return &metered{conn, &up, &down}, err
	}
	_, public, err := pushwire.NewSealKey()
	require.NoError(t, err)
	register := &pushwire.Register{
		Version: 1, SealKey: public, Channels: []pushwire.Channel{{Topic: loopChat().Topic}},
		Routes: []pushwire.Route{{Provider: "direct", Address: crypto.CompressPubkey(&v.key.PublicKey)}},
	}
	sizes := map[string][2]int64{}
	for _, one := range []struct {
		name string
		body pushwire.RequestBody
	}{
		{"status of nobody", &pushwire.Status{}}, {"register", register}, {"status", &pushwire.Status{}},
		{"fetch of what is not there", &pushwire.Fetch{Hashes: []common.Hash{{1}}}}, {"seen", &pushwire.Seen{Hashes: []common.Hash{{2}}}},
		{"notify", &pushwire.Notify{Holder: "eve", Hash: common.Hash{3}, Type: 1}}, {"unregister", &pushwire.Unregister{Version: 9}},
	} {
		up.Store(0)
		down.Store(0)
		stream := v.open(door.RequestPath, v.seal(one.body))
		v.reply(stream)
		v.ends(stream)
		sizes[one.name] = [2]int64{up.Load(), down.Load()}
	}
	const nonce = 4 // bytes by which envelopes differ, for the work that was done
	first := sizes["status"]
	for name, size := range sizes {
		require.InDelta(t, first[0], size[0], nonce, name)
		require.InDelta(t, first[1], size[1], nonce, name)
	}
	t.Logf("a request takes %d bytes of HTTP/1.1, its answer %d", first[0], first[1])
}

// metered counts what goes over a connection.
type metered struct {
	net.Conn
	up, down *atomic.Int64
}

func (c *metered) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.up.Add(int64(n))
	return n, err
}

func (c *metered) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.down.Add(int64(n))
	return n, err
}
