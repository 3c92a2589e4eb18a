package door

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/prometheus/client_golang/prometheus"

	"whisperpush/whisper"
)

// Rooms are the servers that the door leads to. Their methods are called concurrently.
type Rooms interface {
	// Request hands a request to its server, which answers through from. It does not block.
	Request(from *Caller, env *whisper.Envelope)
	// Post puts an envelope on the network, and returns when it is archived. The client gets the error;
	// ErrUnavailable says that it is not the envelope's fault.
	Post(ctx context.Context, env *whisper.Envelope) error
	// Offer returns the server's announcement, an envelope; nil: there is none.
	Offer(ctx context.Context) (*whisper.Envelope, error)
}

// ErrUnavailable says that the same post may succeed later.
var ErrUnavailable = errors.New("door: not now")

// Options of a Door.
type Options struct {
	Rooms Rooms
	// CertFile and KeyFile are the PEM files of TLS, which are read again when they change. Empty: plain HTTP, for
	// this computer or behind a proxy.
	CertFile, KeyFile string
	// ForwardedFor says that connections come from a proxy, which gives the origin of each request in the last
	// address of X-Forwarded-For. This is believed only from addresses of this computer or of a private network.
	ForwardedFor bool
	// MaxRequest and MaxPost bound the bodies of requests and posts, in bytes.
	MaxRequest, MaxPost int
	Limits              Limits
	// App is served at every path that is not the door's; nil: nothing is served there.
	App http.Handler
	// Source returns whom limits count; nil: whisper.SourceOf.
	Source     func(netip.Addr, enode.ID) whisper.Source
	Logger     *slog.Logger
	Registerer prometheus.Registerer // nil: metrics are not registered

	times times // zero: defaultTimes
}

// Door serves from Serve to Close.
type Door struct {
	rooms   Rooms
	app     atomic.Pointer[http.Handler] // *app is nil: nothing is served besides the door
	cert    atomic.Pointer[certificate]  // nil: plain
	log     *slog.Logger
	m       *metrics
	source  func(netip.Addr, enode.ID) whisper.Source
	proxied atomic.Bool
	times   times
	secret  [32]byte // for names of a proxy's clients

	maxRequest, maxPost int64
	conns, answers      *seats
	rings, posts        *seats
	posters             *posters

	tls    *tls.Config // nil: plain
	server *http.Server
	life   context.Context // of answers and rings
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// Settings are the options that a running Door can change, each as in Options.
type Settings struct {
	CertFile, KeyFile string
	ForwardedFor      bool
	Limits            Limits
	App               http.Handler
}

// Prepare checks settings for a running door. The error says what is wrong with them, or what needs a new Door;
// nothing has changed then. apply must be called at most once, and cannot fail. Existing connections stay, and later
// ones are shown the new certificate. Streams above the new limits then end, as when newcomers need their seats.
func (d *Door) Prepare(s Settings) (apply func(), err error) {
	limits, err := s.Limits.withDefaults()
	if err != nil {
		return nil, err
	}
	cert := d.cert.Load()
	switch withTLS := s.CertFile != "" || s.KeyFile != ""; {
	case withTLS != (d.tls != nil):
		return nil, errors.New("the door goes over to HTTPS, or from it to plain HTTP, with a restart alone; restart the node, or put Door.CertFile and Door.KeyFile back")
	case withTLS && (s.CertFile != cert.certFile || s.KeyFile != cert.keyFile):
		if cert, err = openCertificate(s.CertFile, s.KeyFile, d.log); err != nil {
			return nil, err
		}
	}
	return func() {
		d.cert.Store(cert)
		d.app.Store(&s.App)
		d.proxied.Store(s.ForwardedFor)
		d.conns.resize(limits.Connections)
		d.answers.resize(limits.Answers)
		d.rings.resize(limits.Rings)
	}, nil
}

// New checks the options. The error says which file or limit is wrong.
func New(o Options) (*Door, error) {
	limits, err := o.Limits.withDefaults()
	if err != nil {
		return nil, err
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Source == nil {
		o.Source = whisper.SourceOf
	}
	if o.times == (times{}) {
		o.times = defaultTimes
	}
	m := newMetrics(o.Registerer)
	d := &Door{
		rooms: o.Rooms, log: o.Logger, m: m, source: o.Source, times: o.times,
		maxRequest: int64(o.MaxRequest), maxPost: int64(o.MaxPost),
		conns: newSeats(limits.Connections, m.gaveWay.WithLabelValues("connection")), answers: newSeats(limits.Answers, m.gaveWay.WithLabelValues("answer")),
		rings: newSeats(limits.Rings, m.gaveWay.WithLabelValues("ring")), posts: newSeats(maxPosts, m.gaveWay.WithLabelValues("post")),
		posters: newPosters(),
	}
	d.proxied.Store(o.ForwardedFor)
	d.app.Store(&o.App)
	m.watch(o.Registerer, d)
	rand.Read(d.secret[:])
	if o.CertFile != "" || o.KeyFile != "" {
		cert, err := openCertificate(o.CertFile, o.KeyFile, o.Logger)
		if err != nil {
			return nil, err
		}
		d.cert.Store(cert)
		d.tls = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			return d.cert.Load().get(hello)
		}}
	}
	d.life, d.cancel = context.WithCancel(context.Background())
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(d.tls == nil) // with prior knowledge, as proxies use it
	d.server = &http.Server{
		Handler:           d.handler(),
		TLSConfig:         d.tls,
		Protocols:         &protocols,
		ReadHeaderTimeout: o.times.header,
		IdleTimeout:       o.times.idle,
		MaxHeaderBytes:    maxHeader,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: streamsPerConnection, MaxDecoderHeaderTableSize: headerTable, MaxEncoderHeaderTableSize: headerTable,
			MaxReceiveBufferPerConnection: 256 << 10, MaxReceiveBufferPerStream: 64 << 10,
			SendPingTimeout: o.times.silent, PingTimeout: o.times.gone, WriteByteTimeout: o.times.write,
		},
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, guestOf(c))
		},
		ErrorLog: slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
	}
	return d, nil
}

// Serve accepts connections from l until Close, which closes l. It returns at once.
func (d *Door) Serve(l net.Listener) {
	d.done.Go(func() {
		serve := d.server.Serve
		if d.tls != nil {
			serve = func(l net.Listener) error { return d.server.ServeTLS(l, "", "") }
		}
		if err := serve(&gate{l, d}); !errors.Is(err, http.ErrServerClosed) {
			d.log.Error("the door cannot take connections any more", "err", err)
		}
	})
}

// TLS reports whether the door is served with TLS.
func (d *Door) TLS() bool { return d.tls != nil }

// closeTimeout is how long answers under way may take when the door closes.
const closeTimeout = 2 * time.Second

// Close ends the rings, lets answers finish for a moment, and returns when nothing is left.
func (d *Door) Close() {
	d.cancel()
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if d.server.Shutdown(ctx) != nil {
		d.server.Close()
	}
	d.done.Wait()
}

// guest is a connection with its seat.
type guest struct {
	net.Conn
	door *Door
	id   [32]byte
	addr netip.Addr
	once sync.Once
	seat *seat
}

// Close implements net.Conn.
func (g *guest) Close() error {
	g.once.Do(func() { g.door.conns.free(g.seat) })
	return g.Conn.Close()
}

// gate is a listener that gives each connection its seat.
type gate struct {
	net.Listener
	door *Door
}

// Accept implements net.Listener.
func (l *gate) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	g := &guest{Conn: c, door: l.door}
	if tcp, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		g.addr = tcp.AddrPort().Addr().Unmap()
	}
	if tcp, ok := c.(*net.TCPConn); ok { // an HTTP/1.1 stream has no pings of its own
		tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: l.door.times.silent, Interval: l.door.times.gone / 3, Count: 3})
	}
	rand.Read(g.id[:])
	g.seat = l.door.conns.take(l.door.source(g.addr, g.id), func() { c.Close() })
	return g, nil
}

type connKey struct{}

// guestOf returns our side of a connection, below TLS.
func guestOf(c net.Conn) *guest {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	g, _ := c.(*guest)
	return g
}

// asker returns who sent a request: the connection, or the address that a proxy gives.
func (d *Door) asker(r *http.Request) (id [32]byte, source whisper.Source) {
	g, _ := r.Context().Value(connKey{}).(*guest)
	if g == nil { // not from this server's listener
		rand.Read(id[:])
		return id, d.source(netip.Addr{}, id)
	}
	if d.proxied.Load() && (g.addr.IsLoopback() || g.addr.IsPrivate()) {
		lines := r.Header.Values("X-Forwarded-For")
		if len(lines) > 0 {
			all := lines[len(lines)-1]
			last := strings.TrimSpace(all[strings.LastIndexByte(all, ',')+1:])
			if addr, err := netip.ParseAddr(last); err == nil {
				id = sha256.Sum256(fmt.Appendf(d.secret[:], "%s", addr.Unmap()))
				return id, d.source(addr.Unmap(), id)
			}
		}
	}
	return g.id, d.source(g.addr, g.id)
}

// proveConn notes that a request on a connection belongs to a registration that proved an address.
func (d *Door) proveConn(r *http.Request) {
	if g, _ := r.Context().Value(connKey{}).(*guest); g != nil {
		d.conns.prove(g.seat)
	}
}
