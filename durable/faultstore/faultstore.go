// Package faultstore is a disk in memory with the faults of real ones, for tests
// of what is built on package durable.
//
// A [Disk] holds directories, each a [Store] (a goleveldb storage). Bytes that
// were written but not fsynced, and names that were created, renamed or removed
// without an fsync of their directory, are forgotten by [Disk.Crash]. [Disk.SetFault]
// makes single operations fail, [Disk.SetCapacity] makes the disk fill up, and
// [Store.Flip] flips a bit.
package faultstore

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/syndtr/goleveldb/leveldb/storage"
)

// Kind is what an operation does.
type Kind string

// The kinds of operations. Sync, SyncDir, SyncRoot and SetMeta are sync points.
const (
	Create   Kind = "create"
	Write    Kind = "write"
	Truncate Kind = "truncate"
	Sync     Kind = "sync"
	SyncDir  Kind = "syncdir"
	SyncRoot Kind = "syncroot" // the directory that holds the stores
	SetMeta  Kind = "setmeta"
	Remove   Kind = "remove"
	Rename   Kind = "rename"
	Open     Kind = "open"
	Read     Kind = "read"
)

// File names a file of a store.
type File = storage.FileDesc

// What a file may be.
const (
	Manifest = storage.TypeManifest
	Journal  = storage.TypeJournal
	Table    = storage.TypeTable
	Temp     = storage.TypeTemp
)

// Op is one operation about to be done.
type Op struct {
	Kind Kind
	Dir  string
	File File
	N    int // bytes, of Write
}

// Disk is a set of named directories. It is safe for concurrent use.
type Disk struct {
	mu       sync.Mutex
	dirs     map[string]*Store
	named    map[string]*Store // what a crash leaves of dirs
	fault    func(Op) error
	onSync   func(n int)
	syncs    int
	capacity int64
	used     int64
}

// NewDisk returns an empty disk without faults.
func NewDisk() *Disk {
	return &Disk{dirs: map[string]*Store{}, named: map[string]*Store{}}
}

// New returns the only directory of a new disk.
func New() *Store {
	s := NewDisk().Store("db")
	s.disk.named["db"] = s
	return s
}

// SetFault sets fn to be called before each operation; an error makes the
// operation fail. A failing Write keeps half of its bytes; after a failing Sync
// the bytes that were not synced are lost even if a later Sync succeeds, as on
// Linux. nil ends the faults.
func (d *Disk) SetFault(fn func(Op) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault = fn
}

// SetCapacity makes writes fail with ENOSPC while the files hold more than n
// bytes; 0 means no limit.
func (d *Disk) SetCapacity(n int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.capacity = n
}

// Used returns the bytes in all files.
func (d *Disk) Used() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.used
}

// OnSync sets fn to be called before the n-th sync point (from 1) takes effect.
// fn may call Crash.
func (d *Disk) OnSync(fn func(n int)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.onSync = fn
}

// Syncs returns how many sync points were passed.
func (d *Disk) Syncs() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.syncs
}

// begin asks for the fault of op and locks the disk. The caller unlocks it, even
// after an error.
func (d *Disk) begin(op Op) error {
	d.mu.Lock()
	switch op.Kind {
	case Sync, SyncDir, SyncRoot, SetMeta:
		d.syncs++
		if fn, n := d.onSync, d.syncs; fn != nil {
			d.mu.Unlock()
			fn(n)
			d.mu.Lock()
		}
	}
	if fn := d.fault; fn != nil {
		d.mu.Unlock()
		err := fn(op)
		d.mu.Lock()
		return err
	}
	return nil
}

// Store returns the directory dir, creating it if needed. The new name survives a
// crash after SyncRoot.
func (d *Disk) Store(dir string) *Store {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.dirs[dir]
	if s == nil {
		s = &Store{disk: d, dir: dir, files: map[File]*file{}, named: map[File]*file{}}
		d.dirs[dir] = s
	}
	return s
}

// Dirs returns the names of all directories, sorted.
func (d *Disk) Dirs() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.dirs))
}

// RemoveDir removes a directory and everything in it.
func (d *Disk) RemoveDir(dir string) error {
	err := d.begin(Op{Kind: Remove, Dir: dir})
	defer d.mu.Unlock()
	if err != nil {
		return err
	}
	if s := d.dirs[dir]; s != nil {
		for _, f := range s.files {
			d.used -= int64(len(f.data))
		}
		delete(d.dirs, dir)
	}
	return nil
}

// RenameDir renames a directory.
func (d *Disk) RenameDir(from, to string) error {
	err := d.begin(Op{Kind: Rename, Dir: from})
	defer d.mu.Unlock()
	if err != nil {
		return err
	}
	s := d.dirs[from]
	if s == nil {
		return os.ErrNotExist
	}
	delete(d.dirs, from)
	s.dir = to
	d.dirs[to] = s
	return nil
}

// SyncRoot makes the names of the directories durable.
func (d *Disk) SyncRoot() error {
	err := d.begin(Op{Kind: SyncRoot})
	defer d.mu.Unlock()
	if err != nil {
		return err
	}
	d.named = maps.Clone(d.dirs)
	return nil
}

// Crash returns the disk as it is after the power was cut now: nothing that was
// not fsynced if rng is nil, otherwise random parts of it (a prefix of each file's
// unsynced bytes, any of the unsynced names). The old disk stays as it is.
func (d *Disk) Crash(rng *rand.Rand) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	after := NewDisk()
	after.dirs = survivors(d.named, d.dirs, rng, func(name string, s *Store) *Store {
		c := &Store{disk: after, dir: name, meta: s.meta}
		c.files = survivors(s.named, s.files, rng, func(_ File, f *file) *file {
			data := f.survives(rng)
			after.used += int64(len(data))
			return &file{data: data, synced: len(data)}
		})
		c.named = maps.Clone(c.files)
		return c
	})
	after.named = maps.Clone(after.dirs)
	return after
}

// survivors picks the entries of a directory that a crash leaves.
func survivors[K comparable, V comparable](named, current map[K]V, rng *rand.Rand, keep func(K, V) V) map[K]V {
	out := map[K]V{}
	for k, v := range named {
		if cur, ok := current[k]; ok && cur == v || rng == nil || rng.IntN(2) == 0 {
			out[k] = keep(k, v)
		}
	}
	if rng != nil {
		for k, v := range current {
			if _, ok := out[k]; !ok && rng.IntN(2) == 0 {
				out[k] = keep(k, v)
			}
		}
	}
	return out
}

// Store is one directory: a goleveldb storage. It is safe for concurrent use.
type Store struct {
	disk *Disk

	// Guarded by disk.mu.
	dir    string
	locked bool
	files  map[File]*file
	named  map[File]*file // what a crash leaves of files
	meta   File
}

type file struct {
	data   []byte
	synced int            // bytes of it that are on the disk, except for stale
	stale  map[int][]byte // sectors below synced as they still are on the disk, by number
	cut    []byte         // what the disk has after data until the truncation is synced
	lost   bool           // a Sync failed
	shared bool           // a crash's survivor has the same data
}

// sector is the unit that a disk writes as a whole.
const sector = 512

// survives returns what a crash leaves of a file: only what was synced if rng is
// nil, otherwise some of the rest as well: each rewritten sector or not, and some
// of the appended bytes.
func (f *file) survives(rng *rand.Rand) []byte {
	n := f.synced
	if rng != nil && !f.lost {
		n += rng.IntN(len(f.data) - f.synced + 1)
	}
	data := f.data[:n:n]
	f.shared = true
	if len(f.stale) > 0 || len(f.cut) > 0 {
		data = bytes.Clone(data)
	}
	for _, number := range slices.Sorted(maps.Keys(f.stale)) {
		if rng == nil || f.lost || rng.IntN(2) == 0 {
			kept := copy(data[number*sector:], f.stale[number])
			clear(data[number*sector+kept : min((number+1)*sector, n)]) // appended to the same sector
		}
	}
	if len(f.cut) > 0 && (rng == nil || f.lost || rng.IntN(2) == 0) {
		data = append(data[:f.synced], f.cut...)
	}
	return data
}

// settle makes what was rewritten durable, and the size too if all is set.
func (f *file) settle(all bool) {
	if f.lost {
		return
	}
	clear(f.stale)
	if all {
		f.synced, f.cut = len(f.data), nil
	}
}

// Disk returns the disk the directory is on.
func (s *Store) Disk() *Disk { return s.disk }

// begin locks the disk for an operation of the store.
func (s *Store) begin(kind Kind, fd File, n int) error {
	s.disk.mu.Lock()
	dir := s.dir
	s.disk.mu.Unlock()
	return s.disk.begin(Op{Kind: kind, Dir: dir, File: fd, N: n})
}

// Files returns the files, sorted by name.
func (s *Store) Files() []File {
	s.disk.mu.Lock()
	defer s.disk.mu.Unlock()
	fds := slices.Collect(maps.Keys(s.files))
	slices.SortFunc(fds, func(a, b storage.FileDesc) int { return strings.Compare(a.String(), b.String()) })
	return fds
}

// Bytes returns a file's content; do not modify it.
func (s *Store) Bytes(fd File) []byte {
	s.disk.mu.Lock()
	defer s.disk.mu.Unlock()
	if f := s.files[fd]; f != nil {
		return f.data
	}
	return nil
}

// Flip flips one bit of a file.
func (s *Store) Flip(fd File, bit int) {
	s.disk.mu.Lock()
	defer s.disk.mu.Unlock()
	f := s.files[fd]
	f.data = bytes.Clone(f.data)
	f.data[bit/8] ^= 1 << (bit % 8)
}

// Truncate cuts a file to n bytes.
func (s *Store) Truncate(fd File, n int) {
	s.disk.mu.Lock()
	defer s.disk.mu.Unlock()
	f := s.files[fd]
	s.disk.used -= int64(len(f.data) - n)
	f.data, f.synced = f.data[:n:n], min(f.synced, n)
}

// Lock implements storage.Storage.
func (s *Store) Lock() (storage.Locker, error) {
	s.disk.mu.Lock()
	defer s.disk.mu.Unlock()
	if s.locked {
		return nil, storage.ErrLocked
	}
	s.locked = true
	return unlocker{s}, nil
}

type unlocker struct{ s *Store }

func (u unlocker) Unlock() {
	u.s.disk.mu.Lock()
	defer u.s.disk.mu.Unlock()
	u.s.locked = false
}

// Log implements storage.Storage.
func (s *Store) Log(string) {}

// Close implements storage.Storage; the content stays.
func (s *Store) Close() error { return nil }

// SetMeta implements storage.Storage: atomic and durable, as with files.
func (s *Store) SetMeta(fd File) error {
	err := s.begin(SetMeta, fd, 0)
	defer s.disk.mu.Unlock()
	if err != nil {
		return err
	}
	s.meta = fd
	s.named = maps.Clone(s.files)
	return nil
}

// GetMeta implements storage.Storage.
func (s *Store) GetMeta() (File, error) {
	s.disk.mu.Lock()
	defer s.disk.mu.Unlock()
	if s.meta.Zero() || s.files[s.meta] == nil {
		return File{}, os.ErrNotExist
	}
	return s.meta, nil
}

// List implements storage.Storage.
func (s *Store) List(kinds storage.FileType) ([]File, error) {
	var fds []File
	for _, fd := range s.Files() {
		if fd.Type&kinds != 0 {
			fds = append(fds, fd)
		}
	}
	return fds, nil
}

// Open implements storage.Storage.
func (s *Store) Open(fd File) (storage.Reader, error) {
	err := s.begin(Open, fd, 0)
	defer s.disk.mu.Unlock()
	if err != nil {
		return nil, err
	}
	f := s.files[fd]
	if f == nil {
		return nil, os.ErrNotExist
	}
	return &reader{Reader: bytes.NewReader(f.data), s: s, fd: fd}, nil
}

// Create implements storage.Storage.
func (s *Store) Create(fd File) (storage.Writer, error) {
	err := s.begin(Create, fd, 0)
	defer s.disk.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if old := s.files[fd]; old != nil {
		s.disk.used -= int64(len(old.data))
	}
	f := &file{}
	s.files[fd] = f
	return &writer{s: s, fd: fd, f: f}, nil
}

// Remove implements storage.Storage.
func (s *Store) Remove(fd File) error {
	err := s.begin(Remove, fd, 0)
	defer s.disk.mu.Unlock()
	if err != nil {
		return err
	}
	f := s.files[fd]
	if f == nil {
		return os.ErrNotExist
	}
	s.disk.used -= int64(len(f.data))
	delete(s.files, fd)
	return nil
}

// Rename implements storage.Storage.
func (s *Store) Rename(from, to File) error {
	err := s.begin(Rename, from, 0)
	defer s.disk.mu.Unlock()
	if err != nil {
		return err
	}
	f := s.files[from]
	if f == nil {
		return os.ErrNotExist
	}
	if old := s.files[to]; old != nil {
		s.disk.used -= int64(len(old.data))
	}
	delete(s.files, from)
	s.files[to] = f
	return nil
}

// SyncDir implements durable.DirSyncer.
func (s *Store) SyncDir() error {
	err := s.begin(SyncDir, File{}, 0)
	defer s.disk.mu.Unlock()
	if err != nil {
		return err
	}
	s.named = maps.Clone(s.files)
	return nil
}

type reader struct {
	*bytes.Reader
	s  *Store
	fd File
}

func (r *reader) Close() error { return nil }

func (r *reader) ReadAt(p []byte, off int64) (int, error) {
	err := r.s.begin(Read, r.fd, 0)
	r.s.disk.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return r.Reader.ReadAt(p, off)
}

type writer struct {
	s  *Store
	fd File
	f  *file
}

func (w *writer) Close() error { return nil }

func (w *writer) Write(p []byte) (int, error) { return w.write(p, -1) }

// WriteAt writes in the middle of the file, or at its end.
func (w *writer) WriteAt(p []byte, off int64) (int, error) { return w.write(p, int(off)) }

// write writes at off, or at the end if it is negative.
func (w *writer) write(p []byte, off int) (int, error) {
	err := w.s.begin(Write, w.fd, len(p))
	defer w.s.disk.mu.Unlock()
	d, f := w.s.disk, w.f
	if off < 0 {
		off = len(f.data)
	}
	n := len(p)
	if grown := off + n - len(f.data); err == nil && grown > 0 && d.capacity > 0 && d.used+int64(grown) > d.capacity {
		err = fmt.Errorf("write %v: %w", w.fd, syscall.ENOSPC)
	}
	if err != nil {
		n /= 2
	}
	if off < len(f.data) && f.shared {
		f.data, f.shared = bytes.Clone(f.data), false
	}
	f.keepStale(off, off+n)
	over := copy(f.data[off:], p[:n])
	f.data = append(f.data, p[over:n]...)
	d.used += int64(n - over)
	return n, err
}

// keepStale remembers what the disk has in data[from:to].
func (f *file) keepStale(from, to int) {
	to = min(to, f.synced)
	if from >= to {
		return
	}
	if f.stale == nil {
		f.stale = make(map[int][]byte)
	}
	for number := from / sector; number*sector < to; number++ {
		if _, known := f.stale[number]; !known {
			f.stale[number] = bytes.Clone(f.data[number*sector : min((number+1)*sector, f.synced)])
		}
	}
}

// Truncate cuts the file, on the disk with the next Sync.
func (w *writer) Truncate(size int64) error {
	err := w.s.begin(Truncate, w.fd, 0)
	defer w.s.disk.mu.Unlock()
	if err != nil {
		return err
	}
	f, n := w.f, int(size)
	w.s.disk.used -= int64(len(f.data) - n)
	if n < f.synced {
		f.cut = bytes.Clone(f.data[n:f.synced])
		f.synced = n
	}
	f.data = f.data[:n:n]
	return nil
}

func (w *writer) Sync() error { return w.sync(true) }

// SyncData is Sync of what was rewritten; what was appended may still be lost.
func (w *writer) SyncData() error { return w.sync(false) }

func (w *writer) sync(all bool) error {
	err := w.s.begin(Sync, w.fd, 0)
	defer w.s.disk.mu.Unlock()
	if err != nil {
		w.f.lost = true
		return err
	}
	w.f.settle(all)
	return nil
}
