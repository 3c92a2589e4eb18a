package durable

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/journal"
	"github.com/syndtr/goleveldb/leveldb/opt"
	"github.com/syndtr/goleveldb/leveldb/storage"
)

const (
	salvageSuffix    = ".salvage"    // a copy in which the engine drops what it cannot read
	recoveringSuffix = ".recovering" // what was read from that
	corruptSuffix    = ".corrupt-"
	corruptTime      = "20060102T150405Z"
)

// Recovery is what Recover did.
type Recovery struct {
	Keys   int      // keys in the salvaged database
	Bytes  int64    // of keys and values in it
	Aside  string   // the directory that holds the damaged database, untouched
	Losses []string // what could not be read: file and reason, mostly in the engine's words
}

// Recover salvages the damaged database in dir: what can be read of it is copied
// into a fresh database that takes its place, and the damaged one is kept beside
// it as <dir>.corrupt-<time>. Nobody may have it open (ErrLocked). It needs twice
// the space that the database takes. progress, which may be nil, is called with
// bytes done and bytes in all. Keys that had been deleted may come back, and a key
// may come back with an older value. An interrupted Recover leaves dir as it was
// and can be started again.
func Recover(ctx context.Context, dir string, progress func(done, total int64)) (r Recovery, err error) {
	if progress == nil {
		progress = func(int64, int64) {}
	}
	dir = filepath.Clean(dir)
	if err := resume(dir); err != nil {
		return r, err
	}
	if _, err := os.Stat(dir); err != nil {
		return r, err
	}
	unlock, err := LockDir(dir) // the file that goleveldb locks, too
	if err != nil {
		return r, err
	}
	defer unlock()
	salvaged, fresh := dir+salvageSuffix, dir+recoveringSuffix
	clear := func() error { return errors.Join(os.RemoveAll(salvaged), os.RemoveAll(fresh)) }
	if err := clear(); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, clear()) }()
	total, err := r.copyDatabase(ctx, dir, salvaged, progress)
	if err != nil {
		return r, fmt.Errorf("recover %s: %w", dir, err)
	}
	if err := r.salvage(ctx, salvaged, fresh, total, progress); err != nil {
		return r, fmt.Errorf("recover %s: %w", dir, err)
	}
	r.Aside = dir + corruptSuffix + time.Now().UTC().Format(corruptTime)
	if err := os.Rename(dir, r.Aside); err != nil {
		return r, err
	}
	if err := os.Rename(fresh, dir); err != nil {
		return r, errors.Join(err, os.Rename(r.Aside, dir))
	}
	return r, SyncDir(filepath.Dir(dir))
}

// resume ends a Recover that was interrupted between its two renames: what it
// salvaged is complete, for the damaged database is aside already.
func resume(dir string) error {
	_, missing := os.Stat(dir)
	_, err := os.Stat(dir + recoveringSuffix)
	if !errors.Is(missing, fs.ErrNotExist) || err != nil {
		return nil
	}
	if err := os.Rename(dir+recoveringSuffix, dir); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(dir))
}

// copyDatabase copies the files of a database but its lock and log. Of journals
// it copies the records that are whole: the engine would skip up to 32 KiB behind
// a damaged one.
func (r *Recovery) copyDatabase(ctx context.Context, from, to string, progress func(done, total int64)) (total int64, err error) {
	entries, err := os.ReadDir(from)
	if err != nil {
		return 0, err
	}
	var names []string
	for _, e := range entries {
		if !e.Type().IsRegular() || e.Name() == "LOCK" || strings.HasPrefix(e.Name(), "LOG") {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return 0, err
		}
		names = append(names, e.Name())
		total += 2 * info.Size() // copied, then read
	}
	if err := mkdirDurable(to); err != nil {
		return 0, err
	}
	var done int64
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		source, target := filepath.Join(from, name), filepath.Join(to, name)
		var n int64
		if filepath.Ext(name) == ".log" {
			var lost int
			if n, lost, err = copyJournal(source, target); lost > 0 {
				r.Losses = append(r.Losses, fmt.Sprintf("journal %s: corrupted in %d places", name, lost))
			}
		} else {
			n, err = copyFile(source, target)
		}
		if err != nil {
			return 0, err
		}
		done += n
		progress(done, total)
	}
	return total, SyncDir(to)
}

func copyFile(from, to string) (n int64, err error) {
	in, err := os.Open(from)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, err
	}
	if n, err = io.Copy(out, in); err == nil {
		err = out.Sync()
	}
	return n, errors.Join(err, out.Close())
}

// copyJournal copies what is whole of a journal and returns the bytes read and
// the number of damaged places.
func copyJournal(from, to string) (n int64, lost int, err error) {
	data, err := os.ReadFile(from)
	if err != nil {
		return 0, 0, err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, 0, err
	}
	records, lost := wholeRecords(data)
	j := journal.NewWriter(out)
	for _, record := range records {
		w, err := j.Next()
		if err == nil {
			_, err = w.Write(record)
		}
		if err != nil {
			out.Close()
			return 0, 0, err
		}
	}
	return int64(len(data)), lost, errors.Join(j.Close(), out.Sync(), out.Close())
}

// salvage makes the engine drop what it cannot read of the copy in dir and writes
// the rest to a new database in fresh. What the engine repaired is not used as it
// is: it writes the index of a repaired table in the wrong order, so that reading
// the table from its beginning works but looking up a key does not.
func (r *Recovery) salvage(ctx context.Context, dir, fresh string, total int64, progress func(done, total int64)) (err error) {
	files, err := openFiles(dir)
	if err != nil {
		return err
	}
	defer files.Close()
	stor := &listening{Storage: files}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrPanic, p)
		}
		r.Losses = append(r.Losses, stor.losses...)
	}()
	// Checksums are verified, but a bad block loses itself and not everything. Any
	// compaction would only touch the copy, and there is no need for one.
	db, err := leveldb.Recover(stor, &opt.Options{
		Strict:              opt.StrictBlockChecksum | opt.StrictJournalChecksum,
		Compression:         opt.NoCompression,
		CompactionL0Trigger: 1 << 30, WriteL0SlowdownTrigger: 1 << 30, WriteL0PauseTrigger: 1 << 30,
		DisableSeeksCompaction: true,
	})
	if err != nil {
		return err
	}
	defer db.Close()
	out, err := Open(fresh, Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	it := db.NewIterator(nil, nil)
	defer it.Release()
	batch, size := new(leveldb.Batch), 0
	for it.Next() {
		batch.Put(it.Key(), it.Value())
		r.Keys++
		size += len(it.Key()) + len(it.Value())
		if size < salvageBatch {
			continue
		}
		if err := errors.Join(ctx.Err(), out.Write(batch)); err != nil {
			return err
		}
		r.Bytes += int64(size)
		batch.Reset()
		size = 0
		progress(min(total/2+r.Bytes, total), total)
	}
	r.Bytes += int64(size)
	if err := errors.Join(it.Error(), out.Write(batch)); err != nil {
		return err
	}
	progress(total, total)
	return nil
}

// salvageBatch is how many bytes are written at a time.
const salvageBatch = 1 << 20

// listening collects what the engine says of its losses.
type listening struct {
	storage.Storage
	mu     sync.Mutex
	losses []string
}

// maxLosses bounds the report.
const maxLosses = 1000

func (l *listening) Log(s string) {
	if strings.Contains(s, "corrupt") || strings.Contains(s, "drop") || strings.Contains(s, "unrecoverable") || strings.Contains(s, "skipped") {
		l.mu.Lock()
		if len(l.losses) < maxLosses {
			l.losses = append(l.losses, s)
		}
		l.mu.Unlock()
	}
	l.Storage.Log(s)
}
