package fcm

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/sync/singleflight"

	"whisperpush/pushext"
	"whisperpush/pushext/attempt"
)

const (
	messagingScope = "https://www.googleapis.com/auth/firebase.messaging"
	grantType      = "urn:ietf:params:oauth:grant-type:jwt-bearer" // RFC 7523 section 2.1

	// refreshEarly is how long before its end an access token is replaced, while
	// pushes go on with the old one.
	refreshEarly = 5 * time.Minute

	// holdRefusal is how long a failed exchange answers for the next ones, so
	// that a backlog of pushes does not become a storm of exchanges.
	holdRefusal = time.Second
)

// access keeps the OAuth access token of a service account. Any number of
// pushes share one exchange.
type access struct {
	account account
	key     *rsa.PrivateKey
	client  *http.Client
	timeout time.Duration
	flight  singleflight.Group

	mu      sync.Mutex // guards the following fields
	current string
	refresh time.Time // replace from here on
	expiry  time.Time // unusable from here on
	refused error     // of the last exchange
	until   time.Time // refused stands until then
}

func newAccess(a account, client *http.Client, timeout time.Duration) *access {
	key, _ := parseKey(a.PrivateKey) // readAccount has checked it
	return &access{account: a, key: key, client: client, timeout: timeout}
}

func parseKey(text string) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("it is not PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		if key, err = x509.ParsePKCS1PrivateKey(block.Bytes); err != nil {
			return nil, errors.New("it is neither PKCS #8 nor PKCS #1")
		}
	}
	private, ok := key.(*rsa.PrivateKey)
	if !ok {
		return nil, errors.New("it is not an RSA key")
	}
	return private, nil
}

// token returns a usable access token. It waits for an exchange only when there
// is none; one near its end is replaced behind the caller's back.
func (a *access) token(ctx context.Context) (string, error) {
	now := time.Now()
	a.mu.Lock()
	current, refresh, expiry := a.current, a.refresh, a.expiry
	refused, until := a.refused, a.until
	a.mu.Unlock()
	held := refused != nil && now.Before(until)
	switch {
	case current != "" && now.Before(refresh):
		return current, nil
	case current != "" && now.Before(expiry):
		if !held {
			a.flight.DoChan("", a.exchange)
		}
		return current, nil
	case held:
		return "", refused
	}
	select {
	case result := <-a.flight.DoChan("", a.exchange):
		if result.Err != nil {
			return "", result.Err
		}
		return result.Val.(string), nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// forget drops an access token that was refused, unless it was replaced meanwhile.
func (a *access) forget(token string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.current == token {
		a.current = ""
	}
}

// exchange runs apart from any one push, which may be cancelled.
func (a *access) exchange() (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), a.timeout)
	defer cancel()
	token, life, err := a.request(ctx)
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		a.refused, a.until = err, now.Add(holdRefusal)
		return "", err
	}
	a.refused = nil
	a.current, a.expiry = token, now.Add(life)
	a.refresh = a.expiry.Add(-min(refreshEarly, life/2))
	return token, nil
}

// refusal is an exchange that the token endpoint answered otherwise than with a token.
type refusal struct{ attempt.Answer }

func (refusal) Error() string { return "the token endpoint gave no access token" }

func (a *access) request(ctx context.Context) (token string, life time.Duration, err error) {
	now := time.Now()
	assertion := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
		"iss":   a.account.ClientEmail,
		"aud":   a.account.TokenURI,
		"scope": messagingScope,
		"iat":   now.Unix(),
		"exp":   now.Add(time.Hour).Unix(),
	})
	if a.account.PrivateKeyID != "" {
		assertion.Header["kid"] = a.account.PrivateKeyID
	}
	signed, err := assertion.SignedString(a.key)
	if err != nil {
		return "", 0, err
	}
	form := url.Values{"grant_type": {grantType}, "assertion": {signed}}
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	answer, err := attempt.Post(ctx, a.client, a.account.TokenURI, header, []byte(form.Encode()))
	if err != nil {
		return "", 0, err
	}
	var granted struct {
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
		ExpiresIn   int64  `json:"expires_in"` // seconds
	}
	if answer.Status != http.StatusOK || json.Unmarshal(answer.Body, &granted) != nil ||
		granted.AccessToken == "" || strings.ContainsAny(granted.AccessToken, "\r\n") || !strings.EqualFold(granted.TokenType, "Bearer") {
		return "", 0, refusal{answer}
	}
	life = time.Duration(min(max(granted.ExpiresIn, 0), 24*3600)) * time.Second
	return granted.AccessToken, life, nil
}

// accessVerdict judges a push that got no access token.
func accessVerdict(err error, now time.Time) pushext.Verdict {
	refused, ok := errors.AsType[refusal](err)
	if !ok {
		return attempt.Failed("fcm oauth", err)
	}
	switch {
	case refused.Status == http.StatusTooManyRequests, refused.Status >= 500:
		return refused.Later(now, "fcm oauth "+statusText(refused.Status))
	case refused.Status == http.StatusOK:
		return pushext.Verdict{Class: pushext.Retry, Reason: "fcm oauth unreadable"}
	}
	return pushext.Verdict{Class: pushext.ProviderBroken, Reason: "fcm oauth " + statusText(refused.Status)}
}
