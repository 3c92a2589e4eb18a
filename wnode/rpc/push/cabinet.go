package push

import (
	"context"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"golang.org/x/crypto/chacha20poly1305"

	"whisperpush/pushext/client"
)

// KeySize is the length of Config.Key in bytes.
const KeySize = 32

// errSealed says that a file was damaged, moved, or sealed under another key.
var errSealed = errors.New("it was sealed under another key, or is damaged")

// Endings of a device's two files. Their names tell nothing about the device.
const (
	accountFile = ".account" // what this package keeps of it
	stateFile   = ".state"   // what client.Device keeps
)

var fileName = regexp.MustCompile(`^[0-9a-f]{32}\.(account|state)$`)

// cabinet is the directory of the devices. Every file in it is sealed under a key that is kept elsewhere, and bound to
// its name.
type cabinet struct {
	dir  string
	aead cipher.AEAD
	mac  []byte
}

func newCabinet(dir string, key []byte) (*cabinet, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("the key of local programs' devices has %d bytes, and not %d", len(key), KeySize)
	}
	seal, err := hkdf.Key(sha256.New, key, nil, "whisperpush local devices seal 1", chacha20poly1305.KeySize)
	if err != nil {
		return nil, err
	}
	mac, err := hkdf.Key(sha256.New, key, nil, "whisperpush local devices name 1", sha256.Size)
	if err != nil {
		return nil, err
	}
	aead, err := chacha20poly1305.NewX(seal)
	if err != nil {
		return nil, err
	}
	return &cabinet{dir, aead, mac}, nil
}

// base is the beginning of the names of a device's files.
func (c *cabinet) base(device string) string {
	mac := hmac.New(sha256.New, c.mac)
	mac.Write([]byte(device))
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

// file is a device's file as a client.Store.
func (c *cabinet) file(device, ending string) sealedFile {
	return sealedFile{c, c.base(device) + ending}
}

// accounts reads every device. What a crash left half-written is removed, and what it left of a device that was being
// deleted.
func (c *cabinet) accounts() (all []*account, damaged []string, err error) {
	entries, err := os.ReadDir(c.dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	there := map[string]bool{}
	for _, entry := range entries {
		there[entry.Name()] = true
	}
	for _, entry := range entries {
		name := entry.Name()
		ending := filepath.Ext(name)
		orphan := ending == stateFile && !there[name[:len(name)-len(ending)]+accountFile]
		if !fileName.MatchString(name) || orphan {
			if err := os.Remove(filepath.Join(c.dir, name)); err != nil {
				return nil, nil, err
			}
			continue
		}
		if ending != accountFile {
			continue
		}
		a := new(account)
		if err := c.readAccount(name, a); err != nil {
			damaged = append(damaged, name)
			continue
		}
		all = append(all, a)
	}
	return all, damaged, nil
}

func (c *cabinet) readAccount(name string, a *account) error {
	text, err := sealedFile{c, name}.Load(context.Background())
	if err != nil {
		return err
	}
	return json.Unmarshal(text, a)
}

// write keeps an account, durably.
func (c *cabinet) write(ctx context.Context, a *account) error {
	text, err := json.Marshal(a)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return err
	}
	return c.file(a.Name, accountFile).Save(ctx, text)
}

// remove forgets a device. A crash in between leaves no account.
func (c *cabinet) remove(device string) error {
	for _, ending := range []string{accountFile, stateFile} {
		err := os.Remove(filepath.Join(c.dir, c.base(device)+ending))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// sealedFile is one file of a cabinet.
type sealedFile struct {
	*cabinet
	name string
}

var _ client.Store = sealedFile{}

func (f sealedFile) path() client.FileStore { return client.FileStore(filepath.Join(f.dir, f.name)) }

// Load implements client.Store.
func (f sealedFile) Load(ctx context.Context) ([]byte, error) {
	sealed, err := f.path().Load(ctx)
	if sealed == nil || err != nil {
		return nil, err
	}
	if len(sealed) < f.aead.NonceSize() {
		return nil, errSealed
	}
	text, err := f.aead.Open(nil, sealed[:f.aead.NonceSize()], sealed[f.aead.NonceSize():], []byte(f.name))
	if err != nil {
		return nil, errSealed
	}
	return text, nil
}

// Save implements client.Store.
func (f sealedFile) Save(ctx context.Context, text []byte) error {
	nonce := make([]byte, f.aead.NonceSize(), f.aead.NonceSize()+len(text)+f.aead.Overhead())
	rand.Read(nonce) // never fails
	return f.path().Save(ctx, f.aead.Seal(nonce, nonce, text, []byte(f.name)))
}
