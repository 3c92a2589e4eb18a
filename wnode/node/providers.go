package node

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"whisperpush/config"
	"whisperpush/pushext"
	"whisperpush/pushext/apns"
	"whisperpush/pushext/attempt"
	"whisperpush/pushext/credentials"
	"whisperpush/pushext/direct"
	"whisperpush/pushext/fcm"
	"whisperpush/pushext/gorush"
	"whisperpush/pushext/hms"
	"whisperpush/pushext/pushy"
	"whisperpush/pushext/webhook"
	"whisperpush/pushext/webpush"
)

// providerType makes an instance from the keys of its [[Push.Provider]] table.
type providerType struct {
	name string
	open func(p config.Provider) (pushext.Provider, error)
}

// providerTypes are the types that a [[Push.Provider]] may have. Adding one is a line here and a function below.
func providerTypes() []providerType {
	return []providerType{
		{"fcm", openFCM},
		{"apns", openAPNS},
		{"hms", openHMS},
		{"pushy", openPushy},
		{"gorush", openGorush},
		{"webpush", openWebPush},
		{"webhook", openWebhook},
		{"direct", openDirect},
	}
}

// OpenProviders makes the instances that the settings list. It does not contact any push service. After an error, the
// instances already made are not closed.
func OpenProviders(listed []config.Provider) ([]pushext.Provider, error) {
	types := providerTypes()
	var providers []pushext.Provider
	for _, p := range listed {
		i := slices.IndexFunc(types, func(t providerType) bool { return t.name == p.Type })
		if i < 0 {
			var known []string
			for _, t := range types {
				known = append(known, t.name)
			}
			return nil, fmt.Errorf("provider %q has unknown type %q; use one of %s", p.Name, p.Type, strings.Join(known, ", "))
		}
		provider, err := types[i].open(p)
		if err != nil {
			return nil, err
		}
		providers = append(providers, provider)
	}
	return providers, nil
}

// CloseProviders closes the connections that providers keep.
func CloseProviders(providers []pushext.Provider) {
	for _, provider := range providers {
		if closer, ok := provider.(interface{ Close() }); ok {
			closer.Close()
		}
	}
}

// VAPIDKey is the public key that apps subscribe to a Web Push provider with.
type VAPIDKey struct{ Provider, Key string }

// VAPIDKeys lists the keys of the providers that have one.
func VAPIDKeys(providers []pushext.Provider) []VAPIDKey {
	var keys []VAPIDKey
	for _, provider := range providers {
		if public, ok := provider.(interface{ PublicKey() string }); ok {
			keys = append(keys, VAPIDKey{provider.Name(), public.PublicKey()})
		}
	}
	return keys
}

func openFCM(p config.Provider) (pushext.Provider, error) {
	var options struct {
		Endpoint        string // API base; empty: Google's
		ProjectID       string // empty: the one in the credentials
		CredentialsFile string // service account key file, JSON
		TokenURL        string // OAuth token endpoint; empty: the one in the credentials
		Timeout         config.Duration
	}
	if err := p.Decode(&options); err != nil {
		return nil, err
	}
	return fcm.New(fcm.Config{
		Name:            p.Name,
		Endpoint:        options.Endpoint,
		ProjectID:       options.ProjectID,
		CredentialsFile: options.CredentialsFile,
		TokenURL:        options.TokenURL,
		Timeout:         time.Duration(options.Timeout),
	})
}

func openWebhook(p config.Provider) (pushext.Provider, error) {
	var options struct {
		AllowHTTP    bool // http:// addresses too
		AllowPrivate bool // addresses of private networks and of this computer too; for tests
		Timeout      config.Duration
	}
	if err := p.Decode(&options); err != nil {
		return nil, err
	}
	return webhook.New(webhook.Config{
		Name:         p.Name,
		AllowHTTP:    options.AllowHTTP,
		AllowPrivate: options.AllowPrivate,
		Timeout:      time.Duration(options.Timeout),
	})
}

func openDirect(p config.Provider) (pushext.Provider, error) {
	var options struct {
		MaxLinks int // devices whose link is remembered; 0: 65536
		Timeout  config.Duration
	}
	if err := p.Decode(&options); err != nil {
		return nil, err
	}
	return direct.New(direct.Config{Name: p.Name, MaxLinks: options.MaxLinks, Timeout: time.Duration(options.Timeout)})
}

func openAPNS(p config.Provider) (pushext.Provider, error) {
	var options struct {
		Endpoint string // base URL; empty: Apple's
		Sandbox  bool   // development builds of the app
		Topic    string // the app's bundle id
		TeamID   string // of the developer account
		KeyID    string // of the key
		KeyFile  string // .p8 file of an APNs authentication key
		CAFile   string // PEM certificates to trust instead of the system's, for an emulator or a gateway
		Fallback string // what the user reads if the app could not open the push; empty: New message
		Timeout  config.Duration
	}
	if err := p.Decode(&options); err != nil {
		return nil, err
	}
	cfg := apns.Config{
		Name:     p.Name,
		Endpoint: options.Endpoint,
		Sandbox:  options.Sandbox,
		Topic:    options.Topic,
		TeamID:   options.TeamID,
		KeyID:    options.KeyID,
		KeyFile:  options.KeyFile,
		Fallback: options.Fallback,
		Timeout:  time.Duration(options.Timeout),
	}
	trust, err := trustedRoots(p.Name, options.CAFile)
	if err != nil {
		return nil, err
	}
	if trust != nil {
		cfg.HTTPClient = attempt.Client(attempt.Transport(trust, nil))
	}
	return apns.New(cfg)
}

func openHMS(p config.Provider) (pushext.Provider, error) {
	var options struct {
		Endpoint      string // API base; empty: Huawei's
		TokenURL      string // OAuth token endpoint; empty: Huawei's
		AppID         string // of the app in AppGallery Connect
		AppSecretFile string // file whose first line is the app's secret
		Timeout       config.Duration
	}
	if err := p.Decode(&options); err != nil {
		return nil, err
	}
	secret, err := providerSecret(p.Name, "AppSecretFile", options.AppSecretFile)
	if err != nil {
		return nil, err
	}
	return hms.New(hms.Config{
		Name:      p.Name,
		Endpoint:  options.Endpoint,
		TokenURL:  options.TokenURL,
		AppID:     options.AppID,
		AppSecret: secret,
		Timeout:   time.Duration(options.Timeout),
	})
}

func openPushy(p config.Provider) (pushext.Provider, error) {
	var options struct {
		Endpoint   string // API base; empty: Pushy's
		APIKeyFile string // file whose first line is the app's Secret API Key
		Fallback   string // what users of Apple devices read if the app could not open the push; empty: no alert
		Timeout    config.Duration
	}
	if err := p.Decode(&options); err != nil {
		return nil, err
	}
	key, err := providerSecret(p.Name, "APIKeyFile", options.APIKeyFile)
	if err != nil {
		return nil, err
	}
	return pushy.New(pushy.Config{
		Name:     p.Name,
		Endpoint: options.Endpoint,
		APIKey:   key,
		Fallback: options.Fallback,
		Timeout:  time.Duration(options.Timeout),
	})
}

func openGorush(p config.Provider) (pushext.Provider, error) {
	var options struct {
		Endpoint   string // base URL of a gorush server with core.sync = true and the local queue
		ConfigURL  string // where it tells its configuration; empty: /api/config there
		Platform   string // android or ios; an instance each
		Topic      string // ios: the app's bundle id
		Production bool   // ios: release builds of the app
		Fallback   string // ios: what the user reads if the app could not open the push; empty: New message
		Timeout    config.Duration
	}
	if err := p.Decode(&options); err != nil {
		return nil, err
	}
	return gorush.New(gorush.Config{
		Name:       p.Name,
		Endpoint:   options.Endpoint,
		ConfigURL:  options.ConfigURL,
		Platform:   options.Platform,
		Topic:      options.Topic,
		Production: options.Production,
		Fallback:   options.Fallback,
		Timeout:    time.Duration(options.Timeout),
	})
}

func openWebPush(p config.Provider) (pushext.Provider, error) {
	var options struct {
		KeyFile      string // VAPID private key, PEM or base64url
		Contact      string // where push services find the operator: mailto: or https:
		AllowHTTP    bool   // http:// endpoints too
		AllowPrivate bool   // endpoints in private networks and on this computer too
		CAFile       string // PEM certificates to trust instead of the system's, for distributors in a home network
		Timeout      config.Duration
	}
	if err := p.Decode(&options); err != nil {
		return nil, err
	}
	trust, err := trustedRoots(p.Name, options.CAFile)
	if err != nil {
		return nil, err
	}
	return webpush.New(webpush.Config{
		Name:         p.Name,
		KeyFile:      options.KeyFile,
		Contact:      options.Contact,
		AllowHTTP:    options.AllowHTTP,
		AllowPrivate: options.AllowPrivate,
		TLS:          trust,
		Timeout:      time.Duration(options.Timeout),
	})
}

// trustedRoots trusts only the certificates in a PEM file; nil without a file.
func trustedRoots(provider, path string) (*tls.Config, error) {
	if path == "" {
		return nil, nil
	}
	text, err := credentials.File("CAFile", path, "PEM certificates")
	if err != nil {
		return nil, fmt.Errorf("push provider %s: %w", provider, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("push provider %s: CAFile %q holds no PEM certificate", provider, path)
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}

// providerSecret reads a provider's secret, a line of text. It has a file of its own because settings are printed and
// shared.
func providerSecret(provider, key, path string) (string, error) {
	line, err := credentials.Line(key, path, "the secret")
	if err != nil {
		return "", fmt.Errorf("push provider %s: %w", provider, err)
	}
	return line, nil
}
