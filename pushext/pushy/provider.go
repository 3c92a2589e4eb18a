// Package pushy wakes devices through Pushy, which keeps its own connection to Android
// devices without Google's services.
//
// The flow of one Push: the body becomes the data of one request to the Send
// Notifications API, and status and error code become the verdict (verdict.go). The API's
// key is part of the URL, so no URL, and no error of the HTTP client that holds one,
// leaves this package.
package pushy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"whisperpush/pushext"
	"whisperpush/pushext/attempt"
	"whisperpush/pushext/credentials"
)

const (
	// DefaultEndpoint is Pushy's.
	DefaultEndpoint = "https://api.pushy.me"

	// MaxToken is the longest device token accepted, in bytes; those seen have 22 or 24.
	MaxToken = 256

	// MaxTTL is how long Pushy stores a notification, 365 days.
	MaxTTL = 365 * 24 * time.Hour

	// MaxData is the limit of the data in bytes.
	MaxData = 4096
)

// Config configures a Provider.
type Config struct {
	Name     string // route name; "" is "pushy"
	Endpoint string // "" is DefaultEndpoint
	APIKey   string // the app's Secret API Key

	// Fallback is the alert on iOS devices that the app's notification service
	// extension replaces; "" sends no alert.
	Fallback string

	HTTPClient *http.Client  // nil is one with kept connections, HTTP/2 and the environment's proxy
	Timeout    time.Duration // of one attempt; 0 is attempt.DefaultTimeout
}

// Provider sends to the devices of one app.
type Provider struct {
	name     string
	url      string // secret: it holds the key
	fallback string
	client   *http.Client
	timeout  time.Duration
}

var _ pushext.Provider = (*Provider)(nil)

// New checks the configuration without any network I/O.
func New(cfg Config) (*Provider, error) {
	if cfg.Name == "" {
		cfg.Name = "pushy"
	}
	fail := func(err error) (*Provider, error) { return nil, fmt.Errorf("push provider %s: %w", cfg.Name, err) }
	if cfg.APIKey == "" {
		return fail(errors.New("APIKey is missing: find it in the Pushy dashboard under API Authentication"))
	}
	if cfg.Endpoint == "" {
		cfg.Endpoint = DefaultEndpoint
	}
	endpoint, err := credentials.Base("Endpoint", cfg.Endpoint, DefaultEndpoint, "https", "http")
	if err != nil {
		return fail(err)
	}
	if cfg.HTTPClient == nil {
		cfg.HTTPClient = attempt.DefaultClient()
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = attempt.DefaultTimeout
	}
	return &Provider{
		name: cfg.Name, url: endpoint.String() + "/push?api_key=" + url.QueryEscape(cfg.APIKey),
		fallback: cfg.Fallback, client: cfg.HTTPClient, timeout: cfg.Timeout,
	}, nil
}

// Close drops idle connections.
func (p *Provider) Close() { p.client.CloseIdleConnections() }

// Name is the route name.
func (p *Provider) Name() string { return p.name }

// Check accepts a device token. A topic, which begins with "/topics/", would reach other
// devices and is not one.
func (p *Provider) Check(addr pushext.Address) error {
	switch {
	case addr.Token == "" || len(addr.Token) > MaxToken:
		return fmt.Errorf("a pushy device token has 1 to %d characters", MaxToken)
	case strings.Trim(addr.Token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "":
		return errors.New("the pushy device token has characters other than letters, digits, '-' and '_'")
	case len(addr.Keys) != 0:
		return errors.New("a pushy address has no keys")
	}
	return nil
}

// request is the body of the Send Notifications API, pushy.me/docs/api/send-notifications.
type request struct {
	To               string          `json:"to"`
	Data             json.RawMessage `json:"data"`
	TimeToLive       int64           `json:"time_to_live"` // s
	ContentAvailable bool            `json:"content_available"`
	MutableContent   bool            `json:"mutable_content,omitempty"`
	Notification     *alert          `json:"notification,omitempty"` // iOS only
}

type alert struct {
	Body string `json:"body"`
}

// Push sends one notification.
func (p *Provider) Push(ctx context.Context, n pushext.Notification) pushext.Verdict {
	bad := func(reason string) pushext.Verdict {
		return pushext.Verdict{Class: pushext.MessageBad, Reason: "pushy " + reason}
	}
	switch _, err := attempt.Members(n.Body); {
	case p.Check(n.Address) != nil:
		return bad("bad address")
	case err != nil:
		return bad(err.Error())
	case len(n.Body) > MaxData:
		return bad("PAYLOAD_LIMIT_EXCEEDED")
	}
	// Pushy has no "deliver now or drop"; a second is as near.
	ttl := min(max(n.TTL, time.Second), MaxTTL)
	req := request{To: n.Address.Token, Data: n.Body, TimeToLive: int64(ttl / time.Second), ContentAvailable: true}
	if n.Visible && p.fallback != "" {
		req.MutableContent, req.Notification = true, &alert{p.fallback}
	}
	body, err := json.Marshal(req)
	if err != nil {
		return bad("body cannot be encoded")
	}
	ctx, cancel := attempt.Within(ctx, p.timeout)
	defer cancel()
	answer, err := attempt.Post(ctx, p.client, p.url, http.Header{"Content-Type": {"application/json"}}, body)
	if err != nil {
		return attempt.Failed("pushy", err)
	}
	return verdict(answer, n.Address.Token, time.Now())
}
