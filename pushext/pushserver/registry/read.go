package registry

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sort"

	"whisperpush/durable"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/vault"
)

// reader reads registrations: those on disk, and above them, while a change is
// decided, what is decided and not written yet.
type reader struct {
	*Registry
	layers []overlay // newest first
}

// settled reads what is on disk.
func (r *Registry) settled() reader { return reader{Registry: r} }

// Counts are how many registrations and channels there are.
type Counts struct {
	Unconfirmed int // registrations that never proved an address
	Registered  int // that did
	Tombstones  int // of registrations that ended
	Channels    int // of all registrations
	Indexed     int // channels that envelopes are matched against: of those that are woken
	Codes       int // challenges on their way
}

// Counts counts without reading the disk. Changes that are decided and not written yet
// count.
func (r *Registry) Counts() Counts {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Counts{
		Unconfirmed: r.count[classFresh], Registered: r.count[classLive], Tombstones: r.count[classTomb],
		Channels: r.channels, Indexed: r.index.Size(), Codes: r.codes.onTheirWay(),
	}
}

// value reads the value of a key; if there is none, the error is durable.ErrNotFound.
func (v reader) value(key []byte) ([]byte, error) {
	for _, layer := range v.layers {
		if w, ok := layer[string(key)]; ok {
			if w.deleted {
				return nil, durable.ErrNotFound
			}
			return w.value, nil
		}
	}
	return v.store.Get(key)
}

// scan calls fn for the keys with a prefix, in order, until it returns false. It
// must keep neither key nor value.
func (v reader) scan(prefix []byte, fn func(key, value []byte) bool) error {
	return v.scanFrom(prefix, prefix, fn)
}

// scanFrom is scan from a key on.
func (v reader) scanFrom(prefix, from []byte, fn func(key, value []byte) bool) error {
	keys, of := overlaid(v.layers, prefix)
	keys = keys[sort.SearchStrings(keys, string(from)):]
	it := v.store.ScanFrom(prefix, from)
	defer it.Release()
	next := it.Next()
	for next || len(keys) > 0 {
		if len(keys) == 0 || next && string(it.Key()) < keys[0] {
			if !fn(it.Key(), it.Value()) {
				return nil
			}
			next = it.Next()
			continue
		}
		if next && string(it.Key()) == keys[0] {
			next = it.Next()
		}
		if w := of[keys[0]]; !w.deleted && !fn([]byte(keys[0]), w.value) {
			return nil
		}
		keys = keys[1:]
	}
	if err := it.Release(); err != nil {
		return fmt.Errorf("read registrations: %w", err)
	}
	return nil
}

// lookup returns the registration, or the tombstone, of a key; nil if there is
// none.
func (v reader) lookup(key [33]byte) (*Record, error) {
	value, err := v.value(v.keyKey(key))
	if errors.Is(err, durable.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look up a registration: %w", err)
	}
	return v.read(registration.ID(binary.BigEndian.Uint64(value)), true)
}

// read returns a record, with its channels if asked; nil if there is none or
// it is damaged, which is logged. The error is the disk's.
func (v reader) read(id registration.ID, channels bool) (*Record, error) {
	plain, err := v.open(PrefixRecord, id)
	if errors.Is(err, durable.ErrNotFound) {
		return nil, nil
	}
	var rec *Record
	if err == nil {
		rec, err = decodeRecord(id, plain)
	}
	if err == nil {
		v.respell(rec)
	}
	if err == nil && channels {
		if plain, err = v.open(PrefixListening, id); err == nil {
			err = rec.decodeListening(plain)
		}
	}
	switch {
	case err == nil:
		return rec, nil
	case errors.Is(err, durable.ErrNotFound), errors.Is(err, vault.ErrSealed), errors.Is(err, errRecord):
		v.damaged(id, err)
		return nil, nil
	}
	return nil, fmt.Errorf("read a registration: %w", err)
}

// open reads and opens one sealed part of a registration.
func (v reader) open(prefix byte, id registration.ID) ([]byte, error) {
	key := idKey(prefix, id)
	sealed, err := v.value(key)
	if err != nil {
		return nil, err
	}
	return v.store.Open(key, sealed)
}

// member is a registration found by a secondary key, and that key's value.
type member struct {
	id    registration.ID
	value []byte
}

// members lists the registrations at a secondary key, oldest first, at most
// max and one more.
func (v reader) members(prefix byte, f [16]byte, max int) ([]member, error) {
	var all []member
	err := v.scan(append([]byte{prefix}, f[:]...), func(key, value []byte) bool {
		all = append(all, member{registration.ID(binary.BigEndian.Uint64(key[len(key)-8:])), slices.Clone(value)})
		return len(all) <= max
	})
	return all, err
}
