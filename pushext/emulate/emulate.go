// Package emulate runs push services on the loopback interface that are as strict
// as the real ones: they verify credentials, schemas, sizes and signatures,
// answer in the service's own words, and can be told to fail in every way in
// which a push service fails.
//
// It is for everybody who needs a push service at hand: "wnode emulate" runs one
// for an app's author, doctor and demo run one against the node's own provider,
// and so do the tests. Providers do not know of it.
//
// The flow: StartX listens and returns. A test, the demo or an app's author asks
// NewToken for a device. A server under test pushes to URL with the emulator's
// credentials. What the service accepts is recorded (Received) and handed to the
// device (Pushes). Script makes the next answers fail.
//
// The package does not import package testing, so that commands can use it. A
// device in another process uses the control interface below ControlPath
// (control.go).
package emulate

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxReceived = 10_000  // pushes kept for Received; older ones are forgotten
	maxWaiting  = 128     // pushes kept for a device that does not read; the oldest is dropped
	maxDevices  = 200_000 // devices of one emulator
	maxRequest  = 1 << 20 // request body bytes read; the services' own limits are far lower
)

// Push is one notification that the emulated service accepted.
type Push struct {
	At         time.Time     `json:"at"`          // when its request had arrived
	Token      string        `json:"token"`       // device token, or the endpoint's path
	ID         string        `json:"id"`          // the message id: the service's own, or the sender's if it gave one
	Body       []byte        `json:"body"`        // the JSON object as the app gets it
	CollapseID string        `json:"collapse_id"` // collapse key, collapse id or Topic
	TTL        time.Duration `json:"ttl"`         // 0: deliver now or drop
	Urgent     bool          `json:"urgent"`      // wakes a sleeping device
	Visible    bool          `json:"visible"`     // the platform shows an alert by itself
	Header     http.Header   `json:"header"`      // request header without Authorization
	Raw        []byte        `json:"raw"`         // whole request body as it arrived

	Throttled bool `json:"throttled,omitempty"` // held back, because there were too many for its device
	Deleted   bool `json:"deleted,omitempty"`   // not a push: the service tells the app that it dropped all stored pushes
}

// Answer is a scripted reply, or a scripted failure to reply. The zero Answer
// handles one request normally.
type Answer struct {
	Times      int           `json:"times,omitempty"`       // requests it applies to: 0 is one, negative is all
	Status     int           `json:"status,omitempty"`      // HTTP status; 0 is the one that belongs to Code
	Code       string        `json:"code,omitempty"`        // the service's own error code: "UNAVAILABLE", "BadDeviceToken", "80300007"
	Message    string        `json:"message,omitempty"`     // error text; "" is the service's usual one
	RetryAfter string        `json:"retry_after,omitempty"` // Retry-After header, verbatim
	Header     http.Header   `json:"header,omitempty"`      // further reply headers
	Timestamp  time.Time     `json:"timestamp,omitzero"`    // APNs 410: dead since
	Body       []byte        `json:"body,omitempty"`        // reply body, verbatim, instead of the service's
	Delay      time.Duration `json:"delay,omitempty"`       // wait before the reply
	Hang       bool          `json:"hang,omitempty"`        // never reply
	Reset      bool          `json:"reset,omitempty"`       // break the connection instead of a reply
	Accept     bool          `json:"accept,omitempty"`      // deliver the push first, then answer as told
}

// fails reports whether the answer replaces the service's own.
func (a Answer) fails() bool {
	return a.Status != 0 || a.Code != "" || a.Message != "" || a.Body != nil || a.Hang || a.Reset
}

// Service is the part that all emulators share. Its methods are safe for
// concurrent use.
type Service struct {
	url      string
	server   *http.Server
	listener net.Listener // nil: in memory
	secure   bool
	authority
	rules     rules                  // of storing and throttling
	words     vocabulary             // of its answers
	mint      func() string          // a fresh, well-formed device token
	subscribe func() (Device, error) // a fresh device with everything that its app knows; nil: mint is enough

	connections atomic.Int64

	ctx    context.Context // ends with Close; releases hanging requests
	cancel context.CancelFunc
	done   sync.WaitGroup // the serve goroutine and all requests

	mu       sync.Mutex // guards the following fields
	closed   bool
	devices  map[string]*device
	gone     map[string]time.Time // devices that removed the app, and when
	received []Push
	accepted int
	scripts  map[string][]Answer
	watch    func(Push) // sees each accepted push; may be nil
}

// listen prepares a service. Peers may connect, and wait until it serves. handler
// sees every request that is not for the control interface.
func listen(addr string, secure bool, by rules, words vocabulary, mint func() string, handler http.Handler) (*Service, error) {
	var l net.Listener // nil: in memory
	if addr != Memory {
		if addr == "" {
			addr = "127.0.0.1:0"
		}
		var err error
		if l, err = net.Listen("tcp", addr); err != nil {
			return nil, fmt.Errorf("emulate: %w", err)
		}
	}
	s := &Service{rules: by, words: words, mint: mint, devices: make(map[string]*device), gone: make(map[string]time.Time), scripts: make(map[string][]Answer)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	mux := http.NewServeMux()
	mux.Handle("/", handler)
	s.control(mux)
	s.server = &http.Server{
		Handler:           s.guarded(mux),
		ReadHeaderTimeout: 10 * time.Second,
		ConnState:         s.count,
		ErrorLog:          log.New(io.Discard, "", 0), // a peer that resets a connection is not news here
	}
	s.server.Protocols = new(http.Protocols)
	s.server.Protocols.SetHTTP1(true)
	s.server.Protocols.SetHTTP2(true)
	s.server.Protocols.SetUnencryptedHTTP2(true)
	scheme := "http"
	if secure {
		scheme = "https"
	}
	if l == nil {
		s.url = scheme + "://" + memoryHost
		return s, nil
	}
	s.url = scheme + "://" + l.Addr().String()
	if secure {
		var err error
		if s.authority, err = newAuthority(); err != nil {
			l.Close()
			return nil, fmt.Errorf("emulate: %w", err)
		}
		s.server.TLSConfig = s.authority.config()
	}
	s.listener, s.secure = l, secure
	return s, nil
}

// serve begins to answer. By then the emulator that s is part of must be
// complete, because somebody may already have waited at its port, such as a
// server that still has a wake-up to send.
func (s *Service) serve() {
	if s.listener == nil {
		return
	}
	s.done.Go(func() {
		if s.secure {
			_ = s.server.ServeTLS(s.listener, "", "")
		} else {
			_ = s.server.Serve(s.listener)
		}
	})
}

// guarded counts running requests, so that Close can wait for them.
func (s *Service) guarded(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			panic(http.ErrAbortHandler)
		}
		s.done.Add(1)
		s.mu.Unlock()
		defer s.done.Done()
		r.Body = http.MaxBytesReader(w, r.Body, maxRequest)
		h.ServeHTTP(w, r)
	})
}

// content reads the body of a request, at once if its length is known.
func content(r *http.Request) ([]byte, error) {
	if r.ContentLength < 0 || r.ContentLength > maxRequest {
		return io.ReadAll(r.Body)
	}
	raw := make([]byte, r.ContentLength)
	_, err := io.ReadFull(r.Body, raw)
	return raw, err
}

// count counts the open connections.
func (s *Service) count(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.connections.Add(1)
	case http.StateHijacked, http.StateClosed:
		s.connections.Add(-1)
	}
}

// Connections returns how many connections are open. A client that was killed has
// none once everything that it had sent was handled.
func (s *Service) Connections() int { return int(s.connections.Load()) }

// Close stops listening, breaks open connections and waits for all requests.
func (s *Service) Close() {
	s.mu.Lock()
	s.closed = true
	for _, d := range s.devices {
		d.close()
	}
	s.mu.Unlock()
	s.cancel()
	_ = s.server.Close()
	s.done.Wait()
}

// URL returns the base URL, without a trailing slash.
func (s *Service) URL() string { return s.url }

// CertPool returns a pool that trusts the emulator's own certificate authority.
// It is nil without TLS.
func (s *Service) CertPool() *x509.CertPool { return s.pool }

// ClientTLS returns a client configuration that trusts the emulator. It is nil
// without TLS.
func (s *Service) ClientTLS() *tls.Config {
	if s.pool == nil {
		return nil
	}
	return &tls.Config{RootCAs: s.pool, MinVersion: tls.VersionTLS12}
}

// CertificatePEM returns the certificate authority for clients that read a file.
// It is nil without TLS.
func (s *Service) CertificatePEM() []byte { return s.pem }

// NewToken registers a fresh device and returns its token.
func (s *Service) NewToken() string {
	token := s.mint()
	s.Register(token)
	return token
}

// Register makes token a known device. It reports false when the emulator is full.
func (s *Service) Register(token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.devices[token]; ok {
		return true
	}
	if len(s.devices)+len(s.gone) >= maxDevices {
		return false
	}
	delete(s.gone, token)
	s.devices[token] = &device{pushes: make(chan Push, maxWaiting)}
	return true
}

// Unregister makes the service answer as for a device that removed the app.
func (s *Service) Unregister(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.devices[token]; d != nil {
		d.close()
		delete(s.devices, token)
		s.gone[token] = time.Now()
	}
}

// goneSince returns when a device removed the app.
func (s *Service) goneSince(token string) (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.gone[token]
	return at, ok
}

// Pushes returns the channel on which a device's pushes arrive. A device that
// does not read loses the oldest of more than 128 pushes. The channel of an
// unknown token is nil.
func (s *Service) Pushes(token string) <-chan Push {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.devices[token]; d != nil {
		return d.pushes
	}
	return nil
}

// Received returns the latest 10,000 accepted pushes, oldest first.
func (s *Service) Received() []Push {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.received)
}

// Accepted counts all accepted pushes.
func (s *Service) Accepted() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted
}

// Watch calls f with each push as it is accepted, one at a time and before its
// device gets it; nil ends that. f must not call the emulator.
func (s *Service) Watch(f func(Push)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watch = f
}

// Script queues answers for the next pushes to token. If token is "", the answers
// are for any token that has no script of its own. Without answers it clears the
// queue. An answer that Check refuses is given all the same, if HTTP can transmit
// it.
func (s *Service) Script(token string, answers ...Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(answers) == 0 {
		delete(s.scripts, token)
		return
	}
	s.scripts[token] = append(s.scripts[token], answers...)
}

// next takes the scripted answer to a request from the queue.
func (s *Service) next(token string) Answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range []string{token, ""} {
		queue := s.scripts[key]
		if len(queue) == 0 {
			continue
		}
		var a Answer
		a, s.scripts[key] = take(queue)
		return a
	}
	return Answer{}
}

// known reports whether a device is registered.
func (s *Service) known(token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.devices[token]
	return ok
}

// accept records a push and hands it to its device.
func (s *Service) accept(p Push) {
	p.Header = p.Header.Clone()
	p.Header.Del("Authorization")
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.devices[p.Token]
	p.Throttled = d != nil && d.throttled(p, s.rules, time.Now())
	s.accepted++
	s.received = append(s.received, p)
	if len(s.received) > maxReceived {
		s.received = s.received[1:] // the dropped ones are freed when the slice next grows
	}
	if s.watch != nil {
		s.watch(p)
	}
	switch {
	case d == nil:
	case p.Throttled:
		s.hold(d, p)
	default:
		d.take(p, s.rules)
	}
}

// perform carries out the parts of a scripted answer that are the same for every
// service. It does not return if there must be no reply.
func (s *Service) perform(w http.ResponseWriter, r *http.Request, a Answer) {
	if a.Delay > 0 {
		timer := time.NewTimer(a.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
		case <-s.ctx.Done():
		}
	}
	if a.Hang {
		select {
		case <-r.Context().Done():
		case <-s.ctx.Done():
		}
		panic(http.ErrAbortHandler)
	}
	if a.Reset {
		if h, ok := w.(http.Hijacker); ok { // HTTP/1.1: a TCP reset
			if conn, _, err := h.Hijack(); err == nil {
				if secure, ok := conn.(*tls.Conn); ok {
					conn = secure.NetConn()
				}
				if tcp, ok := conn.(*net.TCPConn); ok {
					_ = tcp.SetLinger(0)
				}
				conn.Close()
				return
			}
		}
		panic(http.ErrAbortHandler) // HTTP/2: a stream reset
	}
	for name, values := range a.Header {
		w.Header()[http.CanonicalHeaderKey(name)] = values
	}
	if a.RetryAfter != "" {
		w.Header().Set("Retry-After", a.RetryAfter)
	}
	if a.Body != nil {
		if a.Status != 0 {
			w.WriteHeader(a.Status)
		}
		_, _ = w.Write(a.Body)
	}
}

// answered reports whether perform has replied completely.
func (a Answer) answered() bool { return a.Reset || a.Body != nil }

// text returns n random characters of base64url.
func text(n int) string {
	raw := make([]byte, n)
	rand.Read(raw) // never fails
	return base64.RawURLEncoding.EncodeToString(raw)[:n]
}
