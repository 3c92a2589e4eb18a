package pushserver

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"whisperpush/durable"
	"whisperpush/pushext/pushserver/outbox"
	"whisperpush/pushext/pushserver/registry"
	"whisperpush/pushext/pushserver/vault"
)

// skippedIDs is how many registration ids a recovery skips when it has lost the
// next id to give out. No more can have been given to registrations that are lost
// themselves.
const skippedIDs = 1 << 32

// Recover checks the push database in dir. If it is damaged, Recover salvages
// it as durable.Recover does and completes it, so that New can open it again.
// sound says that there was nothing to do. The devices of lost registrations
// find out with their next request and register again. If the place in the
// archive is lost, everything that is still archived and younger than
// Delivery.TTL is matched again: devices may then be woken a second time for
// it. The error wraps ErrDiskKey or one of durable's.
func Recover(ctx context.Context, dir string, diskKey []byte, progress func(done, total int64)) (r durable.Recovery, sound bool, err error) {
	switch _, err := durable.Check(ctx, dir, progress); {
	case errors.Is(err, durable.ErrCorrupted):
		if r, err = durable.Recover(ctx, dir, progress); err != nil {
			return r, false, err
		}
	case err != nil:
		return r, false, err
	default:
		sound = true
	}
	s, err := vault.New(diskKey)
	if err != nil {
		return r, sound, err
	}
	db, err := durable.Open(dir, vault.Options(durable.Options{}))
	if err != nil {
		return r, sound, err
	}
	s.DB = db
	if sound = sound && !lost(s, vault.KeyFormat); !sound { // lost: completing it was interrupted
		err = complete(s, db)
	}
	return r, sound, errors.Join(err, s.DB.Close())
}

// lost reports whether a record that every database has is missing.
func lost(s *vault.Vault, key []byte) bool {
	_, err := s.Get(key)
	return errors.Is(err, durable.ErrNotFound)
}

// complete writes the records that every database must have and the salvaged one
// has lost.
func complete(s *vault.Vault, db *durable.DB) error {
	var b durable.Batch
	b.Delete(registry.KeySnapshot) // a salvaged database has none
	outbox.EndLedgers(&b, time.Now())
	if lost(s, vault.KeyFormat) || lost(s, vault.KeyCheck) {
		if err := opensSomething(s); err != nil {
			return err
		}
		b.Put(vault.KeyFormat, []byte{vault.StoreFormat})
		b.Put(vault.KeyCheck, s.Seal(vault.KeyCheck, nil))
	}
	if lost(s, outbox.KeyCursor) {
		b.Put(outbox.KeyCursor, make([]byte, 8))
	}
	if lost(s, registry.KeyNextID) {
		newest := uint64(0)
		for _, prefix := range []byte{registry.PrefixRecord, registry.PrefixListening, outbox.Prefix} {
			it := db.Backward(durable.Prefix([]byte{prefix}))
			if it.Next() && len(it.Key()) == 9 {
				newest = max(newest, binary.BigEndian.Uint64(it.Key()[1:]))
			}
			it.Release()
		}
		if newest > 0 {
			b.Put(registry.KeyNextID, binary.BigEndian.AppendUint64(nil, newest+skippedIDs))
		}
	}
	return s.Write(&b)
}

// opensSomething proves the disk key by opening one of the sealed records that
// are left.
func opensSomething(s *vault.Vault) error {
	it := s.Scan(registry.PrefixRecord)
	defer it.Release()
	some := false
	for ; it.Next(); some = true {
		if _, err := s.Open(it.Key(), it.Value()); err == nil {
			return nil
		}
	}
	if err := it.Release(); err != nil {
		return err
	}
	if some {
		return fmt.Errorf("%w: restore the key file that belongs to it", vault.ErrDiskKey)
	}
	return nil // there are none
}

// OpenMoves opens the push database in dir, which must be sound. The error wraps
// ErrDiskKey, ErrFormat, or one of durable's.
func OpenMoves(dir string, diskKey []byte) (*Moves, error) {
	s, err := vault.Open(dir, diskKey, durable.Options{})
	if err != nil {
		return nil, err
	}
	m, err := outbox.NewMoves(s)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return m, nil
}
