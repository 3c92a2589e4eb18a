package wnode

import (
	"context"
	"crypto/ecdsa"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/urfave/cli/v2"

	"whisperpush/config"
	"whisperpush/pushext/client"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
	"whisperpush/wnode/node"
)

// deviceSettings is what a device on the command line remembers from device register, besides the state that the client
// package keeps. Both files are in the device's directory, readable only by their owner.
type deviceSettings struct {
	Server       string          `json:"server"`       // enode URL of the mailserver, or the https URL of its door
	PushKey      string          `json:"pushKey"`      // its push key
	MailPassword string          `json:"mailPassword"` // for requests of history
	Chats        []deviceChat    `json:"chats"`
	Provider     string          `json:"provider"`           // name of the server's provider; with Direct, of the second route
	Token        string          `json:"token"`              // address at that provider
	Secret       hexutil.Bytes   `json:"secret,omitempty"`   // signs webhooks
	Emulator     string          `json:"emulator,omitempty"` // URL of the emulated push service
	Keys         []hexutil.Bytes `json:"keys,omitempty"`     // keys of the address there
	Device       string          `json:"device,omitempty"`   // the device's name there, if it is not Token
	Listen       string          `json:"listen,omitempty"`   // where webhooks are received, host:port
	Path         string          `json:"path,omitempty"`     // of the webhook's URL
	Direct       bool            `json:"direct,omitempty"`   // rung over its own connection, first
	Plain        bool            `json:"plain,omitempty"`
	Group        hexutil.Bytes   `json:"group,omitempty"`
	Voucher      hexutil.Bytes   `json:"voucher,omitempty"` // pays for the registration
	Me           hexutil.Bytes   `json:"me,omitempty"`      // private key that the user of the inbox signs with
	Sync         *deviceChat     `json:"sync,omitempty"`    // of the user's devices alone
}

// deviceChat is a client.Chat in a file. It has either Key or Identity.
type deviceChat struct {
	Name     string        `json:"name"`
	Topic    whisper.Topic `json:"topic"`
	Key      hexutil.Bytes `json:"key,omitempty"`      // symmetric, 32 bytes
	Identity hexutil.Bytes `json:"identity,omitempty"` // secp256k1 private key
}

const (
	directName   = "direct" // of the provider before a second route
	settingsFile = "settings.json"
	stateFile    = "state.json"
)

func defaultDeviceDir() string {
	return filepath.Join(filepath.Dir(config.DefaultDataDir()), ".whisperpush-device")
}

// pushed reports whether a push service or a webhook reaches the device.
func (s *deviceSettings) pushed() bool { return s.Emulator != "" || s.Listen != "" || s.Token != "" }

// byHand reports whether pushes, other than rings, reach the device only by device receive.
func (s *deviceSettings) byHand() bool { return s.pushed() && !s.hears() }

// hears reports whether pushes reach this program on their own.
func (s *deviceSettings) hears() bool { return s.Emulator != "" || s.Listen != "" }

// routes are the ways to the device, in order. Its own connection comes first: a device rung there needs no push.
func (s *deviceSettings) routes(device *client.Device) ([]pushwire.Route, error) {
	var routes []pushwire.Route
	if s.Direct {
		name := directName
		if !s.pushed() {
			name = s.Provider
		}
		route, err := device.DirectRoute(name)
		if err != nil {
			return nil, err
		}
		routes = append(routes, route)
	}
	if s.pushed() {
		route := pushwire.Route{Provider: s.Provider, Address: []byte(s.Token)}
		if len(s.Secret) > 0 {
			route.Keys = [][]byte{s.Secret}
		}
		for _, key := range s.Keys {
			route.Keys = append(route.Keys, key)
		}
		routes = append(routes, route)
	}
	return routes, nil
}

// registerFlags are the flags of device register that become settings.
func registerFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "server", Usage: "`URL` of the mail server: its enode URL, or that of its door, https://HOST"},
		&cli.StringFlag{Name: "pushkey", Usage: "the mail server's push `KEY`, as it printed when it started"},
		&cli.StringSliceFlag{Name: "chat", Usage: "listen to a chat whose members share a password, `NAME=PASSWORD`; its topic is made of the name, or is the name if that is 0x and 8 hex digits; may be repeated"},
		&cli.StringSliceFlag{Name: "inbox", Usage: "listen for messages to a private key, `NAME=FILE` with 64 hex digits; the topic as with --chat; may be repeated"},
		&cli.StringFlag{Name: "emulator", Usage: "be a device of the emulated push service at this `URL`"},
		&cli.StringFlag{Name: "webhook", Usage: "receive web-hooks on this `ADDRESS`, host:port; the server's provider must allow http and private addresses"},
		&cli.BoolFlag{Name: "direct", Usage: "be rung over the connection that device listen keeps; alone, or before one of --emulator, --webhook and --token, which then counts while there is no connection", DisableDefaultText: true},
		&cli.StringFlag{Name: "token", Usage: "a device `TOKEN` from elsewhere; pushes are given to device receive by hand"},
		&cli.StringFlag{Name: "provider", Usage: "`NAME` of the server's provider (default: webhook with --webhook, direct with --direct alone, with --emulator the type that it emulates, else fcm)"},
		&cli.StringFlag{Name: "mailpassword", Usage: "`FILE` with the mail server's password (default: the password status-offline-inbox)"},
		&cli.StringFlag{Name: "group", Usage: "`HEX` secret that the devices of one user share, at most 32 bytes: what one has seen, the others need not show"},
		&cli.StringFlag{Name: "me", Usage: "`FILE` with the private key that the user signs with, 64 hex digits, the same on all their devices (default: one made for this device)"},
		&cli.StringFlag{Name: "sync", Usage: "chat of the user's devices alone, `NAME=PASSWORD`, through which they tell each other what was read, muted and blocked"},
		&cli.StringFlag{Name: "voucher", Usage: "`FILE` with the voucher that pays for the registration, as wnode voucher finish printed it"},
		&cli.BoolFlag{Name: "plain", Usage: "ask for pushes that the push service can read", DisableDefaultText: true},
	}
}

// registerSettings reads the flags of device register.
func registerSettings(c *cli.Context) (*deviceSettings, error) {
	server, err := serverFlag(c, "server")
	if err != nil {
		return nil, err
	}
	s := &deviceSettings{
		Server: server, PushKey: c.String("pushkey"), MailPassword: config.DefaultPassword,
		Provider: c.String("provider"), Token: c.String("token"), Emulator: strings.TrimSuffix(c.String("emulator"), "/"),
		Listen: c.String("webhook"), Direct: c.Bool("direct"), Plain: c.Bool("plain"),
	}
	if file := c.String("voucher"); file != "" {
		bought, err := readVoucher(file)
		if err != nil {
			return nil, err
		}
		s.Voucher = bought
	}
	if s.PushKey == "" {
		return nil, errors.New("--pushkey is missing; give the push key that the mail server printed when it started")
	}
	if _, err := client.ParsePublicKey(s.PushKey); err != nil {
		return nil, errors.New("--pushkey is no public key; give the one that the mail server printed when it started")
	}
	ways := 0
	for _, way := range []bool{s.Emulator != "", s.Listen != "", s.Token != ""} {
		if way {
			ways++
		}
	}
	if ways > 1 || ways == 0 && !s.Direct {
		return nil, errors.New("a device is pushed to one way; give one of --emulator, --webhook and --token, or --direct, alone or with one of them")
	}
	switch {
	case s.Provider != "":
		if s.Direct && s.pushed() && s.Provider == directName {
			return nil, errors.New("--provider is of the second route and cannot be direct, which is the first; give the name of the push service's")
		}
	case s.Listen != "":
		s.Provider = "webhook"
	case !s.pushed():
		s.Provider = directName
	case s.Token != "":
		s.Provider = "fcm"
	}
	if path := c.String("mailpassword"); path != "" {
		var err error
		if s.MailPassword, err = node.ReadPassword(path, "--mailpassword"); err != nil {
			return nil, err
		}
	}
	if s.Group, err = hex.DecodeString(strings.TrimPrefix(c.String("group"), "0x")); err != nil || len(s.Group) > pushwire.MaxGroup {
		return nil, fmt.Errorf("--group is no secret; give at most %d bytes in hex", pushwire.MaxGroup)
	}
	if s.Chats, err = chatFlags(c); err != nil {
		return nil, err
	}
	if text := c.String("sync"); text != "" {
		chat, err := chatOf(text, "sync")
		if err != nil {
			return nil, err
		}
		s.Sync = &chat
	}
	former, err := loadDevice(c.String("dir"))
	known := err == nil
	// Another registration at the same webhook receiver keeps its URL.
	if known && s.Listen != "" && former.Listen == s.Listen {
		s.Path, s.Secret = former.Path, former.Secret
	}
	switch {
	case c.String("me") != "":
		s.Me, err = node.ReadSecret(c.String("me"), "--me")
	case known && len(former.Me) > 0:
		s.Me, err = former.Me, nil
	default:
		var key *ecdsa.PrivateKey
		if key, err = crypto.GenerateKey(); err == nil {
			s.Me = crypto.FromECDSA(key)
		}
	}
	return s, err
}

// chatOf reads the name and the password of a chat.
func chatOf(text, flag string) (deviceChat, error) {
	name, password, ok := strings.Cut(text, "=")
	if !ok || name == "" || password == "" {
		return deviceChat{}, fmt.Errorf("a --%s is a name, = and a password", flag)
	}
	topic, err := parseTopic(name, flag)
	return deviceChat{Name: name, Topic: topic, Key: whisper.KeyFromPassword(password)}, err
}

// chatFlags reads --chat and --inbox.
func chatFlags(c *cli.Context) ([]deviceChat, error) {
	var chats []deviceChat
	for _, flag := range []string{"chat", "inbox"} {
		for _, text := range c.StringSlice(flag) {
			name, value, ok := strings.Cut(text, "=")
			if !ok || name == "" || value == "" {
				return nil, fmt.Errorf("a --%s is a name, = and a %s", flag, map[string]string{"chat": "password", "inbox": "file"}[flag])
			}
			topic, err := parseTopic(name, flag)
			if err != nil {
				return nil, err
			}
			chat := deviceChat{Name: name, Topic: topic}
			if flag == "chat" {
				chat.Key = whisper.KeyFromPassword(value)
			} else if chat.Identity, err = node.ReadSecret(value, "--inbox"); err != nil {
				return nil, err
			}
			chats = append(chats, chat)
		}
	}
	if len(chats) == 0 {
		return nil, errors.New("there is nothing to listen to; give at least one --chat or --inbox")
	}
	return chats, nil
}

func loadDevice(dir string) (*deviceSettings, error) {
	path := filepath.Join(dir, settingsFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no device in %s; make one with wnode device register, or name its directory with --dir", dir)
	}
	if err != nil {
		return nil, err
	}
	s := new(deviceSettings)
	if err := json.Unmarshal(text, s); err != nil {
		return nil, fmt.Errorf("the device's settings in %s are damaged; register it again: %w", path, err)
	}
	return s, nil
}

func (s *deviceSettings) save(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("--dir: %w", err)
	}
	text, err := json.MarshalIndent(s, "", "\t")
	if err != nil {
		return err
	}
	return client.FileStore(filepath.Join(dir, settingsFile)).Save(context.Background(), text)
}

// open makes the client's device from the settings and from its state in dir.
func (s *deviceSettings) open(ctx context.Context, dir string) (*client.Device, error) {
	return s.openWith(ctx, dir, false)
}

// openComplete does what open does, for an inbox.
func (s *deviceSettings) openComplete(ctx context.Context, dir string) (*client.Device, error) {
	return s.openWith(ctx, dir, true)
}

func (s *deviceSettings) openWith(ctx context.Context, dir string, complete bool) (*client.Device, error) {
	cfg := client.Config{
		Server: s.Server, PushKey: s.PushKey, MailPassword: s.MailPassword, Complete: complete,
		Store: client.FileStore(filepath.Join(dir, stateFile)),
	}
	chats := s.Chats
	if s.Sync != nil {
		chats = append(slices.Clone(chats), *s.Sync)
	}
	for _, chat := range chats {
		c, err := chat.open()
		if err != nil {
			return nil, err
		}
		cfg.Chats = append(cfg.Chats, c)
	}
	return client.Open(ctx, cfg)
}

// open makes the client's chat.
func (d deviceChat) open() (client.Chat, error) {
	c := client.Chat{Name: d.Name, Topic: d.Topic, Key: d.Key}
	if len(d.Identity) > 0 {
		identity, err := crypto.ToECDSA(d.Identity)
		if err != nil {
			return c, fmt.Errorf("the private key of %q is no secp256k1 private key", d.Name)
		}
		c.Key, c.Identity = nil, identity
	}
	return c, nil
}
