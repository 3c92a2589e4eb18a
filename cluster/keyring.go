package cluster

import (
	"context"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/crypto"
	"golang.org/x/crypto/chacha20poly1305"

	"whisperpush/postgres"
	"whisperpush/pushext/pushserver"
)

// markSize is the size of the mark that a node beats with, in bytes.
const markSize = 16

// keyring is what nodes that share registrations have in common: their push keys, and the keys
// by which they recognize each other. There is one for each version of the push keys in the
// database. Version 0 is before the first exchange: its push keys are those in each node's
// files.
//
// In version 0 nodes recognize each other by a key derived from the push key, as programs that
// know no exchange do. From version 1 on that key is derived from the disk key, so the holder
// of a former push key cannot pose as a node. A node of version 0 lets in both. So do all nodes
// while there is a next key, because until it is current one of them may be of version 0.
type keyring struct {
	version int64
	keys    pushserver.Keys
	mark    []byte
	own     *identity           // what this node shows
	known   []ed25519.PublicKey // what it lets in
}

// firstKeyring is the keyring of version 0.
func firstKeyring(keys pushserver.Keys, diskKey []byte) (*keyring, error) {
	secret := crypto.FromECDSA(keys.Current)
	own, err := newIdentity(secret, "whisperpush cluster 1")
	if err != nil {
		return nil, err
	}
	later, err := newIdentity(diskKey, "whisperpush cluster 2")
	if err != nil {
		return nil, err
	}
	mark, err := hkdf.Key(sha256.New, append(secret, diskKey...), nil, "whisperpush cluster keys 1", markSize)
	if err != nil {
		return nil, fmt.Errorf("derive what nodes with the same keys have in common: %w", err)
	}
	return &keyring{keys: keys, mark: mark, own: own, known: []ed25519.PublicKey{own.public, later.public}}, nil
}

// keyringOf is the keyring of a later version. before holds the keys that nodes of the version
// before let in.
func keyringOf(version int64, keys pushserver.Keys, diskKey []byte, before []ed25519.PublicKey) (*keyring, error) {
	own, err := newIdentity(diskKey, "whisperpush cluster 2")
	if err != nil {
		return nil, err
	}
	mark, err := hkdf.Key(sha256.New, diskKey, nil, fmt.Sprintf("whisperpush cluster keys 2 %d", version), markSize)
	if err != nil {
		return nil, fmt.Errorf("derive what nodes with the same keys have in common: %w", err)
	}
	r := &keyring{version: version, keys: keys, mark: mark, own: own, known: []ed25519.PublicKey{own.public}}
	if keys.Next != nil {
		r.known = append(r.known, before...)
	}
	return r, nil
}

// sealKeys seals push keys for the database.
func (s *Server) sealKeys(version int64, keys pushserver.Keys) ([]byte, error) {
	record, err := keys.Record()
	if err != nil {
		return nil, err
	}
	plain, err := json.Marshal(record)
	if err != nil {
		return nil, err
	}
	aead, err := keySealer(s.cfg.Push.DiskKey)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, chacha20poly1305.NonceSizeX)
	rand.Read(nonce) // never fails
	return aead.Seal(nonce, nonce, plain, versionBytes(version)), nil
}

// openKeys reverses sealKeys. The error wraps pushserver.ErrDiskKey if they were sealed with
// another disk key, or for another version.
func openKeys(shared postgres.SharedKeys, diskKey []byte) (keys pushserver.Keys, err error) {
	aead, err := keySealer(diskKey)
	if err != nil {
		return keys, err
	}
	if len(shared.Sealed) < aead.NonceSize() {
		return keys, pushserver.ErrDiskKey
	}
	nonce, box := shared.Sealed[:aead.NonceSize()], shared.Sealed[aead.NonceSize():]
	plain, err := aead.Open(nil, nonce, box, versionBytes(shared.Version))
	if err != nil {
		return keys, pushserver.ErrDiskKey
	}
	var record pushserver.KeyRecord
	if err := json.Unmarshal(plain, &record); err != nil {
		return keys, errors.New("the push keys in the database are not as a program of this version writes them")
	}
	return record.Keys()
}

// keySealer seals push keys.
func keySealer(diskKey []byte) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, diskKey, nil, "whisperpush cluster push keys 1", chacha20poly1305.KeySize)
	if err != nil {
		return nil, fmt.Errorf("derive what seals push keys: %w", err)
	}
	return chacha20poly1305.NewX(key)
}

// SharedKeys are the push keys that the nodes of a database have exchanged; ok is false if they
// never did. The error wraps pushserver.ErrDiskKey if they were sealed with another disk key.
func SharedKeys(ctx context.Context, db *postgres.DB, diskKey []byte) (keys pushserver.Keys, ok bool, err error) {
	shared, err := db.Keys(ctx)
	if err == nil && shared.Version > 0 {
		keys, err = openKeys(shared, diskKey)
		ok = err == nil
	}
	if err != nil {
		err = fmt.Errorf("read the push keys that the nodes share: %w", err)
	}
	return keys, ok, err
}

func versionBytes(version int64) []byte {
	return binary.BigEndian.AppendUint64([]byte("version "), uint64(version))
}

// Keys are the push keys that this node answers to.
func (s *Server) Keys() pushserver.Keys { return s.ring.Load().keys }

// refresh takes the push keys that are in the database, if they are of a later version than
// this node's.
func (s *Server) refresh(ctx context.Context) error {
	shared, err := s.cfg.DB.Keys(ctx)
	if err != nil || shared.Version <= s.ring.Load().version {
		return err
	}
	keys, err := openKeys(shared, s.cfg.Push.DiskKey)
	if err != nil {
		return fmt.Errorf("read the push keys that the nodes share: %w", err)
	}
	return s.takeKeys(shared.Version, keys)
}

// takeKeys adopts the push keys of a version. It ignores keys that are not later than this
// node's.
func (s *Server) takeKeys(version int64, keys pushserver.Keys) error {
	s.taking.Lock()
	defer s.taking.Unlock()
	before := s.ring.Load()
	if version <= before.version {
		return nil
	}
	if before.version == 0 && !has(keys, before.keys) {
		return errOtherPushKey
	}
	ring, err := keyringOf(version, keys, s.cfg.Push.DiskKey, before.known)
	if err != nil {
		return err
	}
	s.ring.Store(ring)
	s.shards.Use(ring.mark)
	for _, c := range s.cores() {
		c.server.SetKeys(keys)
	}
	s.log.Info("this node has taken the push keys that the nodes share", "version", version, "next", keys.Next != nil)
	signal(s.rekeyed)
	return nil
}

// giveKeys gives a core the current push keys, which may have changed since the core was made.
func (s *Server) giveKeys(c *core) {
	s.taking.Lock()
	defer s.taking.Unlock()
	c.server.SetKeys(s.ring.Load().keys)
}

// errOtherPushKey says that the files of this node hold the push key of another server.
var errOtherPushKey = fmt.Errorf("%w; the push key is none that they had lately", postgres.ErrOtherKeys)

// has reports whether a node's own current key is among the shared keys.
func has(shared, own pushserver.Keys) bool {
	if own.Current.Equal(shared.Current) || shared.Next != nil && own.Current.Equal(shared.Next) {
		return true
	}
	for _, f := range shared.Former {
		if own.Current.Equal(f.Key) {
			return true
		}
	}
	return false
}

// beatOnce beats. If that is refused because the keys differ, it takes the current keys and
// beats again.
func (s *Server) beatOnce(ctx context.Context) (postgres.Leases, error) {
	l, err := s.shards.Beat(ctx)
	if !errors.Is(err, postgres.ErrOtherKeys) {
		return l, err
	}
	before := s.ring.Load().version
	if fresh := s.refresh(ctx); fresh != nil {
		return l, fresh
	}
	if s.ring.Load().version == before {
		return l, err
	}
	return s.shards.Beat(ctx)
}

// tellKeys tells the node of push keys that were taken, until ctx ends.
func (s *Server) tellKeys(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.rekeyed:
		}
		if s.cfg.Taken != nil {
			s.cfg.Taken(s.Keys())
		}
	}
}
