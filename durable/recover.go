package durable

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/iterator"
	"github.com/syndtr/goleveldb/leveldb/opt"
	"github.com/syndtr/goleveldb/leveldb/storage"
	"github.com/syndtr/goleveldb/leveldb/table"
	"github.com/syndtr/goleveldb/leveldb/util"
)

const (
	salvageSuffix    = ".salvage"    // the newest version of each key that could be read
	recoveringSuffix = ".recovering" // the database made of that
	corruptSuffix    = ".corrupt-"
	corruptTime      = "20060102T150405Z"
)

// Recovery is what Recover did.
type Recovery struct {
	Keys   int      // keys in the salvaged database
	Bytes  int64    // of keys and values in it
	Aside  string   // the directory that holds the damaged database, untouched
	Losses []string // what could not be read: file and reason
}

// Recover salvages the damaged database in dir: what can be read of it is copied
// into a fresh database that takes its place, and the damaged one is kept beside
// it as <dir>.corrupt-<time>. Nobody may have it open (ErrLocked). It needs twice
// the space that the database takes. progress, which may be nil, is called with
// bytes done and bytes in all. Keys that had been deleted may come back, and a key
// may come back with an older value. An interrupted Recover leaves dir as it was
// or, between its last two renames, is finished by the next one.
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
	files, err := openFiles(dir) // and locks it
	if err != nil {
		return r, err
	}
	defer files.Close()
	merged, fresh := dir+salvageSuffix, dir+recoveringSuffix
	clear := func() error { return errors.Join(os.RemoveAll(merged), os.RemoveAll(fresh)) }
	if err := clear(); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, clear()) }()
	if err := r.salvage(ctx, files, merged, fresh, progress); err != nil {
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

// resume ends a Recover that was interrupted between its two renames. What it
// salvaged is complete, because the damaged database is already aside.
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

// salvage reads every table and journal and makes the database in fresh of
// it. The engine's own recovery is not used: it fails on a damaged table that holds
// several versions of a key, writes the index of the tables it repairs in the wrong
// order, and skips up to 32 KiB of a journal behind a damaged record.
func (r *Recovery) salvage(ctx context.Context, files *fileStorage, merged, fresh string, progress func(done, total int64)) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.Join(err, fmt.Errorf("%w: %v", ErrPanic, p))
		}
	}()
	fds, err := files.List(storage.TypeTable | storage.TypeJournal)
	if err != nil {
		return err
	}
	slices.SortFunc(fds, func(a, b storage.FileDesc) int { return int(a.Num - b.Num) })
	m := &merge{ctx: ctx, progress: progress}
	for _, fd := range fds {
		if info, err := os.Stat(filepath.Join(files.dir, fileName(fd))); err == nil {
			m.total += 2 * info.Size() // read, then written
		}
	}
	if m.db, err = Open(merged, Options{KeyFilter: true}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.db.Close()) }()
	for _, fd := range fds {
		before := m.done
		lost, err := m.file(files, fd)
		if err != nil {
			return err
		}
		for _, l := range lost[:min(len(lost), maxLosses)] {
			r.Losses = append(r.Losses, fmt.Sprintf("%s: %s", fileName(fd), l))
		}
		if info, err := os.Stat(filepath.Join(files.dir, fileName(fd))); err == nil {
			m.done = before + info.Size()
		}
	}
	return r.fill(m, fresh)
}

// fileName is goleveldb's name for a table or journal.
func fileName(fd storage.FileDesc) string {
	if fd.Type == storage.TypeJournal {
		return fmt.Sprintf("%06d.log", fd.Num)
	}
	return fmt.Sprintf("%06d.ldb", fd.Num)
}

// maxLosses bounds the report on one file.
const maxLosses = 100

// fill makes the fresh database from the newest versions.
func (r *Recovery) fill(m *merge, fresh string) (err error) {
	out, err := Open(fresh, Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	it := m.db.Scan(nil, nil)
	defer it.Release()
	batch, size := new(Batch), 0
	write := func() error {
		if err := errors.Join(m.ctx.Err(), out.Write(batch)); err != nil {
			return err
		}
		r.Bytes += int64(size)
		batch.Reset()
		size = 0
		m.progress(min(m.done+r.Bytes, m.total), m.total)
		return nil
	}
	for it.Next() {
		v, err := openVersion(it.Value())
		if err != nil {
			return err
		}
		if v.deleted {
			continue
		}
		batch.Put(it.Key(), v.value)
		r.Keys++
		if size += len(it.Key()) + len(v.value); size >= salvageBatch {
			if err := write(); err != nil {
				return err
			}
		}
	}
	if err := errors.Join(it.Release(), write()); err != nil {
		return err
	}
	m.progress(m.total, m.total)
	return nil
}

// salvageBatch is how many bytes are written at a time.
const salvageBatch = 1 << 20

// merge keeps the newest version of each key, whatever the order in which they come.
type merge struct {
	ctx         context.Context
	db          *DB // key: version
	progress    func(done, total int64)
	done, total int64
}

// version is a key's value as of a sequence number of the engine.
type version struct {
	seq     uint64
	deleted bool
	value   []byte
}

func openVersion(b []byte) (version, error) {
	if len(b) < 9 {
		return version{}, fmt.Errorf("%w: salvaged record of %d bytes", ErrCorrupted, len(b))
	}
	return version{binary.BigEndian.Uint64(b), b[8] != 0, b[9:]}, nil
}

// add takes a version unless there is a newer one.
func (m *merge) add(b *Batch, pending map[string]uint64, key []byte, v version) error {
	if seq, ok := pending[string(key)]; ok && seq >= v.seq {
		return nil
	}
	switch old, err := m.db.Get(key); {
	case errors.Is(err, ErrNotFound):
	case err != nil:
		return err
	default:
		if before, err := openVersion(old); err != nil || before.seq >= v.seq {
			return err
		}
	}
	value := append(binary.BigEndian.AppendUint64(make([]byte, 0, 9+len(v.value)), v.seq), 0)
	if v.deleted {
		value[8] = 1
	}
	b.Put(key, append(value, v.value...))
	pending[string(key)] = v.seq
	m.done += int64(len(key) + len(v.value))
	return nil
}

// entry is a version and its key.
type entry struct {
	key []byte
	version
}

// file takes every version in a file, and returns what cannot be read.
func (m *merge) file(files storage.Storage, fd storage.FileDesc) (lost []string, err error) {
	r, err := files.Open(fd)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, pending, size := new(Batch), make(map[string]uint64), 0
	take := func(e entry) error {
		if err := m.add(b, pending, e.key, e.version); err != nil {
			return err
		}
		if size += len(e.key) + len(e.value); size < salvageBatch {
			return nil
		}
		if err := errors.Join(m.ctx.Err(), m.db.WriteUnsynced(b)); err != nil {
			return err
		}
		b.Reset()
		clear(pending)
		size = 0
		m.progress(min(m.done, m.total), m.total)
		return nil
	}
	if fd.Type == storage.TypeJournal {
		lost, err = journalEntries(r, take)
	} else {
		lost, err = tableEntries(r, fd, take)
	}
	return lost, errors.Join(err, m.db.WriteUnsynced(b))
}

// journalEntries calls take for everything whole in a journal.
func journalEntries(r storage.Reader, take func(entry) error) (lost []string, err error) {
	var data bytes.Buffer
	if _, err := data.ReadFrom(r); err != nil {
		return nil, err
	}
	records, damaged := wholeRecords(data.Bytes())
	if damaged > 0 {
		lost = append(lost, fmt.Sprintf("damaged in %d places", damaged))
	}
	const header = 8 + 4 // sequence number of the first entry, number of entries
	for _, record := range records {
		var b leveldb.Batch
		if len(record) < header || b.Load(record[header:]) != nil {
			lost = append(lost, "a batch that cannot be read")
			continue
		}
		c := collector{seq: binary.LittleEndian.Uint64(record), take: take}
		if err := errors.Join(b.Replay(&c), c.err); err != nil {
			return lost, err
		}
	}
	return lost, nil
}

// collector numbers the entries of a batch.
type collector struct {
	seq  uint64
	take func(entry) error
	err  error
}

func (c *collector) add(key, value []byte, deleted bool) {
	c.err = errors.Join(c.err, c.take(entry{key, version{c.seq, deleted, value}}))
	c.seq++
}

// Put implements leveldb.BatchReplay.
func (c *collector) Put(key, value []byte) { c.add(key, value, false) }

// Delete implements leveldb.BatchReplay.
func (c *collector) Delete(key []byte) { c.add(key, nil, true) }

// tableEntries calls take for everything in the sound blocks of a table.
func tableEntries(r storage.Reader, fd storage.FileDesc, take func(entry) error) (lost []string, err error) {
	size, err := r.Seek(0, 2)
	if err != nil {
		return nil, err
	}
	// Checksums are verified, and a bad block loses itself and nothing else.
	t, err := table.NewReader(r, size, fd, nil, util.NewBufferPool(opt.DefaultBlockSize), &opt.Options{Strict: opt.StrictBlockChecksum})
	if err != nil {
		return nil, err
	}
	defer t.Release()
	it := t.NewIterator(nil, nil)
	defer it.Release()
	if told, ok := it.(iterator.ErrorCallbackSetter); ok {
		told.SetErrorCallback(func(err error) { lost = append(lost, err.Error()) })
	}
	for it.Next() {
		// The engine's key: the key, then 7 bytes of sequence number and one of kind.
		key := it.Key()
		if len(key) < 8 || key[len(key)-8] > 1 {
			lost = append(lost, "a key that is none")
			continue
		}
		number := binary.LittleEndian.Uint64(key[len(key)-8:])
		if err := take(entry{key[:len(key)-8], version{number >> 8, number&0xff == 0, it.Value()}}); err != nil {
			return lost, err
		}
	}
	if err := it.Error(); err != nil && !isCorrupted(err) {
		return lost, err
	} else if err != nil {
		lost = append(lost, "unreadable from here on: "+err.Error())
	}
	return lost, nil
}
