package durable

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	lerrors "github.com/syndtr/goleveldb/leveldb/errors"
	"github.com/syndtr/goleveldb/leveldb/journal"
	"github.com/syndtr/goleveldb/leveldb/storage"
)

// Storage is the files of a database, for tests that replace them, for example with package
// faultstore.
type Storage = storage.Storage

// DirSyncer is implemented by a Storage given in Options.Storage whose directory entries
// need an fsync of their own.
type DirSyncer interface {
	// SyncDir makes the creations, renames and removals so far durable.
	SyncDir() error
}

// fileStorage is goleveldb's directory of files with an fsync of the directory.
type fileStorage struct {
	storage.Storage
	dir string
}

// openFiles opens and locks dir, creating it durably.
func openFiles(dir string) (*fileStorage, error) {
	if err := mkdirDurable(dir); err != nil {
		return nil, err
	}
	s, err := storage.OpenFile(dir, false)
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES) && lockExists(dir) {
		return nil, fmt.Errorf("%w: %s (stop the other process or choose another directory)", ErrLocked, dir)
	}
	if err != nil {
		return nil, err
	}
	return &fileStorage{Storage: s, dir: dir}, nil
}

func lockExists(dir string) bool {
	f, err := os.OpenFile(filepath.Join(dir, "LOCK"), os.O_RDWR, 0)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

func (s *fileStorage) SyncDir() error { return SyncDir(s.dir) }

// SetMeta implements storage.Storage. goleveldb's leaves an unfinished CURRENT behind
// when the disk is full, and takes the database for damaged if there was none before.
func (s *fileStorage) SetMeta(fd storage.FileDesc) error {
	err := s.Storage.SetMeta(fd)
	if err != nil {
		os.Remove(filepath.Join(s.dir, fmt.Sprintf("CURRENT.%d", fd.Num)))
	}
	return err
}

// clearMeta removes every CURRENT there is.
func (s *fileStorage) clearMeta() error {
	names, err := filepath.Glob(filepath.Join(s.dir, "CURRENT*"))
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	return nil
}

// Create implements storage.Storage. Journals are rewriters.
func (s *fileStorage) Create(fd storage.FileDesc) (storage.Writer, error) {
	if fd.Type != storage.TypeJournal {
		return s.Storage.Create(fd)
	}
	f, err := os.OpenFile(filepath.Join(s.dir, fileName(fd)), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return nil, err
	}
	return journalFile{f}, nil
}

// journalFile is a journal among files.
type journalFile struct{ *os.File }

// SyncData implements rewriter.
func (f journalFile) SyncData() error { return syncData(f.File) }

// SyncDir fsyncs the directory dir: the names in it are durable afterwards.
func SyncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) {
		return fmt.Errorf("fsync directory %s: %w", dir, err)
	}
	return nil
}

// mkdirDurable is os.MkdirAll that fsyncs the parent of each directory it made.
func mkdirDurable(dir string) error {
	if fi, err := os.Stat(dir); err == nil {
		if !fi.IsDir() {
			return fmt.Errorf("%s is not a directory", dir)
		}
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := mkdirDurable(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return SyncDir(parent)
}

// strictStorage is the storage one goleveldb instance gets: it fsyncs directory
// entries, cuts torn journal tails and can be cut off from the disk for good.
type strictStorage struct {
	storage.Storage
	syncDir func() error
	// torn is called for each torn tail that was cut off.
	torn func(fd storage.FileDesc, dropped int)
	// room is how many zeros are laid ahead of a journal's end.
	room int
	// oneJournal shows all journals as one, the newest: goleveldb cannot open a
	// database read-only that has several (it takes the end of one for an error).
	oneJournal bool
	// dead is set when the instance is given up: nothing that it still tries to write
	// reaches the disk.
	dead atomic.Bool

	// synced is how far journals were synced, by this instance and those before it.
	synced *syncedEnds

	mu      sync.Mutex
	journal *writer // the newest journal; guarded by mu
}

// syncedEnds remembers how far each journal was synced in this run of the program. Nothing
// beyond that was acknowledged, so nothing there counts as damage: a failed write may have
// left a part of itself, which cannot be cut off while the disk goes on failing.
type syncedEnds struct {
	mu   sync.Mutex // guards ends
	ends map[storage.FileDesc]int64
}

func newSyncedEnds() *syncedEnds { return &syncedEnds{ends: make(map[storage.FileDesc]int64)} }

func (e *syncedEnds) set(fd storage.FileDesc, end int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ends[fd] = end
}

func (e *syncedEnds) forget(fd storage.FileDesc) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.ends, fd)
}

// behind reports whether a place in a journal is known to be beyond what was synced.
func (e *syncedEnds) behind(fd storage.FileDesc, at int) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	end, known := e.ends[fd]
	return known && int64(at) >= end
}

func newStrictStorage(s storage.Storage, room int, synced *syncedEnds, torn func(storage.FileDesc, int)) *strictStorage {
	st := &strictStorage{Storage: s, room: room, synced: synced, syncDir: func() error { return nil }, torn: torn}
	if d, ok := s.(DirSyncer); ok {
		st.syncDir = d.SyncDir
	}
	return st
}

// Lock always succeeds: the DB holds the inner storage's lock for as long as it
// is open, across several goleveldb instances.
func (s *strictStorage) Lock() (storage.Locker, error) { return nopLocker{}, nil }

type nopLocker struct{}

func (nopLocker) Unlock() {}

// Close leaves the inner storage open: the DB owns it.
func (s *strictStorage) Close() error { return nil }

func (s *strictStorage) SetMeta(fd storage.FileDesc) error {
	if s.dead.Load() {
		return storage.ErrClosed
	}
	return s.Storage.SetMeta(fd)
}

func (s *strictStorage) Remove(fd storage.FileDesc) error {
	if s.dead.Load() {
		return storage.ErrClosed
	}
	s.synced.forget(fd)
	return s.Storage.Remove(fd)
}

func (s *strictStorage) Rename(from, to storage.FileDesc) error {
	if s.dead.Load() {
		return storage.ErrClosed
	}
	if err := s.Storage.Rename(from, to); err != nil {
		return err
	}
	return s.syncDir()
}

func (s *strictStorage) Create(fd storage.FileDesc) (storage.Writer, error) {
	if s.dead.Load() {
		return nil, storage.ErrClosed
	}
	if fd.Type != storage.TypeJournal {
		w, err := s.Storage.Create(fd)
		if err != nil {
			return nil, err
		}
		return &writer{Writer: polite{w}, s: s}, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// Writes without fsync may still sit in the journal before this one. What is
	// acknowledged in the new one must not survive without them.
	if s.journal != nil {
		if err := s.journal.finish(); err != nil {
			return nil, err
		}
	}
	w, err := s.Storage.Create(fd)
	if err != nil {
		return nil, err
	}
	s.journal = &writer{Writer: w, s: s, journal: fd}
	s.synced.set(fd, 0)
	if file, ok := w.(rewriter); ok {
		s.journal.Writer = &roomy{rewriter: file, ahead: s.room}
	}
	return s.journal, nil
}

// Open returns journals and manifests, which goleveldb reads only when it opens a
// database, without their torn tail.
func (s *strictStorage) Open(fd storage.FileDesc) (storage.Reader, error) {
	if s.oneJournal && fd.Type == storage.TypeJournal {
		return s.joined()
	}
	return s.open(fd)
}

// List implements storage.Storage.
func (s *strictStorage) List(kinds storage.FileType) ([]storage.FileDesc, error) {
	fds, err := s.Storage.List(kinds)
	if !s.oneJournal || kinds&storage.TypeJournal == 0 {
		return fds, err
	}
	newest := int64(-1)
	for _, fd := range fds {
		if fd.Type == storage.TypeJournal {
			newest = max(newest, fd.Num)
		}
	}
	return slices.DeleteFunc(fds, func(fd storage.FileDesc) bool { return fd.Type == storage.TypeJournal && fd.Num != newest }), err
}

// joined returns the records of all journals as one journal.
func (s *strictStorage) joined() (storage.Reader, error) {
	fds, err := s.Storage.List(storage.TypeJournal)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(fds, func(a, b storage.FileDesc) int { return cmp.Compare(a.Num, b.Num) })
	var all bytes.Buffer
	w := journal.NewWriter(&all)
	for _, fd := range fds {
		r, err := s.open(fd)
		if err != nil {
			return nil, err
		}
		data, err := io.ReadAll(r)
		r.Close()
		if err != nil {
			return nil, err
		}
		records, _ := wholeRecords(data) // open has refused what is damaged
		for _, record := range records {
			next, err := w.Next()
			if err == nil {
				_, err = next.Write(record)
			}
			if err != nil {
				return nil, err
			}
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return prefix{bytes.NewReader(all.Bytes())}, nil
}

func (s *strictStorage) open(fd storage.FileDesc) (storage.Reader, error) {
	r, err := s.Storage.Open(fd)
	if err != nil || fd.Type&(storage.TypeJournal|storage.TypeManifest) == 0 {
		return r, err
	}
	data, err := io.ReadAll(r)
	r.Close()
	if err != nil {
		return nil, err
	}
	good, state := scanJournal(data)
	if state == journalDamaged && fd.Type == storage.TypeJournal && s.synced.behind(fd, good) {
		state = journalTorn
	}
	if (state == journalTorn || state == journalRoom) && fd.Type == storage.TypeJournal {
		// Only the journal written last can be torn or have room: a later one with
		// records proves that this one had been finished.
		later, err := s.recordsAfter(fd)
		if err != nil {
			return nil, err
		}
		if later {
			state = journalDamaged
		}
	}
	switch state {
	case journalDamaged:
		return nil, lerrors.NewErrCorrupted(fd, fmt.Errorf("damaged %v bytes into %d", good, len(data)))
	case journalTorn:
		s.torn(fd, len(data)-good)
	}
	return prefix{bytes.NewReader(data[:good])}, nil
}

// clearUnborn removes what is left of a very first open that a power cut or a full disk
// ended: goleveldb would take it for a database whose CURRENT was lost.
func (s *strictStorage) clearUnborn() error {
	unborn, err := s.unborn()
	if err != nil || !unborn {
		return err
	}
	fds, err := s.Storage.List(storage.TypeAll)
	if err != nil {
		return err
	}
	for _, fd := range fds {
		if err := s.Storage.Remove(fd); err != nil {
			return err
		}
	}
	if files, ok := s.Storage.(*fileStorage); ok {
		return files.clearMeta()
	}
	return nil
}

// unborn reports whether there is no database: no manifest that CURRENT names, no
// table, and no record in a journal. There may be a manifest that CURRENT does not name yet,
// or a CURRENT that was not written to its end.
func (s *strictStorage) unborn() (bool, error) {
	if _, err := s.Storage.GetMeta(); !errors.Is(err, fs.ErrNotExist) && !isCorrupted(err) {
		return false, nil // born, or an error that goleveldb will report
	}
	tables, err := s.Storage.List(storage.TypeTable)
	if err != nil || len(tables) > 0 {
		return false, err
	}
	records, err := s.recordsAfter(storage.FileDesc{Type: storage.TypeJournal, Num: -1})
	return !records, err
}

// Unborn reports whether the database in dir, or in s if that is not nil, never came to be: a
// crash or a full disk ended its first Open, and nothing is in it. The error is
// ErrLocked when another process has it open.
func Unborn(dir string, s Storage) (bool, error) {
	if s == nil {
		files, err := openFiles(dir)
		if err != nil {
			return false, err
		}
		defer files.Close()
		s = files
	}
	return newStrictStorage(s, 0, newSyncedEnds(), nil).unborn()
}

// recordsAfter reports whether a journal newer than fd holds a record.
func (s *strictStorage) recordsAfter(fd storage.FileDesc) (bool, error) {
	fds, err := s.Storage.List(storage.TypeJournal)
	if err != nil {
		return false, err
	}
	for _, other := range fds {
		if other.Num <= fd.Num {
			continue
		}
		r, err := s.Storage.Open(other)
		if err != nil {
			return false, err
		}
		data, err := io.ReadAll(r)
		r.Close()
		if err != nil {
			return false, err
		}
		if good, state := scanJournal(data); good > 0 || state == journalDamaged {
			return true, nil
		}
	}
	return false, nil
}

// prefix is a file of which only the first bytes are read.
type prefix struct{ *bytes.Reader }

func (prefix) Close() error { return nil }

// polite is a file that is written in the background, a table or a manifest. Its writer
// yields after each block: writing a table takes tens of milliseconds of a processor, which
// is half of a small machine.
type polite struct{ storage.Writer }

func (f polite) Write(p []byte) (int, error) {
	n, err := f.Writer.Write(p)
	runtime.Gosched()
	return n, err
}

// writer makes the file's directory entry durable with its first Sync.
type writer struct {
	storage.Writer
	s *strictStorage

	journal storage.FileDesc // zero: not a journal

	mu      sync.Mutex
	end     int64 // of what was written
	pending bool  // written but not synced
	named   bool  // the directory entry is durable
	closed  bool
}

func (w *writer) Write(p []byte) (int, error) {
	if w.s.dead.Load() {
		return 0, storage.ErrClosed
	}
	w.mu.Lock()
	w.pending = true
	w.mu.Unlock()
	n, err := w.Writer.Write(p)
	w.mu.Lock()
	w.end += int64(n)
	w.mu.Unlock()
	return n, err
}

func (w *writer) Sync() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sync()
}

func (w *writer) sync() error {
	if w.s.dead.Load() {
		return storage.ErrClosed
	}
	if err := w.Writer.Sync(); err != nil {
		return err
	}
	if !w.named {
		if err := w.s.syncDir(); err != nil {
			return err
		}
		w.named = true
	}
	w.pending = false
	if w.journal.Type == storage.TypeJournal {
		w.s.synced.set(w.journal, w.end)
	}
	return nil
}

// finish makes a journal durable that is no longer written: what was written without a sync,
// and its end.
func (w *writer) finish() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil
	}
	if w.pending {
		if err := w.sync(); err != nil {
			return err
		}
	}
	return w.trim()
}

// trim cuts off the room of a journal, if it has any.
func (w *writer) trim() error {
	if f, ok := w.Writer.(*roomy); ok {
		return f.trim()
	}
	return nil
}

func (w *writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	var err error
	if !w.s.dead.Load() {
		err = w.trim()
	}
	return errors.Join(err, w.Writer.Close())
}
