package transfer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/bits"

	"whisperpush/durable"
	"whisperpush/pushext/pushserver/outbox"
	"whisperpush/pushext/pushserver/registry"
	"whisperpush/pushext/pushserver/vault"
)

// Sums tell whether two stores have the same records, in whatever order they came. They hold, for each first byte of keys,
// the number of records and the sum of their hashes. The zero value is that of an empty store.
type Sums struct{ of [256]sum }

type sum struct {
	records int
	hashes  [4]uint64
}

// Add adds a record. If it is sealed, what is under its seal counts.
func (s *Sums) Add(v *vault.Vault, key, value []byte) error {
	plain, err := plainOf(v, key, value)
	if err != nil {
		return fmt.Errorf("the record %x: %w", key[:1], err)
	}
	h := sha256.New()
	h.Write(binary.AppendUvarint(nil, uint64(len(key))))
	h.Write(key)
	h.Write(plain)
	all := h.Sum(nil)
	one := &s.of[key[0]]
	one.records++
	var carry uint64
	for i := range one.hashes {
		one.hashes[i], carry = bits.Add64(one.hashes[i], binary.LittleEndian.Uint64(all[8*i:]), carry)
	}
	return nil
}

// Compare says where another store differs. The error wraps ErrDiffer.
func (s *Sums) Compare(other *Sums) error {
	for first := range s.of {
		switch a, b := s.of[first], other.of[first]; {
		case a.records != b.records:
			return fmt.Errorf("%w: there are %d records %q, and not %d", ErrDiffer, b.records, rune(first), a.records)
		case a.hashes != b.hashes:
			return fmt.Errorf("%w: a record %q was changed", ErrDiffer, rune(first))
		}
	}
	return nil
}

// SumsOf reads a store. each is called for each record.
func SumsOf(ctx context.Context, s durable.Store, v *vault.Vault, each func()) (*Sums, error) {
	sums := new(Sums)
	it := s.Scan(nil, nil)
	defer it.Release()
	for it.Next() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		each()
		if key := it.Key(); bytes.Equal(key, registry.KeySnapshot) || bytes.Equal(key, keyProbe) {
			continue
		}
		if err := sums.Add(v, it.Key(), it.Value()); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDiffer, err)
		}
	}
	if err := it.Release(); err != nil {
		return nil, fmt.Errorf("read the push database: %w", err)
	}
	return sums, nil
}

// counter counts what is put, in all and by kind.
type counter struct {
	report *Report
	put    Put
}

func (c counter) add(shard int, key, value []byte) error {
	c.report.Records++
	switch {
	case registry.KindOf(key) == registry.Sealed && key[0] == registry.PrefixRecord:
		c.report.Registrations++
	case outbox.KindOf(key) == outbox.OfDevice:
		c.report.Outboxes++
		c.report.Waiting += outbox.Waiting(idBehind(key), value)
	}
	return c.put(shard, key, value)
}
