package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"whisperpush/durable"
)

// Save writes a snapshot of the index and the counters, unless there is a current one:
// the next start has it instead of reading all registrations. It writes none if memory
// may differ from the disk. Nothing changes any more.
func (r *Registry) Save(ctx context.Context) error {
	r.turn <- struct{}{}
	defer func() { <-r.turn }()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.saved || r.doubt != nil || r.store.Dir == "" {
		return nil
	}
	record, err := writeSnapshot(ctx, r.store.Dir, r.index, r.tally)
	if err != nil {
		return fmt.Errorf("write a snapshot of the index: %w", err)
	}
	var b durable.Batch
	b.Put(KeySnapshot, r.store.Seal(KeySnapshot, record))
	if err := r.store.Write(&b); err != nil {
		return fmt.Errorf("write the record of a snapshot: %w", err)
	}
	r.saved = true
	return nil
}

// restore reads the snapshot; false says that there is none, or none that can be used,
// which is then removed.
func (r *Registry) restore() (bool, error) {
	if r.store.Dir == "" {
		return false, nil
	}
	sealed, err := r.store.Get(KeySnapshot)
	if errors.Is(err, durable.ErrNotFound) {
		r.removeSnapshot() // it is older than a change that a crash followed
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read the record of the snapshot: %w", err)
	}
	r.saved = true
	record, err := r.store.Open(KeySnapshot, sealed)
	if err == nil {
		r.index, r.tally, err = readSnapshot(r.store.Dir, record)
	}
	if err == nil {
		return true, nil
	}
	r.log.Warn("the index is rebuilt from all registrations, because its snapshot cannot be used", "err", err)
	var b durable.Batch
	b.Delete(KeySnapshot)
	if err := r.store.Write(&b); err != nil {
		return false, fmt.Errorf("delete the record of the snapshot: %w", err)
	}
	r.saved = false
	r.removeSnapshot()
	return false, nil
}

// removeSnapshot removes the file, and what an interrupted write left of it.
func (r *Registry) removeSnapshot() {
	for _, name := range []string{snapshotName, snapshotTemp} {
		if err := os.Remove(filepath.Join(r.store.Dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			r.log.Error("an old snapshot of the index cannot be removed; it is sealed, and is tried again at the next start", "err", err)
		}
	}
}
