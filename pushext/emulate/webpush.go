package emulate

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/gorilla/websocket"
)

// WebPushConfig configures an emulated Web Push service.
type WebPushConfig struct {
	Addr string // where to listen; "" is 127.0.0.1 at a free port
	TLS  bool   // HTTPS with HTTP/2 and a certificate authority of its own
}

// WebPush emulates a push service by RFC 8030 and the user agents behind it. It
// verifies VAPID (RFC 8292) and decrypts messages (RFC 8291), except those for
// a browser (AgentURL). Unlike a real service, it refuses messages that their
// device could not read.
type WebPush struct {
	*Service

	mu            sync.Mutex // guards the following fields
	subscriptions map[string]*Subscription
	agents        map[string]*agent // browsers by uaid
}

// Subscription is what a user agent gives its application.
type Subscription struct {
	Endpoint string
	P256dh   []byte // public key, 65 bytes
	Auth     []byte // 16 bytes
	Token    string // the endpoint's path, for Pushes

	private   *ecdh.PrivateKey
	serverKey string // VAPID public key that it is restricted to; "": any

	agent   *agent // the browser that has the keys; nil: the keys are here
	channel string // the browser's name for the subscription
}

// StartWebPush listens.
func StartWebPush(cfg WebPushConfig) (*WebPush, error) {
	p := &WebPush{subscriptions: make(map[string]*Subscription), agents: make(map[string]*agent)}
	var err error
	p.Service, err = listen(cfg.Addr, cfg.TLS, rules{}, vocabulary{}, func() string { return "/push/" + text(32) }, http.HandlerFunc(p.receive))
	if err != nil {
		return nil, err
	}
	p.serve()
	return p, nil
}

// Subscribe makes a subscription. A serverKey, the VAPID public key in
// base64url, restricts it (RFC 8292 section 4).
func (p *WebPush) Subscribe(serverKey string) (*Subscription, error) {
	private, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	s := &Subscription{P256dh: private.PublicKey().Bytes(), Auth: make([]byte, 16), Token: p.NewToken(), private: private, serverKey: serverKey}
	rand.Read(s.Auth) // never fails
	s.Endpoint = p.URL() + s.Token
	p.mu.Lock()
	defer p.mu.Unlock()
	p.subscriptions[s.Token] = s
	return s, nil
}

func (p *WebPush) receive(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/" && websocket.IsWebSocketUpgrade(r) {
		p.attend(w, r)
		return
	}
	raw, err := content(r)
	p.mu.Lock()
	subscription := p.subscriptions[r.URL.Path]
	p.mu.Unlock()
	a := p.next(r.URL.Path)
	if a.fails() && !a.Accept {
		p.perform(w, r, a)
		if !a.answered() {
			w.WriteHeader(sayable(a.Status))
		}
		return
	}
	status, push := http.StatusNotFound, Push{}
	_, gone := p.goneSince(r.URL.Path)
	switch {
	case err != nil || len(raw) > 4096:
		status = http.StatusRequestEntityTooLarge
	case gone:
		status = http.StatusGone
	case subscription != nil:
		status, push = p.read(r, subscription, raw)
	}
	if status != http.StatusCreated {
		http.Error(w, http.StatusText(status), status)
		return
	}
	p.accept(push)
	if subscription.agent != nil {
		subscription.deliver(push)
	}
	p.perform(w, r, a)
	if a.answered() {
		return
	}
	if a.Status != 0 {
		status = a.Status
	}
	w.Header().Set("Location", p.URL()+"/message/"+push.ID)
	w.Header().Set("TTL", r.Header.Get("TTL"))
	w.WriteHeader(status)
}

var topicForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`)

// read checks a request. The push is set with status 201.
func (p *WebPush) read(r *http.Request, s *Subscription, raw []byte) (int, Push) {
	h := r.Header
	ttl, err := strconv.ParseUint(h.Get("TTL"), 10, 31)
	switch {
	case r.Method != http.MethodPost:
		return http.StatusMethodNotAllowed, Push{}
	case err != nil: // RFC 8030 section 5.2: mandatory
		return http.StatusBadRequest, Push{}
	case h.Get("Content-Encoding") != "aes128gcm":
		return http.StatusUnsupportedMediaType, Push{}
	case h.Get("Topic") != "" && !topicForm.MatchString(h.Get("Topic")),
		h.Get("Urgency") != "" && !slices.Contains([]string{"very-low", "low", "normal", "high"}, h.Get("Urgency")):
		return http.StatusBadRequest, Push{}
	}
	key, err := verifyVAPID(h.Get("Authorization"), p.URL())
	switch {
	case err != nil:
		return http.StatusUnauthorized, Push{}
	case s.serverKey != "" && s.serverKey != key:
		return http.StatusForbidden, Push{}
	}
	var body []byte // empty for a browser's message, which only the browser can read
	if s.agent == nil {
		body, err = s.decrypt(raw)
	} else {
		_, _, _, err = sealedForm(raw)
	}
	if err != nil {
		return http.StatusBadRequest, Push{}
	}
	return http.StatusCreated, Push{
		At: time.Now(), Token: s.Token, ID: text(22), Body: body, CollapseID: h.Get("Topic"), TTL: time.Duration(ttl) * time.Second,
		Urgent: h.Get("Urgency") == "high", Header: h, Raw: raw,
	}
}

// verifyVAPID checks an Authorization header for an origin and returns the
// server's key in base64url.
func verifyVAPID(header, origin string) (string, error) {
	rest, ok := strings.CutPrefix(header, "vapid ")
	if !ok {
		return "", errors.New("not vapid")
	}
	params := make(map[string]string)
	for part := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		params[name] = value
	}
	raw, err := base64.RawURLEncoding.DecodeString(params["k"])
	if err != nil {
		return "", err
	}
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), raw)
	if err != nil {
		return "", err
	}
	var claims jwt.RegisteredClaims
	_, err = jwt.ParseWithClaims(params["t"], &claims, func(*jwt.Token) (any, error) { return key, nil },
		jwt.WithValidMethods([]string{"ES256"}), jwt.WithAudience(origin), jwt.WithExpirationRequired())
	switch {
	case err != nil:
		return "", err
	case time.Until(claims.ExpiresAt.Time) > 24*time.Hour:
		return "", errors.New("valid for more than a day")
	case !strings.HasPrefix(claims.Subject, "mailto:") && !strings.HasPrefix(claims.Subject, "https://"):
		return "", errors.New("no contact")
	}
	return params["k"], nil
}

// sealedForm splits a message of one record into its parts.
func sealedForm(raw []byte) (salt, sender, record []byte, err error) {
	const header = 16 + 4 + 1 + 65
	if len(raw) < header+18 || raw[20] != 65 {
		return nil, nil, nil, errors.New("malformed header")
	}
	salt, sender, record = raw[:16], raw[21:header], raw[header:]
	if uint32(len(record)) > binary.BigEndian.Uint32(raw[16:20]) {
		return nil, nil, nil, errors.New("more than one record")
	}
	return salt, sender, record, nil
}

// decrypt opens a message of one record, as the user agent does.
func (s *Subscription) decrypt(raw []byte) ([]byte, error) {
	salt, sender, record, err := sealedForm(raw)
	if err != nil {
		return nil, err
	}
	public, err := ecdh.P256().NewPublicKey(sender)
	if err != nil {
		return nil, err
	}
	shared, err := s.private.ECDH(public)
	if err != nil {
		return nil, err
	}
	derive := func(secret, salt []byte, info string, n int) []byte {
		out, err := hkdf.Key(sha256.New, secret, salt, info, n)
		if err != nil {
			panic("emulate: internal error: " + err.Error()) // lengths are constant
		}
		return out
	}
	ikm := derive(shared, s.Auth, "WebPush: info\x00"+string(s.P256dh)+string(sender), 32)
	block, err := aes.NewCipher(derive(ikm, salt, "Content-Encoding: aes128gcm\x00", 16))
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	plain, err := gcm.Open(nil, derive(ikm, salt, "Content-Encoding: nonce\x00", 12), record, nil)
	if err != nil {
		return nil, err
	}
	for i := len(plain) - 1; i >= 0; i-- {
		switch plain[i] {
		case 0:
			continue
		case 2:
			return plain[:i], nil
		}
		break
	}
	return nil, errors.New("no delimiter")
}
