package node

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ethereum/go-ethereum/crypto"

	"whisperpush/config"
	"whisperpush/pushext/credentials"
)

// secretSize is the size in bytes of each key kept in a file: secp256k1 scalars and the disk key.
const secretSize = 32

// KeyFile is the file of one of the node's own keys, which the node makes at its first start.
type KeyFile struct {
	What    string // for people: "node key"
	setting string // the setting that names another file
	named   string // the file that the setting names; empty: none
	ours    string // the file in the data directory otherwise
	curve   bool   // whether it is a secp256k1 key; otherwise any 32 bytes
	loss    string // what happens to the registrations without it
	push    string // the directory of the registrations
}

// NodeKeyFile is the file of the node's identity, unless Node.KeyHex is set.
func NodeKeyFile(cfg config.Config) KeyFile {
	return KeyFile{
		What: "node key", setting: "Node.KeyFile (--nodekey)", named: cfg.Node.KeyFile, ours: filepath.Join(cfg.Node.DataDir, "nodekey"), curve: true,
		loss: "no registered device would find this node again, as the key is part of its enode URL", push: pushDir(cfg),
	}
}

// PushKeyFile is the file of the key that registrations are encrypted to.
func PushKeyFile(cfg config.Config) KeyFile {
	return KeyFile{
		What: "push key", setting: "Push.KeyFile", named: cfg.Push.KeyFile, ours: filepath.Join(cfg.Node.DataDir, "pushkey"), curve: true,
		loss: "no registered device would find its mailserver again", push: pushDir(cfg),
	}
}

// DiskKeyFile is the file of the key that registrations are sealed with on disk.
func DiskKeyFile(cfg config.Config) KeyFile {
	return KeyFile{
		What: "disk key", setting: "Push.DiskKeyFile", named: cfg.Push.DiskKeyFile, ours: filepath.Join(cfg.Node.DataDir, "push.disk.key"),
		loss: "the registrations cannot be read", push: pushDir(cfg),
	}
}

// Path is where the key is or will be.
func (k KeyFile) Path() string { return cmp.Or(k.named, k.ours) }

// Missing says that the key is missing and must not be made: either the operator named its file, and making one would
// hide a misspelt name, or there are registrations that depend on it.
func (k KeyFile) Missing() error {
	if _, err := os.Stat(k.Path()); !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if k.named != "" {
		return fmt.Errorf("%s names the file %q, and there is none", k.setting, k.named)
	}
	if entries, _ := os.ReadDir(k.push); len(entries) > 0 {
		return fmt.Errorf("the %s %s is missing, and without it %s; put it back, name it in %s, or move %s away to begin anew", k.What, k.ours, k.loss, k.setting, k.push)
	}
	return nil
}

// Read reads the key. The error is fs.ErrNotExist if there is none.
func (k KeyFile) Read() ([]byte, error) {
	text, err := os.ReadFile(k.Path())
	if err != nil {
		return nil, fmt.Errorf("the %s in %s cannot be read: %w", k.What, k.Path(), cause(err))
	}
	secret, err := parseSecret(text)
	if err != nil {
		return nil, fmt.Errorf("the %s in %s %w; put the right file there", k.What, k.Path(), err)
	}
	if _, err := crypto.ToECDSA(secret); k.curve && err != nil {
		return nil, fmt.Errorf("the %s in %s is not a secp256k1 private key; put the right file there", k.What, k.Path())
	}
	return secret, nil
}

// Load reads the key, and makes one at the first start.
func (k KeyFile) Load() (secret []byte, made bool, err error) {
	if err := k.Missing(); err != nil {
		return nil, false, err
	}
	if secret, err = k.Read(); !errors.Is(err, fs.ErrNotExist) {
		return secret, false, err
	}
	if secret, err = k.generate(); err != nil {
		return nil, false, fmt.Errorf("make the %s: %w", k.What, err)
	}
	if err := writeSecret(k.Path(), secret); err != nil {
		return nil, false, fmt.Errorf("the %s cannot be written to %s: %w", k.What, k.Path(), cause(err))
	}
	return secret, true, nil
}

func (k KeyFile) generate() ([]byte, error) {
	if k.curve {
		key, err := crypto.GenerateKey()
		if err != nil {
			return nil, err
		}
		return crypto.FromECDSA(key), nil
	}
	secret := make([]byte, secretSize)
	rand.Read(secret) // never fails
	return secret, nil
}

// cause is err without the path, which the sentence around it names already.
func cause(err error) error { return cmp.Or(errors.Unwrap(err), err) }

// writeSecret writes the file at path so that after a crash it is there in full or not at all. Only its owner can read
// it. It never replaces a file.
func writeSecret(path string, secret []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = file.WriteString(hex.EncodeToString(secret) + "\n")
	err = errors.Join(err, file.Sync(), file.Close())
	if err != nil {
		return err
	}
	if err := os.Link(file.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// ReadSecret reads the 32 bytes, in hex, of the file at path, which flag named.
func ReadSecret(path, flag string) ([]byte, error) {
	text, err := credentials.File(flag, path, fmt.Sprintf("one with %d hex digits", 2*secretSize))
	if err != nil {
		return nil, err
	}
	secret, err := parseSecret(text)
	if err != nil {
		return nil, fmt.Errorf("%s: the file %q %w", flag, path, err)
	}
	return secret, nil
}

// parseSecret reads 32 bytes in hex, with or without 0x, a line end or a byte order mark. The error continues a sentence
// that begins with the file.
func parseSecret(text []byte) ([]byte, error) {
	digits := strings.TrimSpace(string(credentials.Text(text)))
	if digits == "" {
		return nil, errors.New("is empty")
	}
	secret, err := hex.DecodeString(strings.TrimPrefix(strings.TrimPrefix(digits, "0x"), "0X"))
	if err != nil || len(secret) != secretSize {
		return nil, fmt.Errorf("is not %d hex digits", 2*secretSize)
	}
	return secret, nil
}

// ReadPassword is the first line of the file at path, which flag named.
func ReadPassword(path, flag string) (string, error) {
	return credentials.Line(flag, path, "the password")
}
