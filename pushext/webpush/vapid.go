package webpush

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"whisperpush/pushext/attempt"
)

const (
	// vapidLife is a token's life; RFC 8292 section 2 allows 24 h, and a clock may
	// be off. A token is used for half of it.
	vapidLife = 12 * time.Hour

	maxOrigins = 1024 // tokens kept; origins are strangers' choice
)

// NewKey makes a VAPID key for Config.Key, in PEM.
func NewKey() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// vapid signs one token per origin and keeps it.
type vapid struct {
	key     *ecdsa.PrivateKey
	public  string // base64url
	contact string

	mu     sync.Mutex // guards the following field; held while signing
	tokens map[string]vapidToken
}

type vapidToken struct {
	header string
	signed time.Time
}

func newVAPID(text []byte, contact string) (*vapid, error) {
	key, err := parseVAPID(text)
	if err != nil {
		return nil, err
	}
	public, err := key.PublicKey.ECDH()
	if err != nil {
		return nil, err
	}
	return &vapid{
		key: key, public: base64.RawURLEncoding.EncodeToString(public.Bytes()), contact: contact, tokens: make(map[string]vapidToken),
	}, nil
}

func parseVAPID(text []byte) (*ecdsa.PrivateKey, error) {
	bad := errors.New("is not a VAPID key: it is neither PEM nor 32 bytes in base64url of a P-256 private key")
	if block, _ := pem.Decode(text); block != nil {
		if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil && key.Curve == elliptic.P256() {
			return key, nil
		}
		parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if key, ok := parsed.(*ecdsa.PrivateKey); err == nil && ok && key.Curve == elliptic.P256() {
			return key, nil
		}
		return nil, bad
	}
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(strings.TrimSpace(string(text)), "="))
	if err != nil {
		return nil, bad
	}
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), raw)
	if err != nil {
		return nil, bad
	}
	return key, nil
}

// header is the Authorization header for an origin, RFC 8292 section 3. A token that
// was signed before the clock was set is not used again.
func (v *vapid) header(origin string, now time.Time) (string, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if t, ok := v.tokens[origin]; ok && now.Sub(t.signed) < vapidLife/2 && !attempt.Stepped(t.signed, now) {
		return t.header, nil
	}
	signed, err := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
		"aud": origin, "exp": now.Add(vapidLife).Unix(), "sub": v.contact,
	}).SignedString(v.key)
	if err != nil {
		return "", err
	}
	if len(v.tokens) >= maxOrigins {
		clear(v.tokens)
	}
	header := "vapid t=" + signed + ", k=" + v.public
	v.tokens[origin] = vapidToken{header, now}
	return header, nil
}
