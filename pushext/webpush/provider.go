// Package webpush wakes browsers and UnifiedPush distributors by the Web Push protocol
// (RFC 8030): the subscription's endpoint names the push service, the payload is
// encrypted to the subscription's keys (RFC 8291), and the request is signed with this
// server's VAPID key (RFC 8292).
//
// The flow of one Push: encrypt the body into a request of fixed size (encrypt.go),
// authorise it for the endpoint's origin (vapid.go), post it through the guarded dialer
// (package dialguard), because endpoints come from strangers, and judge the status
// (verdict.go).
//
// UnifiedPush suggests (SERV 1.2.0, a SHOULD) that a sender asks a new endpoint by GET
// for {"unifiedpush":{"version":1}}, so that the sender cannot be pointed at something
// that is not a push service. That is not done here. The guarded dialer refuses what such
// a request would protect, at every push and not only at the first. The challenge is a
// stronger proof: of a device that reads what is sent there, and not only of a server
// that says so. Browsers' push services answer no GET, and nothing tells their endpoints
// from a distributor's. And one request more for each registration is one more that a
// stranger can make this server send.
//
// An address is {endpoint, [p256dh, auth]}: a point on P-256 in 65 bytes and a secret of
// 16.
package webpush

import (
	"context"
	"crypto/ecdh"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"whisperpush/pushext"
	"whisperpush/pushext/attempt"
	"whisperpush/pushext/credentials"
	"whisperpush/pushext/dialguard"
)

// MaxTopic is the longest Topic header, RFC 8030 section 5.4.
const MaxTopic = 32

// Config configures a Provider.
type Config struct {
	Name string // route name; "" is "webpush"

	// KeyFile holds the VAPID private key: PEM, or the 32 bytes in base64url as
	// web-push tools print them. Key, if set, is its content instead.
	KeyFile string
	Key     []byte

	// Contact is where push services find the operator: mailto: and one address, or an
	// https: URL, RFC 8292 section 2.1. Its domain must be one of the public internet,
	// because Apple's service refuses all pushes of operators who name another.
	Contact string

	AllowHTTP    bool // accept http endpoints, such as those of distributors in a home network
	AllowPrivate bool // accept hosts of private networks, for test networks

	Timeout  time.Duration // of one attempt, all in all; 0 is attempt.DefaultTimeout
	Resolver *net.Resolver // nil is the system's
	TLS      *tls.Config   // nil is the system's roots
}

// Provider sends to any Web Push service under one VAPID key.
type Provider struct {
	name    string
	policy  dialguard.Policy
	timeout time.Duration
	client  *http.Client
	vapid   *vapid
}

var (
	_ pushext.Provider      = (*Provider)(nil)
	_ pushext.Laner         = (*Provider)(nil)
	_ pushext.Canonicalizer = (*Provider)(nil)
)

// New checks the configuration without any network I/O.
func New(cfg Config) (*Provider, error) {
	if cfg.Name == "" {
		cfg.Name = "webpush"
	}
	fail := func(err error) (*Provider, error) { return nil, fmt.Errorf("push provider %s: %w", cfg.Name, err) }
	source := "Key"
	if cfg.Key == nil {
		var err error
		if cfg.Key, err = credentials.File("KeyFile", cfg.KeyFile, "the VAPID private key"); err != nil {
			return fail(err)
		}
		source = fmt.Sprintf("KeyFile %q", cfg.KeyFile)
	}
	v, err := newVAPID(credentials.Text(cfg.Key), cfg.Contact)
	if err != nil {
		return fail(fmt.Errorf("%s %w", source, err))
	}
	if err := checkContact(cfg.Contact); err != nil {
		return fail(err)
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = attempt.DefaultTimeout
	}
	dial := dialguard.Dial(5*time.Second, cfg.Resolver)
	if cfg.AllowPrivate {
		dial = (&net.Dialer{Timeout: 5 * time.Second, Resolver: cfg.Resolver}).DialContext
	}
	transport := attempt.Transport(cfg.TLS, dial)
	transport.MaxConnsPerHost = 32 // the large services speak HTTP/2
	transport.MaxIdleConns = 1024
	return &Provider{
		name: cfg.Name, policy: dialguard.Policy{HTTP: cfg.AllowHTTP, Private: cfg.AllowPrivate},
		timeout: cfg.Timeout, client: attempt.Client(transport), vapid: v,
	}, nil
}

// Name is the route name.
func (p *Provider) Name() string { return p.name }

// PublicKey is the VAPID public key in base64url: what a browser wants as
// applicationServerKey and a UnifiedPush app as its VAPID key when it subscribes.
func (p *Provider) PublicKey() string { return p.vapid.public }

// Close drops idle connections.
func (p *Provider) Close() { p.client.CloseIdleConnections() }

// Check accepts an endpoint with its two keys.
func (p *Provider) Check(addr pushext.Address) error {
	if _, err := dialguard.CheckURL(addr.Token, p.policy); err != nil {
		return err
	}
	if len(addr.Keys) != 2 {
		return errors.New("a webpush address has two keys, p256dh and auth")
	}
	if _, err := ecdh.P256().NewPublicKey(addr.Keys[0]); err != nil {
		return errors.New("the webpush key p256dh is not an uncompressed point on P-256 of 65 bytes")
	}
	if len(addr.Keys[1]) != authSize {
		return fmt.Errorf("the webpush key auth has %d bytes, want %d", len(addr.Keys[1]), authSize)
	}
	return nil
}

// Lane is the push service's host and port.
func (p *Provider) Lane(addr pushext.Address) string {
	u, err := dialguard.CheckURL(addr.Token, p.policy)
	if err != nil {
		return ""
	}
	return u.Host
}

// Canonical writes the endpoint as dialguard.CheckURL does. The keys have one spelling.
func (p *Provider) Canonical(addr pushext.Address) pushext.Address {
	if u, err := dialguard.CheckURL(addr.Token, p.policy); err == nil {
		addr.Token = u.String()
	}
	return addr
}

// Push sends one message.
func (p *Provider) Push(ctx context.Context, n pushext.Notification) pushext.Verdict {
	bad := func(reason string) pushext.Verdict {
		return pushext.Verdict{Class: pushext.MessageBad, Reason: "webpush " + reason}
	}
	u, err := dialguard.CheckURL(n.Address.Token, p.policy)
	if err != nil || p.Check(n.Address) != nil {
		return bad("bad address")
	}
	body, err := encrypt(n.Body, n.Address.Keys[0], n.Address.Keys[1])
	if err != nil {
		return bad("413")
	}
	now := time.Now()
	authorization, err := p.vapid.header(u.Scheme+"://"+u.Host, now)
	if err != nil {
		return pushext.Verdict{Class: pushext.ProviderBroken, Scope: pushext.ScopeProvider, Reason: "webpush key"}
	}
	urgency := "low"
	if n.Urgent {
		urgency = "high"
	}
	header := http.Header{
		"Authorization":    {authorization},
		"Content-Encoding": {"aes128gcm"},
		"Content-Type":     {"application/octet-stream"},
		"Ttl":              {strconv.FormatInt(int64(max(n.TTL, 0)/time.Second), 10)},
		"Urgency":          {urgency},
	}
	if n.CollapseID != "" && len(n.CollapseID) <= MaxTopic {
		header.Set("Topic", n.CollapseID)
	}
	ctx, cancel := attempt.Within(ctx, p.timeout)
	defer cancel()
	answer, err := attempt.Post(ctx, p.client, u.String(), header, body)
	switch {
	case errors.Is(err, dialguard.ErrForbidden):
		return bad("forbidden address")
	case err != nil:
		return attempt.Failed("webpush", err)
	}
	return verdict(answer, now)
}
