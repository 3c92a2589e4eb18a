package registry

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"whisperpush/durable"
	"whisperpush/pushext/pushserver/registration"
)

// resealBatch bounds the records that one write seals again.
const resealBatch = 256

// Reseal seals with the current disk key the records that were sealed with a former one,
// while registrations go on, and returns how many. The start of a chain is deleted
// instead: its device is woken without one until it registers again.
func (r *Registry) Reseal(ctx context.Context) (n int, err error) {
	if err := r.apply(func(c *decision) error { c.delete(KeySnapshot); return nil }); err != nil {
		return 0, err
	}
	for _, prefix := range []byte{PrefixRecord, PrefixListening, registration.PrefixChain} {
		from := []byte{prefix}
		for from != nil {
			if err := ctx.Err(); err != nil {
				return n, err
			}
			var stale [][]byte
			if stale, from, err = r.stale(prefix, from); err != nil {
				return n, err
			}
			if err := r.apply(func(c *decision) error { return c.reseal(stale) }); err != nil {
				return n, err
			}
			n += len(stale)
		}
	}
	return n, nil
}

// stale lists keys, from one on, whose records are sealed with a former key, and returns
// where to go on; nil: there are no more.
func (r *Registry) stale(prefix byte, from []byte) (keys [][]byte, next []byte, err error) {
	err = r.settled().scanFrom([]byte{prefix}, from, func(key, value []byte) bool {
		if len(keys) == resealBatch {
			next = bytes.Clone(key)
			return false
		}
		if !r.store.Current(key, value) {
			keys = append(keys, bytes.Clone(key))
		}
		return true
	})
	return keys, next, err
}

func (c *decision) reseal(keys [][]byte) error {
	for _, key := range keys {
		sealed, err := c.value(key)
		if errors.Is(err, durable.ErrNotFound) {
			continue // it ended meanwhile
		}
		if err != nil {
			return err
		}
		plain, err := c.store.Open(key, slices.Clone(sealed))
		switch {
		case err != nil: // damaged, and logged when it is read
		case key[0] == registration.PrefixChain:
			c.delete(key)
		default:
			c.set(key, c.store.Seal(key, plain))
		}
	}
	return nil
}
