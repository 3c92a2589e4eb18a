package door

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"whisperpush/testutil/gather"
	"whisperpush/whisper"
)

// honest asks once from a network of its own, and fails if that takes too long.
func (o *opened) honest(t *testing.T, env *whisper.Envelope) {
	t.Helper()
	began := time.Now()
	conn := o.dialFrom(t, 200)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	require.Equal(t, frame{frameEnvelope, env.Raw()}, nextFrame(t, ask(t, conn, RequestPath, env.Raw())))
	require.Less(t, time.Since(began), 2*time.Second)
}

// TestAttackSlowBodies: strangers hold every place for answers with bodies that do not come.
// Other requests are answered meanwhile, and each stranger is cut off in time.
func TestAttackSlowBodies(t *testing.T) {
	env := newEnvelope(t)
	short := defaultTimes
	short.body = time.Second
	d := open(t, Options{Rooms: granting(), Source: networks, Limits: Limits{Answers: 32}, times: short})
	var all []net.Conn
	for i := range 64 {
		conn := d.dialFrom(t, byte(1+i%4))
		_, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: door\r\nContent-Length: 1000\r\n\r\nx", RequestPath)
		require.NoError(t, err)
		all = append(all, conn)
	}
	require.Eventually(t, func() bool { return gather.Sum(t, d.registry, prefix+"gave_way_total", "what", "answer") >= 32 }, 10*time.Second, time.Millisecond)
	d.honest(t, env)
	for _, conn := range all {
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
		answer, err := io.ReadAll(conn) // until the server closes
		require.NoError(t, err)
		require.Regexp(t, "^HTTP/1.1 (408|503) ", string(answer))
	}
	require.Eventually(t, func() bool { return d.answers.count() == 0 && d.conns.count() == 0 }, 10*time.Second, time.Millisecond)
}

// TestAttackSlowHeads: a head that does not come is not waited for.
func TestAttackSlowHeads(t *testing.T) {
	short := defaultTimes
	short.header = 100 * time.Millisecond
	d := open(t, Options{Rooms: granting(), times: short})
	for _, begun := range []string{"", "P", "POST / HTTP/1.1\r\nHost: door\r\nX-Slow: "} {
		conn := d.dialFrom(t, 1)
		_, err := io.WriteString(conn, begun)
		require.NoError(t, err)
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
		_, err = io.Copy(io.Discard, conn)
		require.NoError(t, err, "closed by the server")
	}
}

// TestAttackLongHeads: a head that is longer than any browser's is refused before it is whole.
func TestAttackLongHeads(t *testing.T) {
	d := open(t, Options{Rooms: granting()})
	conn := d.dialFrom(t, 1)
	require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	go func() { // as long as somebody reads it
		io.WriteString(conn, "POST "+RequestPath+" HTTP/1.1\r\nHost: door\r\n")
		for i := 0; ; i++ {
			if _, err := fmt.Fprintf(conn, "X-%d: %s\r\n", i, strings.Repeat("a", 1000)); err != nil {
				return
			}
		}
	}()
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, response.StatusCode)

	transport := &http2.Transport{AllowHTTP: true, DialTLSContext: func(ctx context.Context, network, addr string, _ *tls.Config) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, addr)
	}}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(t.Context(), "POST", d.url(RequestPath), bytes.NewReader(newEnvelope(t).Raw()))
	require.NoError(t, err)
	request.Header.Set("X-Long", strings.Repeat("a", 2*maxHeader))
	_, err = transport.RoundTrip(request)
	require.Error(t, err, "the server says how much it takes, and the client keeps to it")
}

// TestAttackSmuggling: where a proxy and this server could disagree about where a request ends,
// there is no second one.
func TestAttackSmuggling(t *testing.T) {
	hidden := "POST " + PostPath + " HTTP/1.1\r\nHost: door\r\nContent-Length: 0\r\n\r\n"
	for name, head := range map[string]string{
		"both lengths":         fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 5+len(hidden)),
		"two lengths":          fmt.Sprintf("Content-Length: 0\r\nContent-Length: %d\r\n\r\n", len(hidden)),
		"two lengths in a row": fmt.Sprintf("Content-Length: 0, %d\r\n\r\n", len(hidden)),
		"a signed length":      fmt.Sprintf("Content-Length: +%d\r\n\r\n", len(hidden)),
		"chunked":              "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"another encoding":     "Transfer-Encoding: xchunked\r\n\r\n",
		"chunked in disguise":  "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
		"a folded line":        "X: y\r\n Transfer-Encoding: chunked\r\n\r\n",
		"a bare line end":      "X: y\rTransfer-Encoding: chunked\r\n\r\n",
		"an upgrade":           "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			h := granting()
			var posts atomic.Int32
			h.post = func(context.Context, *whisper.Envelope) error {
				posts.Add(1)
				return nil
			}
			d := open(t, Options{Rooms: h})
			conn := d.dialFrom(t, 1)
			require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
			_, err := io.WriteString(conn, "POST "+RequestPath+" HTTP/1.1\r\nHost: door\r\n"+head+hidden)
			require.NoError(t, err)
			reader := bufio.NewReader(conn)
			response, err := http.ReadResponse(reader, nil)
			require.NoError(t, err)
			require.GreaterOrEqual(t, response.StatusCode, 400)
			_, err = io.Copy(io.Discard, response.Body)
			require.NoError(t, err)
			rest, _ := io.ReadAll(reader) // nothing, or the connection is reset
			require.Empty(t, rest, "there is a second answer")
			require.Zero(t, posts.Load())
			require.Zero(t, gather.Sum(t, d.registry, prefix+"requests_total", "path", PostPath))
		})
	}
}

// TestAttackStreamsThatDoNotRead: a stream whose other end takes nothing is given up in time, and
// costs the server no more than its buffers meanwhile.
func TestAttackStreamsThatDoNotRead(t *testing.T) {
	env, err := whisper.Seal(t.Context(), whisper.Draft{Payload: make([]byte, 1<<20), Key: make([]byte, 32)})
	require.NoError(t, err)
	short := defaultTimes
	short.write = 200 * time.Millisecond
	callers := make(chan *Caller, 64)
	h := granting()
	answer := h.request
	h.request = func(from *Caller, e *whisper.Envelope) {
		callers <- from
		answer(from, e)
	}
	d := open(t, Options{Rooms: h, times: short})
	for range cap(callers) {
		ask(t, d.dialFrom(t, 1), RingPath, newEnvelope(t).Raw())
	}
	var all sync.WaitGroup
	for range cap(callers) {
		caller := <-callers
		all.Go(func() {
			for range 64 { // more than what two sockets hold
				if caller.Send(context.Background(), env) != nil {
					break
				}
			}
			if caller.Up() {
				t.Error("it took 64 MiB")
			}
		})
	}
	all.Wait()
	require.Eventually(t, func() bool { return d.rings.count() == 0 }, 10*time.Second, time.Millisecond)
}

// TestAttackHalfOpenStreams: the other end of a connection is gone without a word. The server asks,
// hears nothing, and frees the seat.
func TestAttackHalfOpenStreams(t *testing.T) {
	short := defaultTimes
	short.silent, short.gone = 100*time.Millisecond, 100*time.Millisecond
	d := open(t, Options{Rooms: granting(), times: short})
	conn := d.dialFrom(t, 1)
	require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	_, err := io.WriteString(conn, http2.ClientPreface)
	require.NoError(t, err)
	f := http2.NewFramer(conn, conn)
	require.NoError(t, f.WriteSettings())
	var head bytes.Buffer
	fields, env := hpack.NewEncoder(&head), newEnvelope(t)
	for _, field := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":authority", "door"}, {":path", RingPath}, {"content-length", fmt.Sprint(len(env.Raw()))}} {
		require.NoError(t, fields.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}))
	}
	require.NoError(t, f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: head.Bytes(), EndHeaders: true}))
	require.NoError(t, f.WriteData(1, true, env.Raw()))
	require.Eventually(t, func() bool { return d.rings.count() == 1 }, 10*time.Second, time.Millisecond)
	_, err = io.Copy(io.Discard, conn) // pings among it, which nobody answers
	require.NoError(t, err, "closed by the server")
	require.Eventually(t, func() bool { return d.rings.count() == 0 && d.conns.count() == 0 }, 10*time.Second, time.Millisecond)
}

// idleStreams is how many streams TestAttackIdleStreams opens in all, of which those of HTTP/1.1 are
// two files each here.
const idleStreams, idlePlain = 10_000, 2_000

// TestAttackIdleStreams: 10,000 devices, or strangers, keep ring streams and say nothing, 8,000
// over connections of HTTP/2 and 2,000 over some of their own. Each costs little; one of them is
// rung at once, and whoever comes is served.
func TestAttackIdleStreams(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: opens 4,200 files")
	}
	env := newEnvelope(t)
	h := granting()
	var mu sync.Mutex
	var last *Caller
	answer := h.request
	h.request = func(from *Caller, e *whisper.Envelope) {
		mu.Lock()
		if from.Stays() {
			last = from
		}
		mu.Unlock()
		answer(from, e)
	}
	d := open(t, Options{Rooms: h, Source: networks})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	before := heap()
	var bodies []io.ReadCloser
	const perConnection = 200
	for range (idleStreams - idlePlain) / perConnection {
		transport := &http2.Transport{AllowHTTP: true, DialTLSContext: func(ctx context.Context, network, addr string, _ *tls.Config) (net.Conn, error) {
			dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, byte(1+len(bodies)/perConnection%64), 0, 1)}}
			return dialer.DialContext(ctx, network, addr)
		}}
		for range perConnection {
			request, err := http.NewRequestWithContext(ctx, "POST", d.url(RingPath), bytes.NewReader(env.Raw()))
			require.NoError(t, err)
			response, err := transport.RoundTrip(request)
			require.NoError(t, err)
			nextFrame(t, response.Body)
			bodies = append(bodies, response.Body)
		}
		t.Cleanup(transport.CloseIdleConnections)
	}
	for i := range idlePlain {
		nextFrame(t, ask(t, d.dialFrom(t, byte(1+i%64)), RingPath, env.Raw()))
	}
	require.Equal(t, idleStreams, d.rings.count())
	t.Logf("%d idle streams: %.1f kB each, both ends together", idleStreams, float64(heap()-before)/1000/idleStreams)
	d.honest(t, env)

	// One of them rings; one more makes one of its network with the most give way.
	conn := d.dialFrom(t, 199)
	stream := ask(t, conn, RingPath, env.Raw())
	nextFrame(t, stream)
	mu.Lock()
	caller := last
	mu.Unlock()
	began := time.Now()
	require.NoError(t, caller.Send(t.Context(), env))
	require.Equal(t, frame{frameEnvelope, env.Raw()}, nextFrame(t, stream))
	require.Less(t, time.Since(began), time.Second)
	require.Eventually(t, func() bool { return d.rings.count() == idleStreams }, 10*time.Second, time.Millisecond)
	require.Equal(t, 1.0, gather.Sum(t, d.registry, prefix+"gave_way_total", "what", "ring"))
	cancel()
	for _, body := range bodies {
		body.Close()
	}
}

// TestAttackOneNetworkTakesAllSeats: strangers of one network connect again and again, hold streams,
// and displace each other. Devices from elsewhere keep theirs.
func TestAttackOneNetworkTakesAllSeats(t *testing.T) {
	env := newEnvelope(t)
	d := open(t, Options{Rooms: granting(), Source: networks, Limits: Limits{Connections: 40, Rings: 20}})
	device := d.dialFrom(t, 200)
	stream := ask(t, device, RingPath, env.Raw())
	nextFrame(t, stream)
	for range 200 {
		writeRequest(t, d.dialFrom(t, 1), RingPath, env.Raw())
	}
	require.Eventually(t, func() bool {
		return gather.Sum(t, d.registry, prefix+"gave_way_total", "what", "connection") > 100 && d.conns.count() <= 40
	}, 10*time.Second, time.Millisecond)
	d.honest(t, env)
	require.NoError(t, device.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	_, err := stream.ReadByte()
	require.ErrorIs(t, err, os.ErrDeadlineExceeded, "the stream stands")
}

// TestAttackPosts: a network posts more than its share, and is told; another one posts.
func TestAttackPosts(t *testing.T) {
	env := newEnvelope(t)
	d := open(t, Options{Rooms: granting(), Source: networks})
	post := func(network byte) int {
		conn := d.dialFrom(t, network)
		defer conn.Close()
		writeRequest(t, conn, PostPath, env.Raw())
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err)
		if response.StatusCode == http.StatusTooManyRequests {
			require.NotEmpty(t, response.Header.Get("Retry-After"))
		}
		return response.StatusCode
	}
	refused := 0
	for range 3 * postBurst {
		if post(1) == http.StatusTooManyRequests {
			refused++
		}
	}
	require.Positive(t, refused)
	require.Equal(t, http.StatusNoContent, post(2))

	p := newPosters()
	now := time.Now()
	for i := range 2 * maxPosters {
		require.True(t, p.allow(whisper.Source(fmt.Sprint(i)), now))
	}
	require.Len(t, p.known, maxPosters)
	require.Equal(t, maxPosters, p.order.Len())
}
