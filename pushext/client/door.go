package client

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p/enode"

	"whisperpush/mailserver/mailclient"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// The door of a mailserver is docs/protocol.md, section 14: the same envelopes over HTTPS.
const (
	doorOffer   = "/.well-known/whisperpush"
	doorRequest = "/whisperpush/request"
	doorRing    = "/whisperpush/ring"
	doorPost    = "/whisperpush/post"

	// Kinds of frames: the codes of the packets whose content they carry.
	frameAlive    = 0
	frameComplete = 125
	frameDirect   = 127

	// maxFrame is the longest frame in bytes: the largest envelope that a node passes on,
	// plus the RLP around it.
	maxFrame = 10<<20 + 1<<10
	// maxRingFrame is the longest frame of a ring stream, where a reply is the longest
	// content.
	maxRingFrame = 128 << 10
	// maxAnswer bounds all frames of an answer together. A mailserver sends 4 MiB, or one
	// envelope that is larger.
	maxAnswer = 16 << 20
	// maxOffer is the longest offer.
	maxOffer = 64 << 10
	// maxRefusal is how much is read of the text of a door's refusal.
	maxRefusal = 512
	// aliveWithin is the silence after which a ring stream ends; the server sends
	// something every 25 s.
	aliveWithin = time.Minute
)

// errPostRefused says that a door does not accept an envelope, however often it is sent.
var errPostRefused = errors.New("the server does not take the message")

// doorPeer is a session's name for a server behind a door.
var doorPeer = enode.ID{'d', 'o', 'o', 'r'}

// CheckServer says what is wrong with a Config.Server before there is a device.
func CheckServer(server string) error {
	_, err := parseEndpoint(server, nil, nil)
	return err
}

// parseEndpoint reads Config.Server.
func parseEndpoint(server string, pushKey *ecdsa.PublicKey, over http.RoundTripper) (endpoint, error) {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" {
		node, err := enode.ParseV4(server)
		if err != nil {
			return nil, fmt.Errorf("client: mailserver %.40q is neither an enode URL nor the https URL of a door: %w", server, err)
		}
		return nodeEndpoint{node}, nil
	}
	if u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("client: the URL of a door is https://HOST or https://HOST:PORT, and nothing else")
	}
	if ip := net.ParseIP(u.Hostname()); u.Scheme == "http" && u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("client: the door %.40q has to be https; http is for this computer alone", u.Scheme+"://"+u.Host)
	}
	if over == nil {
		over = &http.Transport{
			Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, DisableCompression: true,
			TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(1), CurvePreferences: doorCurves()},
			TLSHandshakeTimeout: attemptTimeout, MaxResponseHeaderBytes: 64 << 10,
		}
	}
	return &door{origin: u.Scheme + "://" + u.Host, pushKey: pushKey, client: &http.Client{
		Transport:     over,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// doorCurves are the key agreements for a door's connections. ML-KEM would cost another
// 2.3 kB each time, more than a preview, though the envelopes inside are encrypted without
// it. With a session ticket, the next connection needs no certificates either.
func doorCurves() []tls.CurveID { return []tls.CurveID{tls.X25519, tls.CurveP256} }

// door is an endpoint over HTTPS. It reuses its connections as long as they stand.
type door struct {
	origin string
	client *http.Client

	mu      sync.Mutex       // guards the following
	pushKey *ecdsa.PublicKey // of the mailserver
	server  *mailclient.Server
}

func (d *door) peer() enode.ID { return doorPeer }

func (d *door) goOn(pushKey *ecdsa.PublicKey) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pushKey = pushKey
}

func (d *door) rest() { d.client.CloseIdleConnections() }

// dial makes a road. It sends nothing: the first request shows whether the server answers.
func (d *door) dial(_ context.Context, handler whisper.DirectHandler, _ *slog.Logger) (road, error) {
	r := &doorRoad{door: d, handler: handler}
	r.alive, r.end = context.WithCancelCause(context.Background())
	return r, nil
}

// ask sends a request, and returns the answer once its head has arrived. The answer's body
// ends with ctx.
func (d *door) ask(ctx context.Context, method, path string, env *whisper.Envelope) (*http.Response, error) {
	var body io.Reader
	if env != nil {
		body = bytes.NewReader(env.Raw()) // so that its length is sent
	}
	request, err := http.NewRequestWithContext(ctx, method, d.origin+path, body)
	if err != nil {
		return nil, err
	}
	request.Header.Set("User-Agent", "") // so that devices look alike
	response, err := d.client.Do(request)
	if err != nil {
		if inner := new(url.Error); errors.As(err, &inner) {
			err = inner.Err // without the URL
		}
		return nil, fmt.Errorf("reaching the door of the mailserver: %w", err)
	}
	return response, nil
}

// refused turns an answer other than the expected one into an error, and closes it.
func refused(response *http.Response) error {
	defer response.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(response.Body, maxRefusal)) // as much as arrives
	return fmt.Errorf("the door of the mailserver answers %d: %q", response.StatusCode, bytes.TrimSpace(said))
}

// node asks for the server's offer once, for the node key and the required work in it.
func (d *door) node(ctx context.Context) (mailclient.Server, error) {
	d.mu.Lock()
	server, pushKey := d.server, d.pushKey
	d.mu.Unlock()
	if server != nil {
		return *server, nil
	}
	response, err := d.ask(ctx, http.MethodGet, doorOffer, nil)
	if err != nil {
		return mailclient.Server{}, err
	}
	if response.StatusCode != http.StatusOK {
		return mailclient.Server{}, refused(response)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(response.Body, maxOffer+1))
	if err != nil {
		return mailclient.Server{}, fmt.Errorf("reading the offer of the mailserver: %w", err)
	}
	server, err = readServer(raw, pushKey)
	if err != nil {
		return mailclient.Server{}, fmt.Errorf("the offer of the mailserver: %w", err)
	}
	d.mu.Lock()
	d.server = server
	d.mu.Unlock()
	return *server, nil
}

// readServer reads an offer that must belong to a push key. The offer's times do not
// matter: a phone's clock may show anything, and a node key stays.
func readServer(raw []byte, pushKey *ecdsa.PublicKey) (*mailclient.Server, error) {
	if len(raw) > maxOffer {
		return nil, fmt.Errorf("it has more than %d bytes", maxOffer)
	}
	env, err := whisper.DecodeEnvelope(raw)
	if err != nil {
		return nil, err
	}
	offer, signer, err := pushwire.OpenOffer(env)
	if err != nil {
		return nil, err
	}
	follows, err := offer.PushKey(signer)
	if err != nil {
		return nil, err
	}
	if !signer.Equal(pushKey) && !bytes.Equal(follows, crypto.CompressPubkey(pushKey)) {
		return nil, errors.New("it is of another push key than the one that was given")
	}
	node, err := enode.Parse(enode.ValidSchemes, offer.Enode)
	if err != nil {
		return nil, fmt.Errorf("it names no node: %w", err)
	}
	return &mailclient.Server{ID: doorPeer, PublicKey: node.Pubkey(), PoW: min(offer.Limits.PoW, maxPoW)}, nil
}

// doorRoad is a road through a door. Each request is a stream of its own. The road ends
// when its ring stream ends or an answer breaks off.
type doorRoad struct {
	door    *door
	handler whisper.DirectHandler
	alive   context.Context
	end     context.CancelCauseFunc
	wg      sync.WaitGroup // readers of answers

	mu      sync.Mutex // guards the following
	closed  bool
	ringing bool // there is a ring stream
}

var errBrokeOff = errors.New("the answer of the mailserver broke off")

// SendRequest implements mailclient.Node. A request that does not get through ends the
// road, as it would end a link: the caller dials again and retries.
func (r *doorRoad) SendRequest(ctx context.Context, _ enode.ID, env *whisper.Envelope) error {
	ended := func(err error) {
		if err != nil {
			r.end(err)
		}
	}
	err := r.send(ctx, doorRequest, env, maxFrame, maxAnswer, ended)
	ended(err)
	return err
}

// show opens a ring stream if there is none.
func (r *doorRoad) show(ctx context.Context, env *whisper.Envelope) error {
	r.mu.Lock()
	ringing := r.ringing
	r.ringing = true
	r.mu.Unlock()
	if ringing {
		return r.SendRequest(ctx, doorPeer, env)
	}
	err := r.send(ctx, doorRing, env, maxRingFrame, 0, func(err error) {
		if err == nil {
			err = errors.New("the mailserver has ended the ring stream")
		}
		r.end(err)
	})
	if err != nil {
		r.mu.Lock()
		r.ringing = false
		r.mu.Unlock()
	}
	return err
}

// send sends a request, has its answer handed over as it arrives, and reports to ended how
// it ended. most bounds a frame, and all bounds the whole answer; 0 is no bound, for a
// stream on which something arrives now and then.
func (r *doorRoad) send(ctx context.Context, path string, env *whisper.Envelope, most, all int64, ended func(error)) error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return context.Cause(r.alive)
	}
	r.wg.Add(1)
	r.mu.Unlock()
	answer, cancel := context.WithCancelCause(r.alive)
	stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) }) // until the head is there
	response, err := r.door.ask(answer, http.MethodPost, path, env)
	if err == nil && response.StatusCode != http.StatusOK {
		err = refused(response)
	}
	if !stop() && err == nil {
		response.Body.Close()
		err = context.Cause(ctx)
	}
	if err != nil {
		cancel(nil)
		r.wg.Done()
		return err
	}
	go func() {
		defer r.wg.Done()
		defer cancel(nil)
		defer response.Body.Close()
		if all > 0 {
			ended(r.read(response.Body, most, all))
			return
		}
		silence := time.AfterFunc(aliveWithin, func() { cancel(errors.New("the mailserver has fallen silent")) })
		defer silence.Stop()
		ended(r.read(stirred{response.Body, silence}, most, 1<<62))
	}()
	return nil
}

// stirred is a stream that ends when nothing arrives for a while.
type stirred struct {
	io.Reader
	silence *time.Timer
}

func (s stirred) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if n > 0 {
		s.silence.Reset(aliveWithin)
	}
	return n, err
}

// read hands over the frames of an answer until its end.
func (r *doorRoad) read(answer io.Reader, most, all int64) error {
	for {
		kind, content, err := readFrame(answer, min(most, all))
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("%w: %w", errBrokeOff, err)
		}
		all -= int64(len(content))
		switch kind {
		case frameComplete:
			r.handler.HandleRequestComplete(doorPeer, content)
		case frameDirect:
			if env, err := whisper.DecodeEnvelope(content); err == nil {
				r.handler.HandleDirect(doorPeer, env)
				continue
			}
			envelopes, _, err := whisper.DecodeEnvelopes(content)
			if err != nil {
				return fmt.Errorf("%w: a frame of no envelopes: %w", errBrokeOff, err)
			}
			for _, env := range envelopes {
				r.handler.HandleDirect(doorPeer, env)
			}
		}
	}
}

// readFrame reads a frame: kind, length, content. io.EOF says that the answer ended
// completely. Memory grows with what arrives, not with what a length promises.
func readFrame(answer io.Reader, most int64) (kind byte, content []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(answer, head[:]); err != nil {
		return 0, nil, err
	}
	size := int64(binary.BigEndian.Uint32(head[1:]))
	if size > most {
		return 0, nil, fmt.Errorf("a frame of %d bytes, and at most %d are taken", size, most)
	}
	var b bytes.Buffer
	n, err := b.ReadFrom(io.LimitReader(answer, size))
	if err == nil && n < size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return 0, nil, err
	}
	return head[0], b.Bytes(), nil
}

func (r *doorRoad) post(ctx context.Context, env *whisper.Envelope) (archived bool, err error) {
	response, err := r.door.ask(ctx, http.MethodPost, doorPost, env)
	if err != nil {
		return false, err
	}
	if response.StatusCode == http.StatusUnprocessableEntity {
		return false, fmt.Errorf("%w: %w", errPostRefused, refused(response))
	}
	if response.StatusCode != http.StatusNoContent {
		return false, refused(response)
	}
	return true, response.Body.Close()
}

func (r *doorRoad) mailserver(ctx context.Context, key []byte) (mailclient.Server, error) {
	server, err := r.door.node(ctx)
	if key != nil {
		server.Key, server.PublicKey = key, nil
	}
	return server, err
}

func (r *doorRoad) life() context.Context { return r.alive }

func (r *doorRoad) up() bool { return r.alive.Err() == nil }

// close ends everything under way, and returns when nothing reads any more.
func (r *doorRoad) close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.end(errors.New("the connection was closed"))
	r.wg.Wait()
}
