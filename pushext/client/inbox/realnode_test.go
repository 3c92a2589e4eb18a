package inbox

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/p2p/enode"

	"whisperpush/durable"
	"whisperpush/mailserver"
	"whisperpush/mailserver/archive"
	"whisperpush/pushext"
	"whisperpush/pushext/client"
	"whisperpush/pushext/fcm"
	"whisperpush/pushext/pushserver"
	"whisperpush/pushext/pushwire"
	"whisperpush/testutil/archivelog"
	"whisperpush/whisper"
	"whisperpush/wnode/door"
)

// realNode is the process of a server.
type realNode struct {
	w        *realServer
	archive  *archive.Archive
	push     *pushserver.Server
	mail     *mailserver.Server
	door     *door.Door
	listener *pipes
	offer    *whisper.Envelope

	mu   sync.Mutex
	dead bool // its power was cut
}

var diskKey = bytes.Repeat([]byte{7}, pushserver.DiskKeySize)

func startNode(w *realServer) (n *realNode, err error) {
	n = &realNode{w: w, archive: w.archive, listener: newPipes()}
	store, err := durable.Open("push", durable.Options{Storage: w.disk.Store("push"), WriteBuffer: 64 << 10, BlockCache: 64 << 10})
	if err != nil {
		return nil, err
	}
	provider, err := fcm.New(fcm.Config{
		Endpoint: "http://127.0.0.1/v1", TokenURL: "http://127.0.0.1/token", CredentialsJSON: w.h.cast.account,
		HTTPClient: &http.Client{Transport: platformTransport{n}},
	})
	if err != nil {
		return nil, err
	}
	log := archivelog.Log{Archive: n.archive}
	n.push, err = pushserver.New(pushserver.Config{
		Store: store, PushKey: w.h.cast.push, DiskKey: diskKey, Log: log, Envelopes: log, Sender: noPeers{},
		Providers: []pushext.Provider{provider}, Limits: pushserver.Limits{PoW: -1, PeerRate: 1e6, PeerBurst: 1e6},
		Delivery: pushserver.Delivery{SilentAfter: -1}, // a phone of a history may leave any number unfetched
	})
	if err != nil {
		return nil, err
	}
	if n.mail, err = mailserver.NewServer(mailserver.ServerConfig{Store: n.archive, Sender: noPeers{}, Identity: w.h.cast.node}); err != nil {
		return nil, err
	}
	self := enode.NewV4(&w.h.cast.node.PublicKey, net.IPv4(127, 0, 0, 1), 30303, 30303)
	n.offer, err = pushwire.SealOffer(context.Background(), pushwire.Offer{
		Issued: uint64(time.Now().Unix()), Expires: uint64(time.Now().Add(24 * time.Hour).Unix()), Enode: self.URLv4(),
		Providers: []pushwire.ProviderOffer{{Name: "fcm"}}, Limits: n.push.Limits(),
	}, w.h.cast.push, time.Hour, 0)
	if err != nil {
		return nil, err
	}
	n.door, err = door.New(door.Options{
		Rooms: n, MaxRequest: pushwire.MaxData + 64, MaxPost: 1 << 20,
		Source: func(_ netip.Addr, id enode.ID) whisper.Source { return whisper.Source(id[:]) },
	})
	if err != nil {
		return nil, err
	}
	if err := n.push.Start(context.Background()); err != nil {
		return nil, err
	}
	n.mail.Start()
	n.door.Serve(n.listener)
	return n, nil
}

// cut has nothing leave the server any more.
func (n *realNode) cut() {
	n.mu.Lock()
	n.dead = true
	n.mu.Unlock()
	n.listener.Close()
	n.listener.cut()
}

func (n *realNode) isDead() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dead
}

// stop stops what runs in the process.
func (n *realNode) stop() {
	n.door.Close()
	n.listener.cut()
	n.mail.Stop()
	_ = n.push.Stop(context.Background())
}

// archived archives an envelope.
func (n *realNode) archived(ctx context.Context, e *whisper.Envelope) error {
	done := make(chan error, 1)
	n.archive.Archive(ctx, []*whisper.Envelope{e}, func(err error) { done <- err })
	return <-done
}

// Request implements door.Rooms.
func (n *realNode) Request(from *door.Caller, env *whisper.Envelope) {
	if env.Topic == pushwire.Topic() {
		n.push.HandleCall(from, env)
		return
	}
	n.mail.Handle(from, env)
}

// Post implements door.Rooms.
func (n *realNode) Post(ctx context.Context, e *whisper.Envelope) error {
	n.w.mu.Lock()
	n.w.offered = append(n.w.offered, e)
	n.w.mu.Unlock()
	return n.archived(ctx, e)
}

// Offer implements door.Rooms.
func (n *realNode) Offer(context.Context) (*whisper.Envelope, error) { return n.offer, nil }

// noPeers are the peers of devp2p: there are none.
type noPeers struct{}

func (noPeers) SendDirect(context.Context, enode.ID, ...*whisper.Envelope) error {
	return whisper.ErrNotConnected
}
func (noPeers) SendDirectBatch(context.Context, enode.ID, []*whisper.Envelope) error {
	return whisper.ErrNotConnected
}
func (noPeers) SendRequestComplete(context.Context, enode.ID, []byte) error {
	return whisper.ErrNotConnected
}
func (noPeers) Useful(enode.ID)                   {}
func (noPeers) Proved(enode.ID)                   {}
func (noPeers) Answered(enode.ID)                 {}
func (noPeers) Connected(enode.ID) bool           { return false }
func (noPeers) Source(id enode.ID) whisper.Source { return whisper.Source(id[:]) }

// pipes is a listener of connections in memory.
type pipes struct {
	calls chan net.Conn
	over  chan struct{}
	once  sync.Once

	mu    sync.Mutex
	conns []net.Conn
}

func newPipes() *pipes { return &pipes{calls: make(chan net.Conn), over: make(chan struct{})} }

func (l *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.calls:
		return c, nil
	case <-l.over:
		return nil, net.ErrClosed
	}
}

func (l *pipes) Close() error {
	l.once.Do(func() { close(l.over) })
	return nil
}

func (l *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 443} }

// cut ends all connections.
func (l *pipes) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		c.Close()
	}
	l.conns = nil
}

// dial connects a phone with the server, if it is up.
func (w *realServer) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	w.mu.Lock()
	node := w.node
	w.mu.Unlock()
	if node == nil {
		return nil, errNetwork
	}
	ours, theirs := net.Pipe()
	node.listener.mu.Lock()
	node.listener.conns = append(node.listener.conns, ours, theirs)
	node.listener.mu.Unlock()
	select {
	case node.listener.calls <- theirs:
		return ours, nil
	case <-node.listener.over:
		return nil, errNetwork
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// phoneTransport is a phone's network: it may be away, and the process may end before it
// asks and behind the answer.
type phoneTransport struct{ d *realDevice }

func (t phoneTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := t.d.p.step(); err != nil {
		return nil, err
	}
	if t.d.p.offline {
		return nil, errNetwork
	}
	response, err := t.d.transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(response.Body)
	response.Body.Close()
	if err := t.d.p.step(); err != nil {
		return nil, err
	}
	if err != nil {
		return nil, err
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	return response, nil
}

// CloseIdleConnections is what http.Client.CloseIdleConnections calls.
func (t phoneTransport) CloseIdleConnections() { t.d.transport.CloseIdleConnections() }

// platform is Firebase. What it takes is on its way to a phone.
type platform struct {
	w *realServer

	mu    sync.Mutex
	fails int  // of the next messages
	takes bool // those that fail
	keeps bool // messages that others are to replace
}

// keep has Firebase keep every message, as for a phone that is there, or replace those that
// did not arrive by newer ones, as for one that is away.
func (f *platform) keep(all bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.keeps = all
}

// replaces is the name under which a message replaces others; empty: it does not.
func (f *platform) replaces(name string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.keeps {
		return ""
	}
	return name
}

// refuse has the next n messages fail. Those that it takes all the same fail by the answer.
func (f *platform) refuse(n int, takes bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fails, f.takes = n, takes
}

func (f *platform) verdict() (fails, takes bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fails > 0 {
		f.fails--
		return true, f.takes
	}
	return false, true
}

// platformTransport is the way from a server to Firebase.
type platformTransport struct{ n *realNode }

func (t platformTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.n.isDead() {
		return nil, errNetwork
	}
	if r.URL.Path == "/token" {
		return answer(r, http.StatusOK, `{"access_token":"access","token_type":"Bearer","expires_in":3600}`), nil
	}
	var m struct {
		Message struct {
			Token   string            `json:"token"`
			Data    map[string]string `json:"data"`
			Android struct {
				CollapseKey string `json:"collapse_key"`
			} `json:"android"`
		} `json:"message"`
	}
	if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
		return nil, err
	}
	fails, takes := t.n.w.platform.verdict()
	if takes {
		body, err := client.FromFCM(m.Message.Data)
		if err != nil {
			return nil, err
		}
		for _, d := range t.n.w.devices {
			if d.token == m.Message.Token {
				t.n.w.h.pushed(d.pushed(body, t.n.w.platform.replaces(m.Message.Android.CollapseKey)))
			}
		}
	}
	switch {
	case fails && takes:
		return nil, io.ErrUnexpectedEOF
	case fails:
		return answer(r, http.StatusServiceUnavailable, `{"error":{"code":503,"status":"UNAVAILABLE","details":[{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"UNAVAILABLE"}]}}`), nil
	}
	return answer(r, http.StatusOK, `{"name":"projects/model/messages/1"}`), nil
}

func answer(r *http.Request, status int, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: r,
	}
}

// serviceAccount is the key file of an account at Firebase.
func serviceAccount() []byte {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err)
	}
	text, _ := json.Marshal(map[string]string{
		"type": "service_account", "project_id": "model", "private_key_id": "1", "client_email": "pusher@model.iam.gserviceaccount.com",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), "token_uri": "https://oauth2.googleapis.com/token",
	})
	return text
}
