// Package hms wakes Huawei devices through HUAWEI Push Kit.
//
// The flow of one Push: gorush's builder makes the message, which is posted with an
// access token obtained with the app's secret; the code in the answer becomes the verdict
// (verdict.go). The client is our own: gorush's does not verify TLS, knows no timeout or
// context, and hides codes behind a nil error.
//
// A message is a data message: the app gets the body as its one data string.
package hms

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/appleboy/gorush/core"
	"github.com/appleboy/gorush/notify"

	"whisperpush/pushext"
	"whisperpush/pushext/attempt"
	"whisperpush/pushext/credentials"
)

const (
	// DefaultEndpoint and DefaultTokenURL are Huawei's.
	DefaultEndpoint = "https://push-api.cloud.huawei.com"
	DefaultTokenURL = "https://oauth-login.cloud.huawei.com/oauth2/v3/token"

	// MaxToken is the longest device token accepted, in bytes; tokens seen have
	// about 150.
	MaxToken = 1024

	// MaxTTL is how long Huawei stores a message, 15 days.
	MaxTTL = 15 * 24 * time.Hour

	// Rate is the most messages a second that an app sends. Huawei's limit begins at 6,000
	// devices a second and grows with the app's users; beyond it Huawei answers 503.
	// AppGallery Connect shows it (developer.huawei.com, "Message Frequency Control"). Some
	// are left for what was saved up.
	Rate = 5_400

	// Huawei's collapse keys are 0 to 100, of which 0 is not encoded. Those of two
	// digits make requests of one size; half of them are for wake-ups and half for
	// what is not urgent.
	firstKey, wakeKeys, calmKeys = 10, 45, 45
)

// collapseKey is a notification's group at Huawei, which keeps the newest of each
// for a device that is offline. One that only removes notifications must not
// replace a wake-up. Two registrations of one device share a group with a chance of
// 1 in 45. A wake-up overwritten for that reason is repaired like any other that a
// service overwrites: by the next push.
func collapseKey(n pushext.Notification) int {
	if n.CollapseID == "" {
		return 0
	}
	h := fnv.New32a()
	h.Write([]byte(n.CollapseID))
	if n.Urgent {
		return firstKey + int(h.Sum32()%wakeKeys)
	}
	return firstKey + wakeKeys + int(h.Sum32()%calmKeys)
}

// Config configures a Provider.
type Config struct {
	Name      string // route name; "" is "hms"
	Endpoint  string // "" is DefaultEndpoint
	TokenURL  string // "" is DefaultTokenURL
	AppID     string
	AppSecret string

	HTTPClient *http.Client  // nil is one with kept connections, HTTP/2, verified TLS and the environment's proxy
	Timeout    time.Duration // of one attempt with its token exchange; 0 is attempt.DefaultTimeout
}

// Provider sends to one app.
type Provider struct {
	name    string
	url     string
	timeout time.Duration
	access  *attempt.Access
}

var (
	_ pushext.Provider = (*Provider)(nil)
	_ pushext.Paced    = (*Provider)(nil)
)

// New checks the configuration without any network I/O.
func New(cfg Config) (*Provider, error) {
	if cfg.Name == "" {
		cfg.Name = "hms"
	}
	fail := func(err error) (*Provider, error) { return nil, fmt.Errorf("push provider %s: %w", cfg.Name, err) }
	if cfg.AppID == "" || cfg.AppSecret == "" {
		return fail(errors.New("AppID or AppSecret is missing: find both in AppGallery Connect"))
	}
	if strings.Trim(cfg.AppID, "0123456789") != "" {
		return fail(fmt.Errorf("AppID %q is not a number", cfg.AppID))
	}
	if cfg.Endpoint == "" {
		cfg.Endpoint = DefaultEndpoint
	}
	if cfg.TokenURL == "" {
		cfg.TokenURL = DefaultTokenURL
	}
	endpoint, err := credentials.Base("Endpoint", cfg.Endpoint, DefaultEndpoint, "https", "http")
	if err != nil {
		return fail(err)
	}
	if _, err := credentials.URL("TokenURL", cfg.TokenURL, DefaultTokenURL, "https", "http"); err != nil {
		return fail(err)
	}
	if cfg.HTTPClient == nil {
		cfg.HTTPClient = attempt.DefaultClient()
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = attempt.DefaultTimeout
	}
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {cfg.AppID}, "client_secret": {cfg.AppSecret}}
	return &Provider{
		name:    cfg.Name,
		url:     endpoint.String() + "/v1/" + cfg.AppID + "/messages:send",
		timeout: cfg.Timeout,
		access:  attempt.NewAccess(cfg.HTTPClient, cfg.TokenURL, cfg.Timeout, func(time.Time) (url.Values, error) { return form, nil }),
	}, nil
}

// Close drops idle connections.
func (p *Provider) Close() { p.access.Close() }

// Name is the route name.
func (p *Provider) Name() string { return p.name }

// Rate implements pushext.Paced.
func (*Provider) Rate() float64 { return Rate }

// Check accepts a device token.
func (p *Provider) Check(addr pushext.Address) error {
	switch {
	case addr.Token == "":
		return errors.New("the hms device token is empty")
	case len(addr.Token) > MaxToken:
		return fmt.Errorf("the hms device token has %d bytes, more than %d", len(addr.Token), MaxToken)
	case strings.Trim(addr.Token, tokenAlphabet) != "":
		return errors.New("the hms device token has characters other than those of base64, ':' and '.'")
	case len(addr.Keys) != 0:
		return errors.New("an hms address has no keys")
	}
	return nil
}

const tokenAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/=:."

// Push sends one message.
func (p *Provider) Push(ctx context.Context, n pushext.Notification) pushext.Verdict {
	body, err := message(n)
	if err != nil {
		return pushext.Verdict{Class: pushext.MessageBad, Reason: "hms " + err.Error()}
	}
	ctx, cancel := attempt.Within(ctx, p.timeout)
	defer cancel()
	return p.access.Post(ctx, "hms", p.url, body, expired, func(answer attempt.Answer, now time.Time) pushext.Verdict {
		return verdict(answer, n.Address.Token, now)
	})
}

// message encodes the request. Its errors may be used as Verdict.Reason.
func message(n pushext.Notification) ([]byte, error) {
	if _, err := attempt.Members(n.Body); err != nil {
		return nil, err
	}
	priority := ""
	if n.Urgent {
		priority = notify.HIGH
	}
	// Huawei has no "deliver now or drop"; a second is as near.
	ttl := min(max(n.TTL, time.Second), MaxTTL)
	built, err := notify.GetHuaweiNotification(&notify.PushNotification{
		Platform: core.PlatFormHuawei, Tokens: []string{n.Address.Token}, Priority: priority, HuaweiData: string(n.Body),
		HuaweiTTL: fmt.Sprintf("%ds", int64(ttl/time.Second)), HuaweiCollapseKey: collapseKey(n),
	})
	if err != nil {
		return nil, errors.New("body cannot be encoded")
	}
	return json.Marshal(built)
}
