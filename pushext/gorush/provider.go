// Package gorush wakes devices through an operator's own gorush server, over its HTTP
// API. It is for operators who run one already; providers fcm and apns see more.
//
// The flow of one Push: the server's configuration has to say sync mode (mode.go); then
// one notification for one token is posted to /api/push, which answers 200 whatever
// happened and lists failures as log lines. No line means accepted; a line's text becomes
// the verdict (verdict.go).
//
// What gorush cannot say, this package does not claim. For Huawei it reports nothing when
// all tokens are invalid, so that platform is refused: use provider hms. Without sync
// mode it answers before it sends, with the same words, and no such answer is believed.
// Some words for a dead token are also those for other missing things; they are believed,
// as all deaths are, only while other devices of the provider are reached.
//
// The package is held to gorush v1.22.0's own router and clients
// (testutil/genuinegorush).
package gorush

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"firebase.google.com/go/v4/messaging"
	"github.com/appleboy/gorush/core"
	"github.com/appleboy/gorush/notify"

	"whisperpush/pushext"
	"whisperpush/pushext/apns"
	"whisperpush/pushext/attempt"
	"whisperpush/pushext/credentials"
	"whisperpush/pushext/fcm"
)

const (
	// Android and IOS are the values of Config.Platform.
	Android = "android"
	IOS     = "ios"

	// DefaultFallback is what the user of an Apple device reads if the app could
	// not open the payload in time.
	DefaultFallback = "New message"

	// MaxToken is the longest device token accepted, in bytes.
	MaxToken = 1024

	maxTTL = 28 * 24 * time.Hour // FCM's and, near enough, APNs'
)

// Config configures a Provider.
type Config struct {
	Name     string // route name; "" is "gorush"
	Endpoint string // the server's base URL; it must run with core.sync and queue.engine local
	Platform string // Android or IOS: tokens do not tell

	// ConfigURL is where the server serves its configuration; "" is /api/config below
	// Endpoint.
	ConfigURL string

	Topic      string // IOS: the app's bundle id
	Production bool   // IOS: APNs' production environment
	Fallback   string // IOS: "" is DefaultFallback

	HTTPClient *http.Client  // nil is one with kept connections
	Timeout    time.Duration // of one attempt; 0 is attempt.DefaultTimeout. A gorush with a full queue never answers
}

// Provider sends through one gorush server to one platform.
type Provider struct {
	cfg  Config
	url  string
	mode *mode
}

var (
	_ pushext.Provider      = (*Provider)(nil)
	_ pushext.Quieter       = (*Provider)(nil)
	_ pushext.Collapser     = (*Provider)(nil)
	_ pushext.Canonicalizer = (*Provider)(nil)
)

// New checks the configuration without any network I/O.
func New(cfg Config) (*Provider, error) {
	if cfg.Name == "" {
		cfg.Name = "gorush"
	}
	fail := func(err error) (*Provider, error) { return nil, fmt.Errorf("push provider %s: %w", cfg.Name, err) }
	switch {
	case cfg.Platform == "huawei":
		return fail(errors.New("gorush cannot tell whether Huawei took a push: use provider hms"))
	case cfg.Platform != Android && cfg.Platform != IOS:
		return fail(fmt.Errorf("%s %q is neither %q nor %q", "Platform", cfg.Platform, Android, IOS))
	case cfg.Platform == IOS && cfg.Topic == "":
		return fail(fmt.Errorf("%s is missing: it is the app's bundle id", "Topic"))
	}
	endpoint, err := credentials.Base("Endpoint", cfg.Endpoint, "http://localhost:8088", "https", "http")
	if err != nil {
		return fail(err)
	}
	if cfg.Fallback == "" {
		cfg.Fallback = DefaultFallback
	}
	if cfg.HTTPClient == nil {
		cfg.HTTPClient = attempt.Client(attempt.Transport(nil, nil))
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = attempt.DefaultTimeout
	}
	if cfg.ConfigURL == "" {
		cfg.ConfigURL = endpoint.String() + "/api/config"
	}
	if _, err := credentials.URL("ConfigURL", cfg.ConfigURL, "http://localhost:8088/api/config", "https", "http"); err != nil {
		return fail(err)
	}
	return &Provider{
		cfg: cfg, url: endpoint.String() + "/api/push", mode: newMode(cfg.HTTPClient, cfg.ConfigURL, cfg.Platform, cfg.Timeout),
	}, nil
}

// Examine asks the server whether its answers can be believed. The error says what to
// change, and where.
func (p *Provider) Examine(ctx context.Context) error {
	r, err := p.mode.since(ctx, time.Now())
	if err != nil {
		return fmt.Errorf("gorush does not tell its configuration: %w", err)
	}
	return r.help
}

// Quiet is APNs' limit of background pushes, or none.
func (p *Provider) Quiet() pushext.Budget {
	if p.cfg.Platform == IOS {
		return apns.Background()
	}
	return pushext.Budget{}
}

// Collapsible is FCM's limit of collapsible messages, or none.
func (p *Provider) Collapsible() pushext.Budget {
	if p.cfg.Platform == Android {
		return fcm.Collapsible()
	}
	return pushext.Budget{}
}

// Close drops idle connections.
func (p *Provider) Close() { p.cfg.HTTPClient.CloseIdleConnections() }

// Name is the route name.
func (p *Provider) Name() string { return p.cfg.Name }

// Canonical is the spelling that provider apns uses for Apple's tokens, and any other
// token as it is.
func (p *Provider) Canonical(addr pushext.Address) pushext.Address {
	if p.cfg.Platform == IOS {
		return apns.CanonicalAddress(addr)
	}
	return addr
}

// Check accepts a device token of the platform.
func (p *Provider) Check(addr pushext.Address) error {
	switch {
	case p.cfg.Platform == IOS:
		return apns.CheckAddress(addr)
	case addr.Token == "" || len(addr.Token) > MaxToken:
		return fmt.Errorf("a device token has 1 to %d characters", MaxToken)
	case strings.Trim(addr.Token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_:.") != "":
		return errors.New("the device token has characters other than letters, digits, '-', '_', ':' and '.'")
	case len(addr.Keys) != 0:
		return errors.New("a gorush address has no keys")
	}
	return nil
}

// Push sends one notification.
func (p *Provider) Push(ctx context.Context, n pushext.Notification) pushext.Verdict {
	now := time.Now()
	n.Address = p.Canonical(n.Address)
	req, err := p.request(n, now)
	if err != nil {
		return pushext.Verdict{Class: pushext.MessageBad, Reason: "gorush " + err.Error()}
	}
	body, err := json.Marshal(notify.RequestPush{Notifications: []notify.PushNotification{req}})
	if err != nil {
		return pushext.Verdict{Class: pushext.MessageBad, Reason: "gorush body cannot be encoded"}
	}
	ctx, cancel := attempt.Within(ctx, p.cfg.Timeout)
	defer cancel()
	switch r, err := p.mode.before(ctx, now); {
	case err != nil:
		return attempt.Failed("gorush", err)
	case r.refuse.Reason != "":
		return r.refuse
	}
	answer, err := attempt.Post(p.mode.traced(ctx), p.cfg.HTTPClient, p.url, http.Header{"Content-Type": {"application/json"}}, body)
	if err != nil {
		return attempt.Failed("gorush", err)
	}
	r, err := p.mode.after(ctx)
	if err != nil {
		return attempt.Failed("gorush", err)
	}
	return verdict(answer, p.cfg.Platform, r, now)
}

// request builds the notification. Its errors may be used as Verdict.Reason.
func (p *Provider) request(n pushext.Notification, now time.Time) (notify.PushNotification, error) {
	members, err := attempt.Members(n.Body)
	if err != nil {
		return notify.PushNotification{}, err
	}
	data := make(notify.D, len(members))
	for key, value := range members {
		data[key] = carried(value, p.cfg.Platform)
	}
	ttl := min(max(n.TTL, 0), maxTTL)
	req := notify.PushNotification{ID: n.ID, Tokens: []string{n.Address.Token}, Data: data, Priority: "normal"}
	if p.cfg.Platform == Android {
		req.Platform = core.PlatFormAndroid
		if n.Urgent {
			req.Priority = notify.HIGH
		}
		collapse := n.CollapseID
		if n.Unreplaced { // there is nothing to replace, and FCM throttles what is collapsible
			collapse = ""
		}
		req.Android = &messaging.AndroidConfig{CollapseKey: collapse, Priority: req.Priority, TTL: &ttl}
		return req, nil
	}
	// gorush cannot send expiration 0; a second is as near.
	expiration := now.Add(max(ttl, time.Second)).Unix()
	req.Platform, req.Topic, req.CollapseID, req.Expiration = core.PlatFormIos, p.cfg.Topic, n.CollapseID, &expiration
	req.Production, req.Development = p.cfg.Production, !p.cfg.Production
	if n.Visible {
		req.PushType, req.Message, req.MutableContent, req.Sound = "alert", p.cfg.Fallback, true, "default"
		if n.Urgent {
			req.Priority = notify.HIGH
		}
	} else {
		req.PushType, req.ContentAvailable = "background", true
	}
	return req, nil
}

// carried returns a member of a body in a form that survives gorush, which reads every
// number as a float. FCM has strings only and gets the member's text, as from provider
// fcm. For Apple a number stays one, unless digits would be lost.
func carried(value json.RawMessage, platform string) any {
	switch {
	case value[0] == '"':
		return value
	case platform == Android:
		return string(value)
	case value[0] != '-' && (value[0] < '0' || value[0] > '9'):
		return value
	}
	number, err := strconv.ParseFloat(string(value), 64)
	if text, err2 := json.Marshal(number); err != nil || err2 != nil || string(text) != string(value) {
		return string(value)
	}
	return value
}
