package vault

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"

	"whisperpush/durable"
)

// A disk key is exchanged while the database is in use. One batch seals two records with the new key: KeyCheck, so that
// the new key opens the database from then on, and KeyWrap. KeyWrap holds the fingerprint key, which stays, since the
// inputs of many fingerprints are not kept; and the former seal key, which opens records until all are resealed. Then
// KeyWrap is written again without the former seal key, and the former disk key opens nothing.

// ErrRotating means that an exchange of the disk key is not complete.
var ErrRotating = errors.New("the disk key is being exchanged: not all records are sealed with the new one yet")

// wrapVersion is the first byte of the record at KeyWrap. The fingerprint key follows, and then the former seal key
// if there is one.
const wrapVersion = 1

// Rotate exchanges the disk key. Afterwards the owners of records reseal them and call Rotated. The error wraps ErrRotating
// if an earlier exchange is not complete; then nothing has changed.
func (s *Vault) Rotate(former, diskKey []byte) error {
	if s.Rotating() {
		return ErrRotating
	}
	if len(diskKey) != DiskKeySize {
		return fmt.Errorf("disk key has %d bytes, want %d", len(diskKey), DiskKeySize)
	}
	next, _, err := sealer(diskKey)
	if err != nil {
		return err
	}
	before, sealKey, err := sealer(former)
	if err != nil {
		return err
	}
	check, err := s.Get(KeyCheck)
	if err != nil {
		return fmt.Errorf("read key check of push database: %w", err)
	}
	if _, err := open(before, nil, KeyCheck, check); err != nil {
		return ErrDiskKey
	}
	var b durable.Batch
	b.Put(KeyCheck, seal(next, KeyCheck, nil))
	b.Put(KeyWrap, seal(next, KeyWrap, append(append([]byte{wrapVersion}, s.mac...), sealKey...)))
	if err := s.Write(&b); err != nil {
		return err
	}
	s.keys.Store(&keys{aead: next, former: before})
	return nil
}

// Rotating reports whether records may be sealed with a former key.
func (s *Vault) Rotating() bool { return s.keys.Load().former != nil }

// Current reports whether a record is sealed with the current disk key.
func (s *Vault) Current(key, sealed []byte) bool {
	_, err := open(s.keys.Load().aead, nil, key, sealed)
	return err == nil
}

// Rotated completes an exchange, when nothing is sealed with the former key any more.
func (s *Vault) Rotated() error {
	k := s.keys.Load()
	var b durable.Batch
	b.Put(KeyWrap, seal(k.aead, KeyWrap, append([]byte{wrapVersion}, s.mac...)))
	if err := s.Write(&b); err != nil {
		return err
	}
	s.keys.Store(&keys{aead: k.aead})
	return nil
}

// unwrap reads what an exchange of the disk key has left, if there was one.
func (s *Vault) unwrap() error {
	sealed, err := s.DB.Get(KeyWrap)
	if errors.Is(err, durable.ErrNotFound) {
		return nil // there was no exchange
	}
	if err != nil {
		return fmt.Errorf("read the wrapped key of push database: %w", err)
	}
	return s.Wrapped(sealed)
}

// Wrapped makes a vault that is not in use yet use the fingerprint key of a database. sealed is the database's record at
// KeyWrap.
func (s *Vault) Wrapped(sealed []byte) error {
	plain, err := s.Open(KeyWrap, sealed)
	if err != nil {
		return fmt.Errorf("the wrapped key of push database: %w", err)
	}
	switch {
	case len(plain) == 1+sha256.Size && plain[0] == wrapVersion:
	case len(plain) == 1+sha256.Size+chacha20poly1305.KeySize && plain[0] == wrapVersion:
		former, err := chacha20poly1305.NewX(plain[1+sha256.Size:])
		if err != nil {
			return fmt.Errorf("former seal key: %w", err)
		}
		s.keys.Store(&keys{aead: s.keys.Load().aead, former: former})
	default:
		return fmt.Errorf("%w: its wrapped key has %d bytes", ErrFormat, len(plain))
	}
	s.fingerprintUnder(plain[1 : 1+sha256.Size])
	return nil
}

// WrapsFormer reports whether a record at KeyWrap holds a former key, which it does until all records are resealed.
func WrapsFormer(sealed []byte) bool {
	return len(sealed) > 1+chacha20poly1305.NonceSizeX+1+sha256.Size+chacha20poly1305.Overhead
}
