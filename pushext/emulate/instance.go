package emulate

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Instance is an emulator of any type, with everything that a node and a device
// need to use it. `wnode emulate` and the load generators run it.
type Instance struct {
	*Service
	Type string

	// Options are the keys of the node's [[Push.Provider]] table, except those
	// that name files.
	Options map[string]any
	// Files are the files that the table names, by their keys in the table.
	Files map[string]File

	// Codes are the service's own error codes, for Answer.Code. For a service
	// without any, Answer takes HTTP statuses.
	Codes []string

	newDevice func() (Device, error)
}

// File is a credential for the node to read.
type File struct {
	Name    string // suggested
	Content []byte
	Secret  bool // only its owner may read it
}

// WriteFiles writes the files into dir, which must exist, and returns the path
// of each by its key, for Table. The error is an *fs.PathError.
func WriteFiles(dir string, files map[string]File) (paths map[string]string, err error) {
	paths = make(map[string]string)
	for key, file := range files {
		mode := fs.FileMode(0o644)
		if file.Secret {
			mode = 0o600
		}
		paths[key] = filepath.Join(dir, file.Name)
		if err := os.WriteFile(paths[key], file.Content, mode); err != nil {
			return nil, err
		}
	}
	return paths, nil
}

// Device is how a server reaches an emulated device: what an app on it would
// put into its registration's route.
type Device struct {
	Token   string   `json:"token"`   // for Pushes, Script and Unregister
	Address string   `json:"address"` // the route's address: the token, or a URL
	Keys    [][]byte `json:"keys,omitempty"`
	Type    string   `json:"type,omitempty"` // of the provider that reaches it
}

// kinds are the emulators, by the type of provider that they serve.
var kinds = []struct {
	name  string
	start func(addr string) (*Instance, error)
}{
	{"fcm", startFCM},
	{"apns", startAPNS},
	{"hms", startHMS},
	{"pushy", startPushy},
	{"gorush", startGorush},
	{"webpush", startWebPush},
	{"webhook", startWebhook},
}

// Types lists the types that Start knows.
func Types() []string {
	var names []string
	for _, k := range kinds {
		names = append(names, k.name)
	}
	return names
}

// Start starts an emulator for a type of provider at addr; "" is 127.0.0.1 at a
// free port.
func Start(kind, addr string) (*Instance, error) {
	for _, k := range kinds {
		if k.name != kind {
			continue
		}
		i, err := k.start(addr)
		if err != nil {
			return nil, err
		}
		i.Type = kind
		i.Codes = i.words.codes
		i.Service.subscribe = i.NewDevice
		return i, nil
	}
	return nil, fmt.Errorf("emulate: there is no emulator of type %q, only of %s", kind, strings.Join(Types(), ", "))
}

// NewDevice registers a fresh device.
func (i *Instance) NewDevice() (Device, error) {
	device, err := i.newDevice()
	device.Type = i.Type
	return device, err
}

// tokenDevice is NewDevice for services whose address is the device's token.
func (i *Instance) tokenDevice() (Device, error) {
	token := i.NewToken()
	return Device{Token: token, Address: token}, nil
}

func startFCM(addr string) (*Instance, error) {
	f, err := StartFCM(FCMConfig{Addr: addr})
	if err != nil {
		return nil, err
	}
	i := &Instance{
		Service: f.Service,
		Options: map[string]any{"Endpoint": f.Endpoint()},
		Files:   map[string]File{"CredentialsFile": {Name: "fcm-service-account.json", Content: f.CredentialsJSON(), Secret: true}},
	}
	i.newDevice = i.tokenDevice
	return i, nil
}

func startAPNS(addr string) (*Instance, error) {
	a, err := StartAPNS(APNSConfig{Addr: addr})
	if err != nil {
		return nil, err
	}
	i := &Instance{
		Service: a.Service,
		Options: map[string]any{"Endpoint": a.URL(), "Topic": a.Topic(), "TeamID": a.TeamID(), "KeyID": a.KeyID()},
		Files: map[string]File{
			"KeyFile": {Name: "apns-key.p8", Content: a.KeyPEM(), Secret: true},
			"CAFile":  {Name: "apns-ca.pem", Content: a.CertificatePEM()},
		},
	}
	i.newDevice = i.tokenDevice
	return i, nil
}

func startHMS(addr string) (*Instance, error) {
	h, err := StartHMS(HMSConfig{Addr: addr})
	if err != nil {
		return nil, err
	}
	i := &Instance{
		Service: h.Service,
		Options: map[string]any{"Endpoint": h.URL(), "TokenURL": h.TokenURL(), "AppID": h.AppID()},
		Files:   map[string]File{"AppSecretFile": {Name: "hms-app-secret", Content: []byte(h.AppSecret() + "\n"), Secret: true}},
	}
	i.newDevice = i.tokenDevice
	return i, nil
}

func startPushy(addr string) (*Instance, error) {
	p, err := StartPushy(PushyConfig{Addr: addr})
	if err != nil {
		return nil, err
	}
	i := &Instance{
		Service: p.Service,
		Options: map[string]any{"Endpoint": p.URL()},
		Files:   map[string]File{"APIKeyFile": {Name: "pushy-api-key", Content: []byte(p.APIKey() + "\n"), Secret: true}},
	}
	i.newDevice = i.tokenDevice
	return i, nil
}

// startGorush starts a gorush with a Firebase project. Its own failures are
// lines of text, which --fail cannot express; it can express HTTP statuses.
func startGorush(addr string) (*Instance, error) {
	g, err := StartGorush(GorushConfig{Addr: addr, Platform: 2})
	if err != nil {
		return nil, err
	}
	i := &Instance{Service: g.Service, Options: map[string]any{"Endpoint": g.URL(), "Platform": "android"}}
	i.newDevice = i.tokenDevice
	return i, nil
}

func startWebPush(addr string) (*Instance, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("emulate: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("emulate: %w", err)
	}
	p, err := StartWebPush(WebPushConfig{Addr: addr})
	if err != nil {
		return nil, err
	}
	return &Instance{
		Service: p.Service,
		Options: map[string]any{"Contact": "mailto:operator@example.org", "AllowHTTP": true, "AllowPrivate": true},
		Files: map[string]File{
			"KeyFile": {Name: "webpush-vapid.pem", Content: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), Secret: true},
		},
		newDevice: func() (Device, error) {
			s, err := p.Subscribe("")
			if err != nil {
				return Device{}, err
			}
			return Device{Token: s.Token, Address: s.Endpoint, Keys: [][]byte{s.P256dh, s.Auth}}, nil
		},
	}, nil
}

func startWebhook(addr string) (*Instance, error) {
	h, err := StartWebhook(WebhookConfig{Addr: addr})
	if err != nil {
		return nil, err
	}
	return &Instance{
		Service: h.Service,
		Options: map[string]any{"AllowHTTP": true, "AllowPrivate": true},
		newDevice: func() (Device, error) {
			url, token, secret := h.NewEndpoint()
			return Device{Token: token, Address: url, Keys: [][]byte{secret}}, nil
		},
	}, nil
}

// Table returns the instance's [[Push.Provider]] table for a node's settings.
// paths are the paths that its files were written to, by their keys in the
// table.
func (i *Instance) Table(paths map[string]string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[[Push.Provider]]\nName = %q\nType = %q\n", i.Type, i.Type)
	for _, key := range sorted(i.Options) {
		fmt.Fprintf(&b, "%s = %#v\n", key, i.Options[key])
	}
	for _, key := range sorted(paths) {
		fmt.Fprintf(&b, "%s = %q\n", key, paths[key])
	}
	return b.String()
}

func sorted[V any](m map[string]V) []string {
	var keys []string
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
