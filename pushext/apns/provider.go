// Package apns wakes Apple devices through the APNs provider API over HTTP/2.
//
// The flow of one Push: gorush's builder makes the notification and its payload, which is
// posted with a provider token signed by the team's key (bearer.go); status, reason and
// timestamp become the verdict (verdict.go). The request is posted by a plain
// http.Client: gorush's client writes a constant host into every request, hides the
// answer's header, and repeats 5xx, which is the dispatcher's task.
//
// A visible notification is an alert with mutable-content: the app's notification service
// extension opens the payload and replaces the fallback text. Anything else is a
// background push, which iOS may delay and limits to a few an hour (Quiet). The members
// of the body stand beside "aps".
package apns

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/appleboy/gorush/core"
	"github.com/appleboy/gorush/notify"
	"github.com/sideshow/apns2"
	"github.com/sideshow/apns2/token"

	"whisperpush/pushext"
	"whisperpush/pushext/attempt"
	"whisperpush/pushext/credentials"
)

const (
	// DefaultFallback is what the user reads if the app could not open the
	// payload in time. It says nothing about anyone.
	DefaultFallback = "New message"

	// MaxPayload is in bytes, Apple: "Generating a remote notification".
	MaxPayload = 4096

	// MaxTTL is how long APNs stores a notification, 30 days.
	MaxTTL = 30 * 24 * time.Hour

	// BackgroundBurst and BackgroundEvery bound the background pushes to one
	// device: at once, and then one in that time, which is never more than three
	// in an hour. Apple, "Pushing background updates to your App": "don't try to
	// send more than two or three per hour"; Signal's server sends one in 20 minutes.
	BackgroundBurst = 2
	BackgroundEvery = 30 * time.Minute

	// MinToken and MaxToken bound a device token in hexadecimal digits; Apple says its length varies.
	MinToken = 64
	MaxToken = 200
)

// Config configures a Provider.
type Config struct {
	Name     string // route name; "" is "apns"
	Endpoint string // base URL; "" is Apple's for Sandbox or production
	Sandbox  bool   // development builds of the app

	Topic  string // the app's bundle id
	TeamID string // 10 characters, from the developer account
	KeyID  string // 10 characters, in the key file's name

	// KeyFile is the .p8 file of an APNs authentication key. Key, if set, is its content instead.
	KeyFile string
	Key     []byte

	Fallback string // text of an alert that the app could not replace; "" is DefaultFallback

	HTTPClient *http.Client  // must speak HTTP/2; nil is one that does
	Timeout    time.Duration // of one attempt; 0 is attempt.DefaultTimeout
}

// Provider sends to one app with one key.
type Provider struct {
	name     string
	endpoint string
	topic    string
	fallback string
	client   *http.Client
	timeout  time.Duration
	bearer   *bearer
}

var (
	_ pushext.Provider      = (*Provider)(nil)
	_ pushext.Quieter       = (*Provider)(nil)
	_ pushext.Canonicalizer = (*Provider)(nil)
)

// New checks the configuration without any network I/O.
func New(cfg Config) (*Provider, error) {
	if cfg.Name == "" {
		cfg.Name = "apns"
	}
	fail := func(err error) (*Provider, error) { return nil, fmt.Errorf("push provider %s: %w", cfg.Name, err) }
	source := "Key"
	if cfg.Key == nil {
		var err error
		if cfg.Key, err = credentials.File("KeyFile", cfg.KeyFile, "the .p8 file of an APNs authentication key"); err != nil {
			return fail(err)
		}
		source = fmt.Sprintf("KeyFile %q", cfg.KeyFile)
	}
	key, err := token.AuthKeyFromBytes(credentials.Text(cfg.Key))
	switch {
	case err != nil:
		return fail(fmt.Errorf("%s is not an APNs authentication key: take the .p8 file as Apple gave it out", source))
	case cfg.KeyID == "" || cfg.TeamID == "":
		return fail(errors.New("KeyID or TeamID is missing: find both in the developer account"))
	case cfg.Topic == "":
		return fail(fmt.Errorf("%s is missing: it is the app's bundle id", "Topic"))
	}
	switch {
	case cfg.Endpoint != "":
	case cfg.Sandbox:
		cfg.Endpoint = apns2.HostDevelopment
	default:
		cfg.Endpoint = apns2.HostProduction
	}
	endpoint, err := credentials.Base("Endpoint", cfg.Endpoint, apns2.HostProduction, "https")
	if err != nil {
		return fail(err)
	}
	if cfg.Fallback == "" {
		cfg.Fallback = DefaultFallback
	}
	if cfg.HTTPClient == nil {
		cfg.HTTPClient = attempt.DefaultClient()
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = attempt.DefaultTimeout
	}
	return &Provider{
		name: cfg.Name, endpoint: endpoint.String(), topic: cfg.Topic, fallback: cfg.Fallback,
		client: cfg.HTTPClient, timeout: cfg.Timeout, bearer: &bearer{key: key, keyID: cfg.KeyID, teamID: cfg.TeamID},
	}, nil
}

// Quiet is the limit on background pushes, which challenges and dismissals are.
func (p *Provider) Quiet() pushext.Budget { return Background() }

// Background is how many background pushes one device may be sent.
func Background() pushext.Budget {
	return pushext.Budget{Burst: BackgroundBurst, Every: BackgroundEvery}
}

// Close drops idle connections.
func (p *Provider) Close() { p.client.CloseIdleConnections() }

// Name is the route name.
func (p *Provider) Name() string { return p.name }

// Check accepts a device token in hexadecimal.
func (p *Provider) Check(addr pushext.Address) error { return CheckAddress(addr) }

// Canonical writes the device token in lower case.
func (p *Provider) Canonical(addr pushext.Address) pushext.Address { return CanonicalAddress(addr) }

// CheckAddress checks an APNs address, for any provider that pushes to it.
func CheckAddress(addr pushext.Address) error {
	switch {
	case len(addr.Token) < MinToken || len(addr.Token) > MaxToken || len(addr.Token)%2 != 0:
		return fmt.Errorf("an apns device token has %d to %d hexadecimal digits", MinToken, MaxToken)
	case strings.Trim(addr.Token, "0123456789abcdefABCDEF") != "":
		return errors.New("the apns device token has characters other than hexadecimal digits")
	case len(addr.Keys) != 0:
		return errors.New("an apns address has no keys")
	}
	return nil
}

// CanonicalAddress is the one spelling of an address that CheckAddress accepts: the
// digits of a device token mean the same in lower case and in capitals.
func CanonicalAddress(addr pushext.Address) pushext.Address {
	if CheckAddress(addr) == nil {
		addr.Token = strings.ToLower(addr.Token)
	}
	return addr
}

// Push sends one notification.
func (p *Provider) Push(ctx context.Context, n pushext.Notification) pushext.Verdict {
	if p.Check(n.Address) != nil { // the token becomes part of a path
		return pushext.Verdict{Class: pushext.MessageBad, Reason: "apns bad address"}
	}
	n.Address = p.Canonical(n.Address)
	header, body, err := p.request(n, time.Now())
	if err != nil {
		return pushext.Verdict{Class: pushext.MessageBad, Reason: "apns " + err.Error()}
	}
	ctx, cancel := attempt.Within(ctx, p.timeout)
	defer cancel()
	for renewed := false; ; renewed = true {
		bearer, err := p.bearer.token(time.Now())
		if err != nil {
			return pushext.Verdict{Class: pushext.ProviderBroken, Reason: "apns key"}
		}
		header := header.Clone()
		header.Set("Authorization", "bearer "+bearer)
		answer, err := attempt.Post(ctx, p.client, p.endpoint+"/3/device/"+n.Address.Token, header, body)
		if err != nil {
			return attempt.Failed("apns", err)
		}
		// An expired token means that this clock runs late. Renewing more often
		// than every 20 minutes would be answered by 429.
		if answer.Status == http.StatusForbidden && readRefusal(answer).reason == apns2.ReasonExpiredProviderToken &&
			!renewed && p.bearer.expire(bearer, time.Now()) {
			continue
		}
		return verdict(answer, time.Now())
	}
}

// request builds header and payload. Its errors may be used as Verdict.Reason.
func (p *Provider) request(n pushext.Notification, now time.Time) (http.Header, []byte, error) {
	members, err := attempt.Members(n.Body)
	if err != nil {
		return nil, nil, err
	}
	data := make(notify.D, len(members))
	for key, value := range members {
		if key == "aps" {
			return nil, nil, errors.New("body has a reserved key")
		}
		data[key] = value
	}
	req := &notify.PushNotification{Platform: core.PlatFormIos, Topic: p.topic, CollapseID: n.CollapseID, Data: data, Priority: "normal"}
	if n.Visible {
		req.PushType, req.Message, req.MutableContent, req.Sound = string(apns2.PushTypeAlert), p.fallback, true, "default"
		if n.Urgent {
			req.Priority = "high"
		}
	} else {
		req.PushType, req.ContentAvailable = string(apns2.PushTypeBackground), true // priority 10 is an error here
	}
	built := notify.GetIOSNotification(req)
	body, err := json.Marshal(built)
	if err != nil {
		return nil, nil, errors.New("body cannot be encoded")
	}
	if len(body) > MaxPayload {
		return nil, nil, errors.New("413 PayloadTooLarge")
	}
	expiration := int64(0) // try once
	if n.TTL > 0 {
		expiration = now.Add(min(n.TTL, MaxTTL)).Unix()
	}
	header := http.Header{
		"Content-Type":    {"application/json"},
		"Apns-Topic":      {built.Topic},
		"Apns-Push-Type":  {string(built.PushType)},
		"Apns-Priority":   {strconv.Itoa(built.Priority)},
		"Apns-Expiration": {strconv.FormatInt(expiration, 10)},
	}
	if built.CollapseID != "" {
		header.Set("Apns-Collapse-Id", built.CollapseID)
	}
	return header, body, nil
}
