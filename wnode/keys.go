package wnode

import (
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ethereum/go-ethereum/crypto"

	"whisperpush/pushext/credentials"
)

// secretSize is the size in bytes of each key kept in a file: secp256k1 scalars and the disk key.
const secretSize = 32

// loadOrCreateKey reads the secp256k1 private key in the file at path, and makes one if there is no file.
// what is the key's name in error texts, such as "node key".
func loadOrCreateKey(path, what string) (*ecdsa.PrivateKey, error) {
	secret, err := loadOrCreateSecret(path, what, func() ([]byte, error) {
		key, err := crypto.GenerateKey()
		if err != nil {
			return nil, err
		}
		return crypto.FromECDSA(key), nil
	})
	if err != nil {
		return nil, err
	}
	key, err := crypto.ToECDSA(secret)
	if err != nil {
		return nil, fmt.Errorf("the %s in %s is not a secp256k1 private key; put the right file there", what, path)
	}
	return key, nil
}

// loadOrCreateSecret reads the 32 bytes in hex in the file at path, and makes them if there is no file.
func loadOrCreateSecret(path, what string, generate func() ([]byte, error)) ([]byte, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		secret, err := generate()
		if err != nil {
			return nil, fmt.Errorf("make the %s: %w", what, err)
		}
		if err := writeSecret(path, secret); err != nil {
			return nil, fmt.Errorf("the %s cannot be written to %s: %w", what, path, err)
		}
		return secret, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the %s in %s cannot be read: %w", what, path, errors.Unwrap(err))
	}
	secret, err := parseSecret(text)
	if err != nil {
		return nil, fmt.Errorf("the %s in %s %w; put the right file there", what, path, err)
	}
	return secret, nil
}

func randomSecret() ([]byte, error) {
	secret := make([]byte, secretSize)
	rand.Read(secret) // never fails
	return secret, nil
}

// writeSecret writes the file at path so that after a crash it is there whole or not at all. Only its owner may
// read it. It never replaces a file.
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

// readSecret reads the 32 bytes in hex in the file at path, which flag named.
func readSecret(path, flag string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s names the file %q, and there is none", flag, path)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	secret, err := parseSecret(text)
	if err != nil {
		return nil, fmt.Errorf("%s: the file %q %w", flag, path, err)
	}
	return secret, nil
}

// parseSecret reads 32 bytes in hex, with or without 0x, a line end or a byte order mark. The error ends a sentence
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

// readPassword is the first line of the file at path, which flag named.
func readPassword(path, flag string) (string, error) { return readLine(path, flag, "password") }

// readLine is the first line of the file at path, which setting named: a secret that people choose or are given.
// what it is called is for error texts.
func readLine(path, setting, what string) (string, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%s names the file %q, and there is none; put the %s into a file and name it", setting, path, what)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", setting, err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	line = strings.TrimRight(line, "\r")
	if line == "" {
		return "", fmt.Errorf("%s: the first line of %q is empty; it must be the %s", setting, path, what)
	}
	return line, nil
}
