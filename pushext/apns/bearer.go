package apns

import (
	"crypto/ecdsa"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"whisperpush/pushext/attempt"
)

const (
	// renewAfter lies between Apple's bounds: a provider token is refused when
	// it is older than 60 minutes, and a new one when the last is younger than 20.
	renewAfter = 45 * time.Minute
	renewFloor = 20 * time.Minute
)

// bearer keeps the provider token, one for all connections.
type bearer struct {
	key           *ecdsa.PrivateKey
	keyID, teamID string

	mu      sync.Mutex // guards the following fields; held while signing, so all wait for one
	current string
	issued  time.Time
}

// token returns the current provider token, or a new one if that is old or the clock was
// set since: it then names a time at which Apple may refuse it.
func (b *bearer) token(now time.Time) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.current != "" && now.Sub(b.issued) < renewAfter && !attempt.Stepped(b.issued, now) {
		return b.current, nil
	}
	t := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{"iss": b.teamID, "iat": now.Unix()})
	t.Header["kid"] = b.keyID
	signed, err := t.SignedString(b.key)
	if err != nil {
		return "", err
	}
	b.current, b.issued = signed, now
	return signed, nil
}

// expire drops a token that APNs called expired. It reports whether there is now, or may be, a newer one.
func (b *bearer) expire(token string, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.current != token:
		return true
	case now.Sub(b.issued) < renewFloor:
		return false
	}
	b.current = ""
	return true
}
