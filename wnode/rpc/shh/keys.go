package shh

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"

	"whisperpush/whisper"
)

// maxKeys bounds the keys of each kind that callers can leave here.
const maxKeys = 100_000

// What geth answers, word for word.
var (
	errNoSuchPair = errors.New("invalid id")
	errNoSuchKey  = errors.New("non-existent key ID")
	errNoPrivate  = errors.New("invalid length, need 256 bits")

	errTooManyKeys = fmt.Errorf("there are %d keys already; delete some", maxKeys)
)

// keys holds what callers named: key pairs and symmetric keys, by random id.
type keys struct {
	mu        sync.Mutex // guards the following fields
	pairs     map[string]*ecdsa.PrivateKey
	symmetric map[string][]byte
}

func newKeys() keys {
	return keys{pairs: map[string]*ecdsa.PrivateKey{}, symmetric: map[string][]byte{}}
}

// newID is 32 random bytes in hex without 0x, as geth's ids are.
func newID() string {
	id := make([]byte, 32)
	rand.Read(id) // never fails
	return hex.EncodeToString(id)
}

func (k *keys) addPair(key *ecdsa.PrivateKey) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return add(k.pairs, key)
}

func (k *keys) addSymmetric(key []byte) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return add(k.symmetric, key)
}

func add[K any](kept map[string]K, key K) (string, error) {
	if len(kept) >= maxKeys {
		return "", errTooManyKeys
	}
	id := newID()
	kept[id] = key
	return id, nil
}

func (k *keys) pair(id string) (*ecdsa.PrivateKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	key, ok := k.pairs[id]
	if !ok {
		return nil, errNoSuchPair
	}
	return key, nil
}

func (k *keys) symmetricKey(id string) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	key, ok := k.symmetric[id]
	if !ok {
		return nil, errNoSuchKey
	}
	return key, nil
}

// NewKeyPair makes a secp256k1 key pair to sign with and to be written to, and returns its id.
func (a *API) NewKeyPair(context.Context) (string, error) {
	key, err := crypto.GenerateKey()
	if err != nil {
		return "", err
	}
	return a.keys.addPair(key)
}

// AddPrivateKey keeps a private key of 32 bytes and returns its id.
func (a *API) AddPrivateKey(_ context.Context, privateKey hexutil.Bytes) (string, error) {
	key, err := crypto.ToECDSA(privateKey)
	if err != nil {
		return "", errNoPrivate
	}
	return a.keys.addPair(key)
}

// DeleteKeyPair forgets a key pair.
func (a *API) DeleteKeyPair(_ context.Context, id string) (bool, error) {
	a.keys.mu.Lock()
	defer a.keys.mu.Unlock()
	if _, ok := a.keys.pairs[id]; !ok {
		return false, fmt.Errorf("key pair %.64s not found", id)
	}
	delete(a.keys.pairs, id)
	return true, nil
}

// HasKeyPair tells whether there is a key pair with this id.
func (a *API) HasKeyPair(_ context.Context, id string) bool {
	_, err := a.keys.pair(id)
	return err == nil
}

// GetPublicKey returns the public key of a pair, 65 bytes uncompressed.
func (a *API) GetPublicKey(_ context.Context, id string) (hexutil.Bytes, error) {
	key, err := a.keys.pair(id)
	if err != nil {
		return nil, err
	}
	return crypto.FromECDSAPub(&key.PublicKey), nil
}

// GetPrivateKey returns the private key of a pair, 32 bytes.
func (a *API) GetPrivateKey(_ context.Context, id string) (hexutil.Bytes, error) {
	key, err := a.keys.pair(id)
	if err != nil {
		return nil, err
	}
	return crypto.FromECDSA(key), nil
}

// NewSymKey makes a random symmetric key and returns its id.
func (a *API) NewSymKey(context.Context) (string, error) {
	key := make([]byte, whisper.SymmetricKeySize)
	rand.Read(key) // never fails
	return a.keys.addSymmetric(key)
}

// AddSymKey keeps a symmetric key of 32 bytes and returns its id.
func (a *API) AddSymKey(_ context.Context, key hexutil.Bytes) (string, error) {
	if len(key) != whisper.SymmetricKeySize {
		return "", fmt.Errorf("wrong key size: %d", len(key))
	}
	return a.keys.addSymmetric(key)
}

// GenerateSymKeyFromPassword derives a symmetric key from a password, keeps it and returns its id.
func (a *API) GenerateSymKeyFromPassword(_ context.Context, password string) (string, error) {
	return a.keys.addSymmetric(whisper.KeyFromPassword(password))
}

// HasSymKey tells whether there is a symmetric key with this id.
func (a *API) HasSymKey(_ context.Context, id string) bool {
	_, err := a.keys.symmetricKey(id)
	return err == nil
}

// GetSymKey returns a symmetric key, 32 bytes.
func (a *API) GetSymKey(_ context.Context, id string) (hexutil.Bytes, error) {
	return a.keys.symmetricKey(id)
}

// DeleteSymKey forgets a symmetric key, and tells whether there was one.
func (a *API) DeleteSymKey(_ context.Context, id string) bool {
	a.keys.mu.Lock()
	defer a.keys.mu.Unlock()
	_, ok := a.keys.symmetric[id]
	delete(a.keys.symmetric, id)
	return ok
}
