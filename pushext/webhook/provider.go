// Package webhook wakes devices with an HTTPS POST to a URL that the device's
// registration gave, signed as in the Standard Webhooks specification
// (standardwebhooks.com).
//
// Push signs the body with the registration's secret and posts it through a dialer that
// refuses addresses of private networks at connect time (package dialguard). The status
// becomes the verdict (verdict.go). The URL comes from a stranger, so redirects are not
// followed, no proxy is used, nothing is decompressed or repeated, little is read, and one
// host gets few connections.
//
// Besides the signature's headers, a request carries TTL, Urgency and Topic with
// their meaning in RFC 8030, for receivers that pass the wake-up on.
package webhook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"whisperpush/pushext"
	"whisperpush/pushext/attempt"
	"whisperpush/pushext/dialguard"
)

const (
	// MinSecret and MaxSecret bound the signing secret in bytes (Standard
	// Webhooks, section "Signature scheme").
	MinSecret = 24
	MaxSecret = 64

	// MaxConnsPerHost bounds how many requests a host that never answers
	// can hold.
	MaxConnsPerHost = 4
)

// Config configures a Provider.
type Config struct {
	Name string // route name; "" means "webhook"

	AllowHTTP    bool // accept http URLs: the network sees endpoint and payload
	AllowPrivate bool // accept hosts of private networks, for test networks

	Timeout  time.Duration // of one attempt in all; 0 means attempt.DefaultTimeout
	Resolver *net.Resolver // nil means the system's
	TLS      *tls.Config   // nil means the system's roots
}

// Provider posts to webhooks.
type Provider struct {
	name    string
	policy  dialguard.Policy
	timeout time.Duration
	client  *http.Client
}

var (
	_ pushext.Provider      = (*Provider)(nil)
	_ pushext.Laner         = (*Provider)(nil)
	_ pushext.Canonicalizer = (*Provider)(nil)
)

// New makes a Provider. No Config is invalid, so the error is always nil.
func New(cfg Config) (*Provider, error) {
	if cfg.Name == "" {
		cfg.Name = "webhook"
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = attempt.DefaultTimeout
	}
	dial := dialguard.Dial(5*time.Second, cfg.Resolver)
	if cfg.AllowPrivate {
		dial = (&net.Dialer{Timeout: 5 * time.Second, Resolver: cfg.Resolver}).DialContext
	}
	transport := attempt.Transport(cfg.TLS, dial)
	transport.MaxConnsPerHost = MaxConnsPerHost
	transport.MaxIdleConnsPerHost = MaxConnsPerHost
	transport.MaxIdleConns = 1024
	transport.IdleConnTimeout = 30 * time.Second
	// One request per connection: with HTTP/2, a host that never answers
	// would hold as many requests as it announces streams.
	transport.ForceAttemptHTTP2 = false
	transport.Protocols = new(http.Protocols)
	transport.Protocols.SetHTTP1(true)
	return &Provider{
		name:    cfg.Name,
		policy:  dialguard.Policy{HTTP: cfg.AllowHTTP, Private: cfg.AllowPrivate},
		timeout: cfg.Timeout,
		client:  attempt.Client(transport),
	}, nil
}

// Name returns the route name.
func (p *Provider) Name() string { return p.name }

// Check accepts a URL and one secret of MinSecret to MaxSecret bytes.
func (p *Provider) Check(addr pushext.Address) error {
	if _, err := dialguard.CheckURL(addr.Token, p.policy); err != nil {
		return err
	}
	if len(addr.Keys) != 1 || len(addr.Keys[0]) < MinSecret || len(addr.Keys[0]) > MaxSecret {
		return fmt.Errorf("a webhook address has one key, the signing secret, of %d to %d bytes", MinSecret, MaxSecret)
	}
	return nil
}

// Lane returns the host and port.
func (p *Provider) Lane(addr pushext.Address) string {
	u, err := dialguard.CheckURL(addr.Token, p.policy)
	if err != nil {
		return ""
	}
	return u.Host
}

// Canonical writes the endpoint as dialguard.CheckURL does. The keys have only one spelling.
func (p *Provider) Canonical(addr pushext.Address) pushext.Address {
	if u, err := dialguard.CheckURL(addr.Token, p.policy); err == nil {
		addr.Token = u.String()
	}
	return addr
}

// Close drops idle connections.
func (p *Provider) Close() { p.client.CloseIdleConnections() }

// Push posts one wake-up.
func (p *Provider) Push(ctx context.Context, n pushext.Notification) pushext.Verdict {
	u, err := dialguard.CheckURL(n.Address.Token, p.policy)
	if err != nil || p.Check(n.Address) != nil { // the policy may be narrower than at registration
		return pushext.Verdict{Class: pushext.MessageBad, Reason: "webhook bad address"}
	}
	ctx, cancel := attempt.Within(ctx, p.timeout)
	defer cancel()
	now := time.Now()
	timestamp := strconv.FormatInt(now.Unix(), 10)
	urgency := "low"
	if n.Urgent {
		urgency = "high"
	}
	header := http.Header{
		"Content-Type":      {"application/json"},
		"User-Agent":        {"whisperpush"},
		"Webhook-Id":        {n.ID},
		"Webhook-Timestamp": {timestamp},
		"Webhook-Signature": {"v1," + base64.StdEncoding.EncodeToString(sign(n.Address.Keys[0], n.ID, timestamp, n.Body))},
		"Ttl":               {strconv.FormatInt(int64(max(n.TTL, 0)/time.Second), 10)},
		"Urgency":           {urgency},
	}
	if n.CollapseID != "" {
		header.Set("Topic", n.CollapseID)
	}
	answer, err := attempt.Post(ctx, p.client, u.String(), header, n.Body)
	switch {
	case errors.Is(err, dialguard.ErrForbidden):
		return pushext.Verdict{Class: pushext.MessageBad, Reason: "webhook forbidden address"}
	case err != nil:
		return attempt.Failed("webhook", err)
	}
	return verdict(answer, now)
}

// sign returns the HMAC-SHA256 of "id.timestamp.body".
func sign(secret []byte, id, timestamp string, body []byte) []byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(id + "." + timestamp + "."))
	mac.Write(body)
	return mac.Sum(nil)
}
