package pushwire

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"
)

const (
	// ChainSize is the length in bytes of a chain's start and of each of its keys.
	ChainSize = chacha20poly1305.KeySize
	// MaxChain is how many keys a chain has. A device makes all keys before the
	// one it needs, which takes a phone some milliseconds at most.
	MaxChain = 1 << 14

	chainInfo = "whisperpush/2 chain"
	chainKey  = 1 // labels of what is made from a link
	chainNext = 2
)

// ChainStart makes the start of the chain that a device gives to its server in the
// Register of a version. The device need not keep it: the private seal key is enough
// to make it again.
func ChainStart(sealPrivate []byte, version uint64) ([ChainSize]byte, error) {
	info := binary.BigEndian.AppendUint64([]byte(chainInfo), version)
	key, err := hkdf.Key(sha256.New, sealPrivate, nil, string(info), ChainSize)
	if err != nil {
		return [ChainSize]byte{}, fmt.Errorf("pushwire: chain: %w", err)
	}
	return [ChainSize]byte(key), nil
}

// Chain makes keys to seal wake-ups under without agreeing on a key with the device
// each time, which takes fifty times as long as sealing. Device and server agreed on
// the chain's start when the device registered. A Chain goes forward only: the keys
// that it made before cannot be made again from what it holds, so whoever takes over
// a server cannot open what it has sent. With L the chain's value, which at first is
// the start, a key and the value that follows are
//
//	key = SHA-256(L | 0x01)    L' = SHA-256(L | 0x02)
//
// L always has ChainSize bytes. A Chain is a value, and copies advance independently.
type Chain struct {
	Version uint64 // of the Register that started it
	Next    uint64 // number of the key that comes next, from 0
	Link    [ChainSize]byte
}

// ChainKey is one key of a chain, for one content.
type ChainKey struct {
	version, number uint64
	key             [ChainSize]byte
}

// NewChain begins a chain with the start that the Register of a version gave.
func NewChain(version uint64, start [ChainSize]byte) Chain {
	return Chain{Version: version, Link: start}
}

// Take returns the next key and forgets it. ok is false if the chain is used up,
// until the device registers again.
func (c *Chain) Take() (key ChainKey, ok bool) {
	if c.Next >= MaxChain {
		return ChainKey{}, false
	}
	key = ChainKey{c.Version, c.Next, hashLink(c.Link, chainKey)}
	c.Skip(1)
	return key, true
}

// Skip skips n keys, which can then no longer be made from c.
func (c *Chain) Skip(n uint64) {
	for range min(n, MaxChain-min(c.Next, MaxChain)) {
		c.Link = hashLink(c.Link, chainNext)
		c.Next++
	}
}

func hashLink(link [ChainSize]byte, label byte) [ChainSize]byte {
	var b [ChainSize + 1]byte // on the stack
	copy(b[:], link[:])
	b[ChainSize] = label
	return sha256.Sum256(b[:])
}

// SealChained seals a wake-up under a key of a chain. Without the public seal key, the
// body cannot be told from one that a Sealer made. In place of the encapsulated key it
// has the version and the number of the key, 8 bytes each, big-endian, and 16 zeros,
// masked in the same way.
func SealChained(p Payload, sealKey []byte, key ChainKey) ([]byte, error) {
	s := Sealer{}
	var err error
	if s.mask, err = maskKey(sealKey); err != nil {
		return nil, err
	}
	if s.aead, err = chacha20poly1305.NewX(key.key[:]); err != nil {
		return nil, fmt.Errorf("pushwire: payload's key: %w", err)
	}
	binary.BigEndian.PutUint64(s.encapsulated[:], key.version)
	binary.BigEndian.PutUint64(s.encapsulated[8:], key.number)
	return s.Seal(p)
}

// chained returns the key that an encapsulated key stands for. ok is false if it
// really is an encapsulated key. The error wraps ErrCannotOpen.
func chained(encapsulated, sealPrivate []byte) (key []byte, ok bool, err error) {
	for _, b := range encapsulated[16:] {
		if b != 0 {
			return nil, false, nil // fewer than one curve point in 2^128 ends like this
		}
	}
	version, number := binary.BigEndian.Uint64(encapsulated), binary.BigEndian.Uint64(encapsulated[8:])
	if number >= MaxChain {
		return nil, true, fmt.Errorf("%w: key %d of a chain, which has %d", ErrCannotOpen, number, MaxChain)
	}
	start, err := ChainStart(sealPrivate, version)
	if err != nil {
		return nil, true, err
	}
	c := NewChain(version, start)
	c.Skip(number)
	taken, _ := c.Take()
	return taken.key[:], true, nil
}
