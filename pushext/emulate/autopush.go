package emulate

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// Firefox keeps a WebSocket to its push service. Over it, Firefox subscribes and is told of pushes. The
// protocol is that of Mozilla's autopush (https://mozilla-push-service.readthedocs.io/en/latest/design/).
// With dom.push.serverURL set to AgentURL, a Firefox is a user agent of the emulator. Its subscriptions are
// real ones, their endpoints accept pushes like any others, and the pushes reach its service workers. Only
// they can decrypt them.

const (
	// maxFrame is the longest frame from a browser, in bytes: a hello may name all broadcasts that it knows.
	maxFrame = 64 << 10
	// maxAgents is how many browsers are remembered, and maxChannels how many subscriptions each may have.
	maxAgents   = 256
	maxChannels = 256
	// maxUnacked is how many pushes may wait for one browser to acknowledge them; beyond that the oldest are
	// dropped.
	maxUnacked = 128
	// maxUpdates is how many pushes one frame may acknowledge.
	maxUpdates = 256
	// maxVersion is the longest name of a push, in bytes.
	maxVersion = 128
	// frameTimeout is how long a browser may take to read a frame.
	frameTimeout = 10 * time.Second
)

// subprotocol is the WebSocket subprotocol that Firefox asks for.
const subprotocol = "push-notification"

// frame is a frame from a browser. Its type determines which fields it has; other fields are ignored.
type frame struct {
	Type    string   `json:"messageType"`
	Agent   string   `json:"uaid"`        // hello: the id that it was given; empty: it is new
	WebPush bool     `json:"use_webpush"` // hello
	Channel string   `json:"channelID"`   // register, unregister
	Key     string   `json:"key"`         // register: the VAPID key that the subscription is restricted to; may be empty
	Updates []update `json:"updates"`     // ack
}

// update names a push that reached the browser.
type update struct {
	Channel string `json:"channelID"`
	Version string `json:"version"`
}

// Types of frames. A ping is an empty object.
const (
	frameHello      = "hello"
	frameRegister   = "register"
	frameUnregister = "unregister"
	frameAck        = "ack"
	frameNack       = "nack"                // a push could not be decrypted
	frameBroadcasts = "broadcast_subscribe" // Mozilla's own news, of which there is none here
	framePing       = "ping"
)

var (
	channelForm = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	agentForm   = regexp.MustCompile(`^[0-9a-f]{32}$`)
)

// decodeFrame reads and checks a frame.
func decodeFrame(raw []byte) (f frame, err error) {
	if len(raw) > maxFrame {
		return f, fmt.Errorf("emulate: a frame of %d bytes, and at most %d are read", len(raw), maxFrame)
	}
	if err := json.Unmarshal(raw, &f); err != nil {
		return frame{}, fmt.Errorf("emulate: a frame is no JSON object of this protocol: %w", err)
	}
	switch f.Type {
	case frameHello:
		if !f.WebPush {
			return frame{}, errors.New("emulate: a hello without use_webpush: there is nothing else here")
		}
		if f.Agent != "" && !agentForm.MatchString(f.Agent) {
			return frame{}, errors.New("emulate: a hello has a uaid that this service never gave")
		}
	case frameRegister, frameUnregister:
		if !channelForm.MatchString(f.Channel) {
			return frame{}, fmt.Errorf("emulate: the channelID of %s is no UUID", f.Type)
		}
		f.Key = strings.TrimRight(f.Key, "=") // Firefox pads it
		if f.Key != "" && f.Type == frameRegister {
			key, err := base64.RawURLEncoding.DecodeString(f.Key)
			if err == nil {
				_, err = ecdsa.ParseUncompressedPublicKey(elliptic.P256(), key)
			}
			if err != nil {
				return frame{}, errors.New("emulate: the key of a register is no public key of P-256")
			}
		}
	case frameAck:
		if len(f.Updates) > maxUpdates {
			return frame{}, fmt.Errorf("emulate: an ack of %d pushes, and at most %d are read", len(f.Updates), maxUpdates)
		}
		for _, u := range f.Updates {
			if len(u.Version) > maxVersion {
				return frame{}, fmt.Errorf("emulate: an ack has a version of %d bytes, and at most %d are read", len(u.Version), maxVersion)
			}
		}
	case "":
		if string(raw) != "{}" {
			return frame{}, errors.New("emulate: a frame without a messageType")
		}
		f.Type = framePing
	case frameNack, frameBroadcasts, framePing:
	default:
		return frame{}, fmt.Errorf("emulate: a frame of the type %.20q, which there is not", f.Type)
	}
	return f, nil
}

// agent is a browser.
type agent struct {
	id string

	mu       sync.Mutex // guards the following, and is held while a frame is written
	conn     *websocket.Conn
	channels map[string]*Subscription // by channelID
	unacked  []notification           // oldest first
}

// notification is a push in the form in which a browser is told of it.
type notification struct {
	Type    string            `json:"messageType"` // "notification"
	Channel string            `json:"channelID"`
	Version string            `json:"version"`
	TTL     int               `json:"ttl"`  // seconds
	Data    string            `json:"data"` // base64url
	Headers map[string]string `json:"headers"`

	ends time.Time
}

// AgentURL is the value for dom.push.serverURL in a Firefox.
func (p *WebPush) AgentURL() string { return "ws" + p.URL()[len("http"):] + "/" }

var upgrader = websocket.Upgrader{Subprotocols: []string{subprotocol}, HandshakeTimeout: frameTimeout}

// attend serves a browser until it leaves.
func (p *WebPush) attend(w http.ResponseWriter, r *http.Request) {
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // Upgrade has answered
	}
	defer conn.Close()
	defer context.AfterFunc(p.ctx, func() { conn.Close() })()
	conn.SetReadLimit(maxFrame)
	_ = conn.SetReadDeadline(time.Now().Add(frameTimeout)) // for the hello
	var a *agent
	for {
		kind, raw, err := conn.ReadMessage()
		if err != nil {
			break
		}
		f, err := decodeFrame(raw)
		switch {
		case err != nil || kind != websocket.TextMessage || (a == nil) != (f.Type == frameHello):
			refuse(conn, websocket.CloseProtocolError)
		case a == nil:
			if a = p.hello(f, conn); a == nil {
				refuse(conn, websocket.CloseTryAgainLater)
				break
			}
			_ = conn.SetReadDeadline(time.Time{})
			continue
		default:
			p.answer(a, f)
			continue
		}
		break
	}
	if a != nil {
		a.leave(conn)
	}
}

// refuse ends a connection, and gives the reason.
func refuse(conn *websocket.Conn, code int) {
	_ = conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, ""), time.Now().Add(frameTimeout))
}

// hello identifies the browser, or gives it a new id, and sends it the pushes that wait. It returns nil if
// there are too many browsers.
func (p *WebPush) hello(f frame, conn *websocket.Conn) *agent {
	p.mu.Lock()
	a := p.agents[f.Agent]
	if a == nil {
		if len(p.agents) >= maxAgents {
			p.mu.Unlock()
			return nil
		}
		id := make([]byte, 16)
		rand.Read(id) // never fails
		a = &agent{id: hex.EncodeToString(id), channels: make(map[string]*Subscription)}
		p.agents[a.id] = a
	}
	p.mu.Unlock()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.conn != nil {
		a.conn.Close() // the browser has connected again
	}
	a.conn = conn
	a.send(map[string]any{"messageType": frameHello, "status": http.StatusOK, "uaid": a.id, "use_webpush": true, "broadcasts": map[string]string{}})
	a.unacked = slices.DeleteFunc(a.unacked, func(n notification) bool { return time.Now().After(n.ends) })
	for _, n := range a.unacked {
		a.send(n)
	}
	return a
}

// answer handles a browser's request.
func (p *WebPush) answer(a *agent, f frame) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch f.Type {
	case framePing:
		a.send(struct{}{})
	case frameRegister:
		reply := map[string]any{"messageType": frameRegister, "channelID": f.Channel, "status": http.StatusOK}
		s := a.channels[f.Channel]
		switch {
		case s == nil && len(a.channels) >= maxChannels:
			reply["status"] = http.StatusServiceUnavailable
		case s == nil:
			if s = p.subscribeAgent(a, f.Channel, f.Key); s == nil {
				reply["status"] = http.StatusServiceUnavailable
				break
			}
			a.channels[f.Channel] = s
		case s.serverKey != f.Key:
			reply["status"], s = http.StatusConflict, nil
		}
		if s != nil {
			reply["pushEndpoint"] = s.Endpoint
		}
		a.send(reply)
	case frameUnregister:
		if s := a.channels[f.Channel]; s != nil {
			delete(a.channels, f.Channel)
			p.Unregister(s.Token)
			p.forget(s.Token)
		}
		a.unacked = slices.DeleteFunc(a.unacked, func(n notification) bool { return n.Channel == f.Channel })
		a.send(map[string]any{"messageType": frameUnregister, "channelID": f.Channel, "status": http.StatusOK})
	case frameAck:
		a.unacked = slices.DeleteFunc(a.unacked, func(n notification) bool {
			return slices.Contains(f.Updates, update{n.Channel, n.Version})
		})
	}
}

// subscribeAgent makes a subscription for a browser, or returns nil if the service is full.
func (p *WebPush) subscribeAgent(a *agent, channel, serverKey string) *Subscription {
	token := p.mint()
	if !p.Register(token) {
		return nil
	}
	s := &Subscription{Endpoint: p.URL() + token, Token: token, serverKey: serverKey, agent: a, channel: channel}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.subscriptions[token] = s
	return s
}

func (p *WebPush) forget(token string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.subscriptions, token)
}

// deliver tells the browser of a push, now or when it is back.
func (s *Subscription) deliver(push Push) {
	a := s.agent
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.channels[s.channel] != s || a.conn == nil && push.TTL == 0 {
		return
	}
	n := notification{
		Type: "notification", Channel: s.channel, Version: push.ID, TTL: int(push.TTL / time.Second),
		Data: base64.RawURLEncoding.EncodeToString(push.Raw), Headers: map[string]string{"encoding": "aes128gcm"},
		ends: time.Now().Add(push.TTL),
	}
	if len(a.unacked) >= maxUnacked {
		a.unacked = a.unacked[1:]
	}
	a.unacked = append(a.unacked, n)
	a.send(n)
}

// send writes a frame if the browser is connected. A browser that does not read is disconnected. The caller
// holds mu.
func (a *agent) send(frame any) {
	if a.conn == nil {
		return
	}
	_ = a.conn.SetWriteDeadline(time.Now().Add(frameTimeout))
	if err := a.conn.WriteJSON(frame); err != nil {
		a.conn.Close()
		a.conn = nil
	}
}

// leave notes that a connection has ended.
func (a *agent) leave(conn *websocket.Conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.conn == conn {
		a.conn = nil
	}
}
