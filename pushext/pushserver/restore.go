package pushserver

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"whisperpush/durable"
	"whisperpush/pushext/pushserver/outbox"
	"whisperpush/pushext/pushserver/registry"
	"whisperpush/pushext/pushserver/vault"
)

// Snapshot calls each with every record of the push database, all as of one moment and sealed as they are on disk. The
// slices are valid during the call only. Snapshot blocks no other work.
func (x *Server) Snapshot(each func(key, value []byte) error) error {
	return copyRecords(x.store.DB, each)
}

// SnapshotDir is Snapshot of the push database in dir, which nobody else has open.
func SnapshotDir(dir string, each func(key, value []byte) error) error {
	db, err := durable.Open(dir, vault.Options(durable.Options{ReadOnly: true}))
	if err != nil {
		return err
	}
	return errors.Join(copyRecords(db, each), db.Close())
}

func copyRecords(db durable.Store, each func(key, value []byte) error) error {
	it := db.Scan(nil, nil)
	defer it.Release()
	for it.Next() {
		if bytes.Equal(it.Key(), vault.KeyWrap) && vault.WrapsFormer(it.Value()) {
			return fmt.Errorf("%w; a node that runs completes it in a moment, and then it can be copied", ErrRotating)
		}
		if err := each(it.Key(), it.Value()); err != nil {
			return err
		}
	}
	if err := it.Release(); err != nil {
		return fmt.Errorf("read the push database: %w", err)
	}
	return nil
}

// CursorOf returns the place in the archive's log, if this record of a Snapshot holds it.
func CursorOf(key, value []byte) (cursor uint64, ok bool) {
	if !bytes.Equal(key, outbox.KeyCursor) || len(value) != 8 {
		return 0, false
	}
	return binary.BigEndian.Uint64(value), true
}

// Restoration puts records of a Snapshot into a database of their own. The database is valid only once Close has returned
// nil.
type Restoration struct {
	s     *vault.Vault
	batch durable.Batch
	size  int
}

// restoreBatch is how many bytes are written at a time.
const restoreBatch = 1 << 20

// Restore begins a push database in dir, where there must be none. The records must have been sealed with diskKey.
func Restore(dir string, diskKey []byte) (*Restoration, error) {
	s, err := vault.New(diskKey)
	if err != nil {
		return nil, err
	}
	db, err := durable.Open(dir, vault.Options(durable.Options{}))
	if err != nil {
		return nil, err
	}
	s.DB = db
	return &Restoration{s: s}, nil
}

// Put adds a record. The error wraps ErrDiskKey if it is sealed and does not open.
func (r *Restoration) Put(key, value []byte) error {
	if bytes.Equal(key, registry.KeySnapshot) {
		return nil // the index it belongs to is not copied
	}
	if len(key) > 0 && (key[0] == registry.PrefixRecord || key[0] == registry.PrefixListening) || bytes.Equal(key, vault.KeyCheck) {
		if _, err := r.s.Open(key, value); err != nil {
			return fmt.Errorf("%w, or a record was changed: give the key file that belongs to it", vault.ErrDiskKey)
		}
	}
	r.batch.Put(key, value)
	if r.size += len(key) + len(value); r.size < restoreBatch {
		return nil
	}
	return r.flush()
}

func (r *Restoration) flush() error {
	err := r.s.Write(&r.batch)
	r.batch.Reset()
	r.size = 0
	return err
}

// Close completes the database. It skips what a server that continues from an old state must not use again: registration
// ids, and the numbers and keys of wake-ups.
func (r *Restoration) Close(now time.Time) error {
	err := r.complete(now)
	return errors.Join(err, r.s.Close())
}

func (r *Restoration) complete(now time.Time) error {
	if err := r.flush(); err != nil {
		return err
	}
	format, err := r.s.Get(vault.KeyFormat)
	if err != nil || !vault.Readable(format) || lost(r.s, vault.KeyCheck) {
		return fmt.Errorf("%w: the record of its format or its key is missing", vault.ErrFormat)
	}
	if err := outbox.Restored(r.s, now); err != nil {
		return err
	}
	switch next, err := r.s.Get(registry.KeyNextID); {
	case errors.Is(err, durable.ErrNotFound): // nobody ever registered
		return nil
	case err != nil:
		return err
	case len(next) != 8:
		return fmt.Errorf("the next registration id has %d bytes, want 8", len(next))
	default:
		var b durable.Batch
		b.Put(registry.KeyNextID, binary.BigEndian.AppendUint64(nil, binary.BigEndian.Uint64(next)+skippedIDs))
		return r.s.Write(&b)
	}
}

// Abort abandons the database.
func (r *Restoration) Abort() { r.s.Close() }
