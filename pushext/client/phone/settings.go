package phone

import (
	"bytes"
	"crypto/ecdsa"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"whisperpush/pushext/client"
	"whisperpush/whisper"
)

const (
	// defaultPatience is how many seconds a call may take: iOS gives a notification
	// extension 30, Android gives a receiver 10 to 20.
	defaultPatience = 20
	// maxText is the longest settings or arguments, in bytes.
	maxText = 1 << 20
)

// settings are the object that Open takes.
type settings struct {
	Directory string `json:"directory"`
	Server    string `json:"server"`  // https URL of a door, or enode URL
	PushKey   string `json:"pushKey"` // hexadecimal
	// FormerPushKeys are as in client.Config.
	FormerPushKeys []string `json:"formerPushKeys"`
	Chats          []chat   `json:"chats"`
	// Sync is a chat whose key only the user's devices have. It need not be among
	// Chats.
	Sync *chat `json:"sync"`
	// Installation is the platform's identifier of this installation, see
	// client.Config.
	Installation string `json:"installation"`
	MailPassword string `json:"mailPassword"`
	Patience     int    `json:"patience"` // seconds; 0: 20
}

// chat is a chat in the settings and in the call setChats.
type chat struct {
	Name     string `json:"name"`
	Topic    string `json:"topic"`              // 0x and 8 digits, or a name from which it is derived; empty: Name
	Password string `json:"password,omitempty"` // of its members; or
	Key      string `json:"key,omitempty"`      // 32 bytes in hexadecimal; or
	Identity string `json:"identity,omitempty"` // private key that its messages are encrypted to
	Unlisted bool   `json:"unlisted,omitempty"`
}

func (c chat) open() (client.Chat, error) {
	name := c.Topic
	if name == "" {
		name = c.Name
	}
	topic := whisper.TopicFor(name)
	if strings.HasPrefix(name, "0x") {
		var err error
		if topic, err = whisper.ParseTopic(name); err != nil {
			return client.Chat{}, fmt.Errorf("chat %.40q: %w", c.Name, err)
		}
	}
	opened := client.Chat{Name: c.Name, Topic: topic, Unlisted: c.Unlisted}
	given := 0
	if c.Password != "" {
		opened.Key = whisper.KeyFromPassword(c.Password)
		given++
	}
	if c.Key != "" {
		key, err := hex.DecodeString(strings.TrimPrefix(c.Key, "0x"))
		if err != nil || len(key) != 32 {
			return client.Chat{}, fmt.Errorf("chat %.40q: its key is not 32 bytes in hexadecimal", c.Name)
		}
		opened.Key = key
		given++
	}
	if c.Identity != "" {
		identity, err := privateKey(c.Identity)
		if err != nil {
			return client.Chat{}, fmt.Errorf("chat %.40q: its identity: %w", c.Name, err)
		}
		opened.Identity = identity
		given++
	}
	if given != 1 {
		return client.Chat{}, fmt.Errorf("chat %.40q: give one of password, key and identity", c.Name)
	}
	return opened, nil
}

func openChats(chats []chat) ([]client.Chat, error) {
	opened := make([]client.Chat, 0, len(chats)+1)
	for _, c := range chats {
		one, err := c.open()
		if err != nil {
			return nil, err
		}
		opened = append(opened, one)
	}
	return opened, nil
}

// errPrivateKey does not repeat the text that was given.
var errPrivateKey = errors.New("this is no private key: 32 bytes in hexadecimal")

func privateKey(text string) (*ecdsa.PrivateKey, error) {
	key, err := crypto.HexToECDSA(strings.TrimPrefix(text, "0x"))
	if err != nil {
		return nil, errPrivateKey
	}
	return key, nil
}

// decode reads an object strictly, so that a misspelled name is not a default.
func decode(text string, into any) error {
	if len(text) > maxText {
		return fmt.Errorf("%d bytes of JSON, and at most %d are read", len(text), maxText)
	}
	if strings.TrimSpace(text) == "" {
		text = "{}"
	}
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		if wrong := new(json.UnmarshalTypeError); errors.As(err, &wrong) {
			return fmt.Errorf("%q must be a %s", wrong.Field, wrong.Type) // without the value
		}
		if syntax := new(json.SyntaxError); errors.As(err, &syntax) {
			return fmt.Errorf("the JSON is broken at byte %d", syntax.Offset)
		}
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("something follows the JSON object")
	}
	return nil
}

// readSettings checks the settings as far as no file is needed.
func readSettings(text string) (s settings, err error) {
	if err := decode(text, &s); err != nil {
		return s, fmt.Errorf("settings: %w", err)
	}
	switch {
	case s.Directory == "":
		return s, errors.New(`settings: "directory" is missing; give one that only the app can read`)
	case s.Patience < 0:
		return s, errors.New(`settings: "patience" is negative; give seconds, or 0 for 20`)
	case s.Patience == 0:
		s.Patience = defaultPatience
	}
	return s, nil
}

func (s *settings) patience() time.Duration { return time.Duration(s.Patience) * time.Second }

// identityFile holds the key with which the user signs.
const identityFile = "identity"

// identity reads the user's key, or creates it.
func (s *settings) identity() (*ecdsa.PrivateKey, error) {
	if err := os.MkdirAll(s.Directory, 0o700); err != nil {
		return nil, fmt.Errorf("the app's directory: %w", err)
	}
	file := filepath.Join(s.Directory, identityFile)
	for {
		text, err := os.ReadFile(file)
		if err == nil {
			key, err := privateKey(strings.TrimSpace(string(text)))
			if err != nil {
				return nil, fmt.Errorf("the user's key in %s: %w", file, err)
			}
			return key, nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("the user's key: %w", err)
		}
		key, err := crypto.GenerateKey()
		if err != nil {
			return nil, err
		}
		if err := place(file, []byte(hex.EncodeToString(crypto.FromECDSA(key))+"\n")); err != nil && !errors.Is(err, os.ErrExist) {
			return nil, fmt.Errorf("the user's key: %w", err)
		}
	}
}

// place writes a file that must not exist yet. Another process sees all of it or
// nothing.
func place(file string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-*") // readable by its owner only
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(content)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Link(f.Name(), file)
}
