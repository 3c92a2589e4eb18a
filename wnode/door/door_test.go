package door

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"golang.org/x/net/http2"
	"whisperpush/whisper"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// house is rooms that a test answers for.
type house struct {
	request func(from *Caller, env *whisper.Envelope)
	post    func(ctx context.Context, env *whisper.Envelope) error
	offer   *whisper.Envelope
}

func (h *house) Request(from *Caller, env *whisper.Envelope) { h.request(from, env) }
func (h *house) Post(ctx context.Context, env *whisper.Envelope) error {
	return h.post(ctx, env)
}
func (h *house) Offer(context.Context) (*whisper.Envelope, error) { return h.offer, nil }

// granting answers each request with its own envelope, and grants it.
func granting() *house {
	return &house{
		request: func(from *Caller, env *whisper.Envelope) {
			go func() {
				defer from.Answered()
				from.Useful()
				from.Send(context.Background(), env)
			}()
		},
		post: func(context.Context, *whisper.Envelope) error { return nil },
	}
}

func newEnvelope(t testing.TB) *whisper.Envelope {
	t.Helper()
	env, err := whisper.Seal(t.Context(), whisper.Draft{Payload: []byte("a request"), Key: make([]byte, 32)})
	require.NoError(t, err)
	return env
}

// opened is a door on the loopback interface.
type opened struct {
	*Door
	addr     string
	registry *prometheus.Registry
}

func open(t testing.TB, o Options) *opened {
	t.Helper()
	registry := prometheus.NewRegistry()
	o.Registerer = registry
	if o.MaxRequest == 0 {
		o.MaxRequest, o.MaxPost = 64<<10, 1<<20
	}
	d, err := New(o)
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	d.Serve(l)
	t.Cleanup(d.Close)
	return &opened{d, l.Addr().String(), registry}
}

// plainClient speaks HTTP/1.1 and keeps no connection.
func plainClient(t testing.TB) *http.Client {
	transport := &http.Transport{DisableKeepAlives: true, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func (o *opened) url(path string) string { return "http://" + o.addr + path }

func nextFrame(t testing.TB, r io.Reader) frame {
	t.Helper()
	f, err := readFrame(r)
	require.NoError(t, err)
	return f
}

func readFrame(r io.Reader) (frame, error) {
	head := make([]byte, 5)
	if _, err := io.ReadFull(r, head); err != nil {
		return frame{}, err
	}
	body := make([]byte, binary.BigEndian.Uint32(head[1:]))
	_, err := io.ReadFull(r, body)
	return frame{head[0], body}, err
}

// An answer comes frame by frame, as it is found, and ends when it is complete.
func TestAnswerIsStreamed(t *testing.T) {
	env, more := newEnvelope(t), make(chan struct{})
	heard := make(chan *whisper.Envelope, 1)
	d := open(t, Options{Rooms: &house{request: func(from *Caller, env *whisper.Envelope) {
		heard <- env
		go func() {
			defer from.Answered()
			from.Send(context.Background(), env, env)
			<-more
			from.SendBatch(context.Background(), []*whisper.Envelope{env})
			from.Complete(context.Background(), []byte("the end"))
		}()
	}}})
	response, err := plainClient(t).Post(d.url(RequestPath), "", bytes.NewReader(env.Raw()))
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, http.StatusOK, response.StatusCode)
	require.Equal(t, env.Raw(), (<-heard).Raw(), "the same bytes as over devp2p")
	for range 2 {
		require.Equal(t, frame{frameEnvelope, env.Raw()}, nextFrame(t, response.Body))
	}
	close(more) // only now: the first frames did not wait for the others
	require.Equal(t, frame{frameEnvelope, env.Raw()}, nextFrame(t, response.Body))
	require.Equal(t, frame{frameComplete, []byte("the end")}, nextFrame(t, response.Body))
	_, err = response.Body.Read(make([]byte, 1))
	require.Equal(t, io.EOF, err)
}

// A ring stream stands after the answer, says so, carries rings, and is known to be gone when it
// is.
func TestRingStream(t *testing.T) {
	env := newEnvelope(t)
	callers := make(chan *Caller, 1)
	h := granting()
	answer := h.request
	h.request = func(from *Caller, env *whisper.Envelope) {
		callers <- from
		answer(from, env)
	}
	brisk := defaultTimes
	brisk.alive = 20 * time.Millisecond
	d := open(t, Options{Rooms: h, times: brisk})
	response, err := plainClient(t).Post(d.url(RingPath), "", bytes.NewReader(env.Raw()))
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, byte(frameEnvelope), nextFrame(t, response.Body).kind)
	caller := <-callers
	require.True(t, caller.Stays())
	for range 2 {
		require.Equal(t, frame{frameNothing, []byte{}}, nextFrame(t, response.Body))
	}
	require.NoError(t, caller.Send(t.Context(), env))
	for {
		if f := nextFrame(t, response.Body); f.kind != frameNothing {
			require.Equal(t, frame{frameEnvelope, env.Raw()}, f)
			break
		}
	}
	require.True(t, caller.Up())
	response.Body.Close()
	require.Eventually(t, func() bool { return !caller.Up() }, 10*time.Second, time.Millisecond)
	require.Error(t, caller.Send(t.Context(), env))
	require.Eventually(t, func() bool { return d.rings.count() == 0 }, 10*time.Second, time.Millisecond)
}

// A stream on which nothing is said for longer than one write may take goes on.
func TestQuietRingStream(t *testing.T) {
	quiet := defaultTimes
	quiet.write, quiet.alive = 50*time.Millisecond, 200*time.Millisecond
	d := open(t, Options{Rooms: granting(), times: quiet})
	http2 := &http2.Transport{AllowHTTP: true, DialTLSContext: func(ctx context.Context, network, addr string, _ *tls.Config) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, addr)
	}}
	t.Cleanup(http2.CloseIdleConnections)
	for name, client := range map[string]*http.Client{"HTTP/1.1": plainClient(t), "HTTP/2": {Transport: http2}} {
		t.Run(name, func(t *testing.T) {
			response, err := client.Post(d.url(RingPath), "", bytes.NewReader(newEnvelope(t).Raw()))
			require.NoError(t, err)
			defer response.Body.Close()
			require.Equal(t, byte(frameEnvelope), nextFrame(t, response.Body).kind)
			for range 3 {
				require.Equal(t, byte(frameNothing), nextFrame(t, response.Body).kind)
			}
		})
	}
}

// A client whose request is not granted holds no stream.
func TestStrangersRingStreamEnds(t *testing.T) {
	h := granting()
	h.request = func(from *Caller, env *whisper.Envelope) {
		go func() {
			defer from.Answered()
			from.Send(context.Background(), env)
		}()
	}
	d := open(t, Options{Rooms: h})
	response, err := plainClient(t).Post(d.url(RingPath), "", bytes.NewReader(newEnvelope(t).Raw()))
	require.NoError(t, err)
	defer response.Body.Close()
	nextFrame(t, response.Body)
	_, err = response.Body.Read(make([]byte, 1))
	require.Equal(t, io.EOF, err)
}

// An answer that breaks off does not look complete.
func TestBrokenAnswerShows(t *testing.T) {
	gone := defaultTimes
	gone.answer = 50 * time.Millisecond
	d := open(t, Options{times: gone, Rooms: &house{request: func(from *Caller, env *whisper.Envelope) {
		go from.Send(context.Background(), env) // and it is never answered
	}}})
	response, err := plainClient(t).Post(d.url(RequestPath), "", bytes.NewReader(newEnvelope(t).Raw()))
	require.NoError(t, err)
	defer response.Body.Close()
	_, err = io.ReadAll(response.Body)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

func TestRefusals(t *testing.T) {
	env := newEnvelope(t)
	h := granting()
	d := open(t, Options{Rooms: h, MaxRequest: 1 << 10, MaxPost: 2 << 10})
	client := plainClient(t)
	for name, c := range map[string]struct {
		method, path string
		body         io.Reader
		header       string
		post         error
		status       int
	}{
		"a request":                   {"POST", RequestPath, bytes.NewReader(env.Raw()), "", nil, 200},
		"no body":                     {"POST", RequestPath, nil, "", nil, 411},
		"no envelope":                 {"POST", RequestPath, strings.NewReader("nothing"), "", nil, 400},
		"another method":              {"GET", RequestPath, nil, "", nil, 405},
		"too long a request":          {"POST", RequestPath, bytes.NewReader(make([]byte, 1<<10+1)), "", nil, 413},
		"too long a ring":             {"POST", RingPath, bytes.NewReader(make([]byte, 1<<10+1)), "", nil, 413},
		"too long a post":             {"POST", PostPath, bytes.NewReader(make([]byte, 2<<10+1)), "", nil, 413},
		"compressed":                  {"POST", RequestPath, bytes.NewReader(env.Raw()), "gzip", nil, 415},
		"said not to be compressed":   {"POST", RequestPath, bytes.NewReader(env.Raw()), "identity", nil, 415},
		"a length that is not told":   {"POST", RequestPath, io.MultiReader(bytes.NewReader(env.Raw())), "", nil, 411},
		"a post":                      {"POST", PostPath, bytes.NewReader(env.Raw()), "", nil, 204},
		"a post that is refused":      {"POST", PostPath, bytes.NewReader(env.Raw()), "", whisper.ErrExpired, 422},
		"a post that is not in order": {"POST", PostPath, bytes.NewReader(env.Raw()), "", errors.Join(ErrUnavailable, io.EOF), 503},
		"an offer that is not there":  {"GET", OfferPath, nil, "", nil, 404},
		"another path":                {"GET", "/", nil, "", nil, 404},
	} {
		t.Run(name, func(t *testing.T) {
			h.post = func(context.Context, *whisper.Envelope) error { return c.post }
			request, err := http.NewRequestWithContext(t.Context(), c.method, d.url(c.path), c.body)
			require.NoError(t, err)
			if c.header != "" {
				request.Header.Set("Content-Encoding", c.header)
			}
			response, err := client.Do(request)
			require.NoError(t, err)
			text, err := io.ReadAll(response.Body)
			require.NoError(t, err)
			response.Body.Close()
			require.Equal(t, c.status, response.StatusCode, "%s", text)
			require.NotContains(t, string(text), "EOF", "what is wrong inside is nobody's business")
			require.Empty(t, response.Cookies())
		})
	}
}

// A page of any origin may ask, and read what it is told; it brings no credentials, for which
// there is nothing to give.
func TestAnyOriginMayAsk(t *testing.T) {
	h := granting()
	h.offer = newEnvelope(t)
	d := open(t, Options{Rooms: h})
	client := plainClient(t)
	for path, method := range map[string]string{OfferPath: "GET", RequestPath: "POST", RingPath: "POST", PostPath: "POST"} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, d.url(path), nil)
		require.NoError(t, err)
		request.Header.Set("Origin", "https://app.example")
		request.Header.Set("Access-Control-Request-Method", method)
		response, err := client.Do(request)
		require.NoError(t, err)
		response.Body.Close()
		require.Equal(t, http.StatusNoContent, response.StatusCode)
		require.Equal(t, "*", response.Header.Get("Access-Control-Allow-Origin"))
		require.Equal(t, method, response.Header.Get("Access-Control-Allow-Methods"))
		require.Empty(t, response.Header.Get("Access-Control-Allow-Credentials"))
	}
	response, err := client.Get(d.url(OfferPath))
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, h.offer.Raw(), body)
	require.Equal(t, "*", response.Header.Get("Access-Control-Allow-Origin"))
}

// Behind a proxy each client counts by itself, by what the proxy says; without the setting, and
// from the internet, what is said is not believed.
func TestForwardedFor(t *testing.T) {
	for _, believed := range []bool{true, false} {
		var mu sync.Mutex
		var sources []whisper.Source
		h := granting()
		answer := h.request
		h.request = func(from *Caller, env *whisper.Envelope) {
			mu.Lock()
			sources = append(sources, from.Source())
			mu.Unlock()
			answer(from, env)
		}
		d := open(t, Options{Rooms: h, ForwardedFor: believed})
		for _, header := range []string{"203.0.113.7", "198.51.100.1, 203.0.113.99", "2001:db8:1::1", "nonsense"} {
			request, err := http.NewRequestWithContext(t.Context(), "POST", d.url(RequestPath), bytes.NewReader(newEnvelope(t).Raw()))
			require.NoError(t, err)
			request.Header.Set("X-Forwarded-For", header)
			response, err := plainClient(t).Do(request)
			require.NoError(t, err)
			io.Copy(io.Discard, response.Body)
			response.Body.Close()
		}
		require.Len(t, sources, 4)
		if believed {
			require.Equal(t, []whisper.Source{"203.0.113.0/24", "203.0.113.0/24", "2001:db8:1::/48"}, sources[:3])
		} else {
			require.NotEqual(t, sources[0], sources[1])
			require.NotContains(t, sources, whisper.Source("203.0.113.0/24"))
		}
	}
}

// When the door closes, rings end as they should and nobody is left.
func TestCloseEndsRings(t *testing.T) {
	d := open(t, Options{Rooms: granting()})
	response, err := plainClient(t).Post(d.url(RingPath), "", bytes.NewReader(newEnvelope(t).Raw()))
	require.NoError(t, err)
	defer response.Body.Close()
	nextFrame(t, response.Body)
	began := time.Now()
	d.Close()
	require.Less(t, time.Since(began), closeTimeout)
	_, err = response.Body.Read(make([]byte, 1))
	require.Equal(t, io.EOF, err)
}

// networks has tests on the loopback interface come from networks of their own: 127.x.y.z is of
// the network x.
func networks(addr netip.Addr, _ enode.ID) whisper.Source {
	return whisper.Source(netip.AddrFrom4([4]byte{127, addr.As4()[1]}).String())
}

// dialFrom connects from 127.network.0.1.
func (o *opened) dialFrom(t testing.TB, network byte) net.Conn {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, network, 0, 1)}}
	conn, err := dialer.DialContext(t.Context(), "tcp", o.addr)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

// ask writes a request by hand and returns what is read of the answer.
func ask(t testing.TB, conn net.Conn, path string, body []byte) *bufio.Reader {
	t.Helper()
	writeRequest(t, conn, path, body)
	reader := bufio.NewReader(conn)
	response, err := http.ReadResponse(reader, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, response.StatusCode)
	return bufio.NewReader(response.Body)
}

func writeRequest(t testing.TB, conn net.Conn, path string, body []byte) {
	t.Helper()
	request, err := http.NewRequest("POST", "http://door"+path, bytes.NewReader(body))
	require.NoError(t, err)
	require.NoError(t, request.Write(conn))
}
