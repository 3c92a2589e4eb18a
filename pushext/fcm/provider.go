// Package fcm wakes Android devices (and whatever else a Firebase project
// serves) through the FCM HTTP v1 API.
//
// The flow of one Push: the notification becomes the JSON of Firebase's message
// type as gorush's builder makes it (message.go), which is posted with a cached OAuth
// access token; status, error code and Retry-After become the verdict (verdict.go). Access tokens come
// from the service account's key file by the JWT-bearer exchange (access.go).
//
// The request is posted by a plain http.Client rather than by the Firebase SDK's
// messaging client, which repeats every 503 and network error four times over 7 s
// inside one call and offers no way to turn that off. A verdict would come late, one
// attempt would be five requests, and a lane's slot would be held while the SDK waits
// for a Retry-After.
//
// A message is data-only: the keys of the body become FCM's data strings, a
// number or list as its JSON text. Keys that FCM reserves are refused as a bad
// message before they are sent.
package fcm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"whisperpush/pushext"
	"whisperpush/pushext/attempt"
	"whisperpush/pushext/credentials"
)

const (
	// DefaultEndpoint is Google's.
	DefaultEndpoint = "https://fcm.googleapis.com/v1"

	// MaxToken is the longest device token accepted, in bytes. FCM names no limit;
	// tokens seen have 142 to 180.
	MaxToken = 1024

	// MaxTTL is FCM's longest storage, 28 days.
	MaxTTL = 28 * 24 * time.Hour

	// DefaultTimeout ends an attempt that hangs: Google asks senders to wait for 10 s
	// at least before they repeat a request (firebase.google.com/docs/cloud-messaging/scale-fcm).
	DefaultTimeout = 10 * time.Second

	// Rate is the most messages a second that a project sends: 600,000 in any minute,
	// including what was saved up
	// (firebase.google.com/docs/cloud-messaging/throttling-and-quotas), less one in a
	// hundred, because refused messages count too.
	Rate = 9_900

	projectAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.:"

	exampleTokenURL = "https://oauth2.googleapis.com/token"
)

// Config configures a Provider.
type Config struct {
	Name     string // route name; "" is "fcm"
	Endpoint string // API base with version; "" is DefaultEndpoint, a bare host gets "/v1"

	// ProjectID is the Firebase project; "" is the one in the credentials.
	ProjectID string

	// CredentialsFile is the service account's key file as the Google Cloud
	// console gives it out. CredentialsJSON, if set, is its content instead.
	CredentialsFile string
	CredentialsJSON []byte

	// TokenURL is the OAuth token endpoint; "" is the credentials' token_uri.
	TokenURL string

	// HTTPClient is used for messages and for the token exchange; nil is a
	// client with kept connections, HTTP/2, the system's roots and the
	// environment's proxy.
	HTTPClient *http.Client

	Timeout time.Duration // of one attempt with its token exchange; 0 is DefaultTimeout
}

// Provider sends through one Firebase project.
type Provider struct {
	name    string
	url     string
	timeout time.Duration
	access  *attempt.Access
	frames  frames
}

var (
	_ pushext.Provider  = (*Provider)(nil)
	_ pushext.Paced     = (*Provider)(nil)
	_ pushext.Collapser = (*Provider)(nil)
)

// New checks the configuration without any network I/O. The error is one
// sentence for the operator.
func New(cfg Config) (*Provider, error) {
	if cfg.Name == "" {
		cfg.Name = "fcm"
	}
	fail := func(err error) (*Provider, error) { return nil, fmt.Errorf("push provider %s: %w", cfg.Name, err) }
	account, err := readAccount(cfg)
	if err != nil {
		return fail(err)
	}
	if cfg.ProjectID == "" {
		cfg.ProjectID = account.ProjectID
	}
	if cfg.ProjectID == "" || strings.Trim(cfg.ProjectID, projectAlphabet) != "" {
		return fail(fmt.Errorf("ProjectID %q is not a Firebase project id: set it, or use credentials whose project_id is one", cfg.ProjectID))
	}
	if cfg.Endpoint == "" {
		cfg.Endpoint = DefaultEndpoint
	}
	endpoint, err := credentials.Base("Endpoint", cfg.Endpoint, DefaultEndpoint, "https", "http")
	if err != nil {
		return fail(err)
	}
	if endpoint.Path == "" {
		endpoint.Path = "/v1"
	}
	if cfg.HTTPClient == nil {
		cfg.HTTPClient = attempt.DefaultClient()
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultTimeout
	}
	return &Provider{
		name:    cfg.Name,
		url:     endpoint.String() + "/projects/" + cfg.ProjectID + "/messages:send",
		timeout: cfg.Timeout,
		access:  newAccess(account, cfg.HTTPClient, cfg.Timeout),
	}, nil
}

// account is the part of a service account's key file that is needed.
type account struct {
	Type         string `json:"type"`
	ProjectID    string `json:"project_id"`
	PrivateKeyID string `json:"private_key_id"`
	PrivateKey   string `json:"private_key"`
	ClientEmail  string `json:"client_email"`
	TokenURI     string `json:"token_uri"`
}

// readAccount reads the service account, with the token endpoint to use.
func readAccount(cfg Config) (account, error) {
	raw, source, from := credentials.Text(cfg.CredentialsJSON), "CredentialsJSON", "of CredentialsJSON"
	if cfg.CredentialsJSON == nil {
		var err error
		if raw, err = credentials.File("CredentialsFile", cfg.CredentialsFile, "the service account's JSON key file"); err != nil {
			return account{}, err
		}
		source, from = fmt.Sprintf("CredentialsFile %q", cfg.CredentialsFile), fmt.Sprintf("in %q", cfg.CredentialsFile)
	}
	var a account
	if err := json.Unmarshal(raw, &a); err != nil {
		return account{}, fmt.Errorf("%s is not JSON: download the service account's key again", source)
	}
	switch {
	case gjson.GetBytes(raw, "project_info").Exists():
		return account{}, fmt.Errorf("%s is the app's google-services.json: the service account's key is another file, see Project settings, Service accounts", source)
	case a.Type != "service_account":
		return account{}, fmt.Errorf("%s is not a service account's key: its type is %q, not service_account", source, a.Type)
	case a.ClientEmail == "" || a.PrivateKey == "":
		return account{}, fmt.Errorf("%s is not a service account's key: client_email or private_key is missing", source)
	}
	if _, err := parseKey(a.PrivateKey); err != nil {
		return account{}, fmt.Errorf("the private_key %s is unreadable: %w", from, err)
	}
	setting := "the token_uri " + from
	if cfg.TokenURL != "" {
		a.TokenURI, setting = cfg.TokenURL, "TokenURL"
	}
	_, err := credentials.URL(setting, a.TokenURI, exampleTokenURL, "https", "http")
	return a, err
}

// Close drops idle connections.
func (p *Provider) Close() { p.access.Close() }

// Name is the route name.
func (p *Provider) Name() string { return p.name }

// Collapsible is how many collapsible messages to one device FCM takes before it delays
// them (firebase.google.com/docs/cloud-messaging/throttling-and-quotas: 20 at once, then
// one in 3 minutes), less four for messages that are not counted: challenges, dismissals,
// and attempts that arrived although their answer did not.
func Collapsible() pushext.Budget { return pushext.Budget{Burst: 16, Every: 3 * time.Minute} }

// Collapsible implements pushext.Collapser.
func (*Provider) Collapsible() pushext.Budget { return Collapsible() }

// Rate implements pushext.Paced.
func (*Provider) Rate() float64 { return Rate }

// Check accepts a registration token or installation id: FCM calls them
// opaque, so only what cannot be one is refused.
func (p *Provider) Check(addr pushext.Address) error {
	switch {
	case addr.Token == "":
		return errors.New("the fcm registration token is empty")
	case len(addr.Token) > MaxToken:
		return fmt.Errorf("the fcm registration token has %d bytes, more than %d", len(addr.Token), MaxToken)
	case strings.Trim(addr.Token, tokenAlphabet) != "":
		return errors.New("the fcm registration token has characters other than letters, digits, '-', '_', ':' and '.'")
	case len(addr.Keys) != 0:
		return errors.New("an fcm address has no keys")
	}
	return nil
}

const tokenAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_:."

// Push sends one message.
func (p *Provider) Push(ctx context.Context, n pushext.Notification) pushext.Verdict {
	body, err := p.frames.message(n)
	if err != nil {
		return pushext.Verdict{Class: pushext.MessageBad, Reason: "fcm " + err.Error()}
	}
	ctx, cancel := attempt.Within(ctx, p.timeout)
	defer cancel()
	return p.access.Post(ctx, "fcm", p.url, body, stale, verdict)
}

// stale says that Google no longer takes our access token; the other 401 is
// about the key of another service.
func stale(answer attempt.Answer) bool {
	return answer.Status == http.StatusUnauthorized && errorCode(answer) != "THIRD_PARTY_AUTH_ERROR"
}
