package registry

import (
	"context"
	"encoding/binary"
	"errors"

	"github.com/ethereum/go-ethereum/crypto"

	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/vault"
)

// KeyMarkOf is the mark by which a record names the push key, compressed, that its device
// asks with.
func KeyMarkOf(pushKey [33]byte) uint64 {
	return binary.BigEndian.Uint64(crypto.Keccak256([]byte("whisperpush push key"), pushKey[:])) | 1 // none is zero
}

// HeardWith notes that the device of a record asked with the push key of a mark. It
// writes once for each key.
func (r *Registry) HeardWith(rec *Record, mark uint64) error {
	if rec.heard == mark {
		return nil
	}
	return r.apply(func(c *decision) error {
		old, err := c.read(rec.ID, true)
		if err != nil || old == nil || !old.Live() || old.heard == mark {
			return err
		}
		next := old.clone()
		next.heard = mark
		c.put(edit{old: old, next: next})
		return nil
	})
}

// CountHeard counts all registrations, and those whose device last asked with the push
// key of a mark. It reads all of them; damaged ones are left out.
func (r *Registry) CountHeard(ctx context.Context, mark uint64) (heard, all int, err error) {
	v := r.settled()
	prefix := []byte{PrefixRecord}
	err = v.scan(prefix, func(key, sealed []byte) bool {
		if len(key) != 9 || ctx.Err() != nil {
			return ctx.Err() == nil
		}
		plain, err := v.store.Open(key, append([]byte(nil), sealed...))
		if errors.Is(err, vault.ErrSealed) {
			return true
		}
		rec, err := decodeRecord(registration.ID(binary.BigEndian.Uint64(key[1:])), plain)
		if err != nil || !rec.Live() {
			return true
		}
		all++
		if rec.heard == mark {
			heard++
		}
		return true
	})
	if err == nil {
		err = ctx.Err()
	}
	return heard, all, err
}
