package archive

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/durable"
	"whisperpush/whisper"
)

// recoveredSuffix marks a partition that was set aside and has been salvaged since.
const recoveredSuffix = ".recovered"

// Recovered describes what Recover did with one partition that had been set aside.
type Recovered struct {
	Partition string // the name of its directory before
	Kept      string // the directory that still holds the damaged files
	Envelopes int    // read and archived again, or archived already
	Unread    int    // blocks of the log that are damaged themselves
	Losses    []string
}

// Recover reads the whole archive in dir and sets damaged partitions aside. It
// salvages the envelopes that can be read in them, and in those set aside before.
// It archives them again with new sequences, like envelopes that arrive late, so
// that clients with a cursor see them. As soon as they are on disk, it calls moved:
// the envelopes with the sequences old now have those from first on. If moved
// returns an error, the recovery ends and may be begun again. The damaged files are
// kept. The archive must not be open elsewhere. moved and progress may be nil.
func Recover(ctx context.Context, dir string, o Options, moved func(old []uint64, first uint64) error, progress func(done, total int64)) (out []Recovered, err error) {
	if err := setDamagedAside(ctx, dir, progress); err != nil {
		return nil, err
	}
	a, err := Open(dir, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	names, err := a.vol.list()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if !awaitsRecovery(name) {
			continue
		}
		r, err := a.recoverPartition(ctx, dir, name, moved, progress)
		if err != nil {
			return out, fmt.Errorf("recover %s: %w", name, err)
		}
		out = append(out, r)
	}
	return out, nil
}

// setDamagedAside checks every partition completely: Open reads no more of
// them than it needs.
func setDamagedAside(ctx context.Context, dir string, progress func(done, total int64)) (err error) {
	vol, err := openDirectory(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, vol.close()) }()
	names, err := vol.list()
	if err != nil {
		return err
	}
	for _, name := range names {
		if _, ok := parsePartition(name); !ok {
			continue
		}
		path := filepath.Join(dir, name)
		unborn, err := durable.Unborn(path, nil)
		if err != nil {
			return err
		}
		if unborn {
			continue // it is empty; Open removes it
		}
		_, err = durable.Check(ctx, path, progress)
		if errors.Is(err, durable.ErrCorrupted) {
			err = errors.Join(vol.rename(name, quarantineName(name, time.Now())), vol.sync())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *Archive) recoverPartition(ctx context.Context, dir, name string, moved func([]uint64, uint64) error, progress func(done, total int64)) (Recovered, error) {
	r := Recovered{Partition: name}
	path := filepath.Join(dir, name)
	salvaged, err := durable.Recover(ctx, path, progress)
	if err != nil {
		return r, err
	}
	r.Losses = salvaged.Losses
	first, _ := parseQuarantined(name)
	db, err := durable.Open(path, durable.Options{ReadOnly: true, Name: "archive", Metrics: a.db, Logger: a.log})
	if err != nil {
		return r, err
	}
	end, err := a.archiveAgain(ctx, db, moved, &r)
	if err := errors.Join(err, db.Close()); err != nil {
		return r, err
	}
	a.book.ended(first, end, len(r.Losses) == 0 && r.Unread == 0)
	// The salvaged copy is in the archive now; the damaged files take its name.
	r.Kept = name + recoveredSuffix
	return r, errors.Join(
		os.RemoveAll(path),
		os.Rename(salvaged.Aside, filepath.Join(dir, r.Kept)),
		durable.SyncDir(dir),
	)
}

// archiveAgain archives the envelopes in the log of db, and returns the newest
// sequence in it.
func (a *Archive) archiveAgain(ctx context.Context, db *durable.DB, moved func([]uint64, uint64) error, r *Recovered) (end uint64, err error) {
	it := db.Scan(nil, nil)
	defer it.Release()
	for it.Next() {
		if err := ctx.Err(); err != nil {
			return end, err
		}
		seq, kind, ok := splitKey(it.Key())
		if !ok || kind != kindLog {
			continue
		}
		end = max(end, seq)
		b, err := openBlock(seq, append([]byte(nil), it.Value()...))
		if err != nil {
			r.Unread++
			continue
		}
		records, err := b.records(nil, seq)
		if err != nil {
			r.Unread++
		}
		fresh, old := make([]*whisper.Envelope, 0, len(records)), make([]uint64, 0, len(records))
		for _, rec := range records {
			// An interrupted recovery may have archived it already.
			_, missing, err := a.ByHash(ctx, []common.Hash{rec.Hash})
			if err != nil {
				return end, err
			}
			if len(missing) > 0 {
				fresh, old = append(fresh, rec.Envelope), append(old, rec.Seq)
			}
		}
		before := a.Last()
		done := make(chan error, 1)
		a.Archive(ctx, fresh, func(err error) { done <- err })
		if err := <-done; err != nil {
			return end, err
		}
		// Nothing else archives meanwhile, so they are numbered in their order, unless
		// one of them was skipped.
		if moved != nil && len(old) > 0 && a.Last()-before == uint64(len(old)) {
			if err := moved(old, before+1); err != nil {
				return end, err
			}
		}
		for _, rec := range records {
			a.book.add(seqSpan{From: rec.Seq, To: rec.Seq})
			end = rec.Seq
		}
		r.Envelopes += len(records)
	}
	return end, it.Release()
}
