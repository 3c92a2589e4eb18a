package durable

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/filter"
	"github.com/syndtr/goleveldb/leveldb/opt"
	"github.com/syndtr/goleveldb/leveldb/storage"
)

const (
	// DefaultWriteBuffer is the memory table's size in bytes; up to three of them
	// live at a time while writing.
	DefaultWriteBuffer = 4 << 20
	// DefaultBlockCache is the cache for table blocks in bytes.
	DefaultBlockCache = 8 << 20
	// DefaultOpenFiles is how many table files stay open.
	DefaultOpenFiles = 128

	// reopenPause is the least time between two attempts to reopen a database for
	// writing after the first has failed, so that a full disk costs a few attempts a
	// second and not a busy loop.
	reopenPause = 200 * time.Millisecond
	// drainTimeout is how long a reopen waits for iterators to be
	// released before it closes the database under them.
	drainTimeout = 2 * time.Second
)

// Options of a database. The zero value is usable.
type Options struct {
	// Storage replaces the files in dir, in tests. The caller keeps it and closes
	// it after the DB.
	Storage Storage
	// NoCompression switches snappy off, for data that is encrypted already.
	NoCompression bool
	// WriteBuffer and BlockCache are sizes in bytes, 0 means the defaults above.
	WriteBuffer, BlockCache int
	// TableSize is the size in bytes at which a table file ends, 0 means
	// goleveldb's 2 MiB.
	TableSize int
	// BlockSize is the size in bytes of a table's block, 0 means goleveldb's 4 KiB.
	BlockSize int
	// OpenFiles bounds the table files kept open, 0 means DefaultOpenFiles.
	OpenFiles int
	// KeyFilter adds a bloom filter of 10 bits a key to each table, so that lookups
	// of missing keys need no read.
	KeyFilter bool
	// ReadOnly opens an existing database without writing anything to it.
	ReadOnly bool
	// L0Trigger is how many fresh tables start a compaction, 0 means goleveldb's 4.
	// LevelSize is the size in bytes of the first sorted level, 0 means goleveldb's
	// 10 MiB. Both are for data that is written in key order and only moved.
	L0Trigger, LevelSize int
	// Name is the metric label "db".
	Name string
	// Metrics may be nil.
	Metrics *Metrics
	// Logger may be nil.
	Logger *slog.Logger
}

func (o Options) level(readOnly bool) *opt.Options {
	l := &opt.Options{
		Strict:                       opt.StrictAll,
		WriteBuffer:                  o.WriteBuffer,
		BlockCacheCapacity:           o.BlockCache,
		OpenFilesCacheCapacity:       o.OpenFiles,
		CompactionTableSize:          o.TableSize,
		BlockSize:                    o.BlockSize,
		CompactionL0Trigger:          o.L0Trigger,
		CompactionTotalSize:          o.LevelSize,
		ErrorIfMissing:               readOnly,
		DisableLargeBatchTransaction: true, // every batch goes through the journal, in order
		DisableSeeksCompaction:       true, // reads must not cause writes
		ReadOnly:                     readOnly,
	}
	if o.NoCompression {
		l.Compression = opt.NoCompression
	}
	if o.KeyFilter {
		l.Filter = filter.NewBloomFilter(10)
	}
	return l
}

// DB is a goleveldb database whose acknowledged writes are on disk. It is safe for
// concurrent use.
type DB struct {
	dir     string
	name    string
	o       Options
	metrics *Metrics
	log     *slog.Logger

	inner  storage.Storage // locked while the DB is open
	lock   storage.Locker
	owned  bool // Open opened inner, so Close closes it
	synced *syncedEnds

	// mu is held for reading by each short operation and for writing while the
	// instance is replaced. It guards the following fields.
	mu     sync.RWMutex
	cur    *instance // nil after Close and when it could not be reopened at all
	closed bool
	// Until retryAt, writes are refused with cause without an attempt.
	retryAt time.Time
	cause   error

	reopening sync.Mutex // one reopen at a time

	queueMu sync.Mutex
	queue   []*pendingWrite // guarded by queueMu
	turn    chan struct{}   // capacity 1: held by the goroutine that writes
}

// instance is one goleveldb database, from open to close.
type instance struct {
	db       *leveldb.DB
	stor     *strictStorage
	readOnly bool
	broken   atomic.Bool // a write failed: close and reopen before the next
	poisoned atomic.Bool // the engine panicked in a write: its write lock is never released
	pins     pins        // iterators
}

// Open opens the database in dir, creating it when it does not exist. The error
// is ErrLocked when another process has it open and ErrCorrupted when it is
// damaged; the message names the directory and says what to do.
func Open(dir string, o Options) (*DB, error) {
	if o.WriteBuffer == 0 {
		o.WriteBuffer = DefaultWriteBuffer
	}
	if o.BlockCache == 0 {
		o.BlockCache = DefaultBlockCache
	}
	if o.OpenFiles == 0 {
		o.OpenFiles = DefaultOpenFiles
	}
	if o.Name == "" {
		o.Name = "unnamed"
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	d := &DB{dir: dir, name: o.Name, o: o, metrics: o.Metrics, log: o.Logger, inner: o.Storage, synced: newSyncedEnds(), turn: make(chan struct{}, 1)}
	if d.inner == nil {
		s, err := openFiles(dir)
		if err != nil {
			return nil, err
		}
		d.inner, d.owned = s, true
	}
	lock, err := d.inner.Lock()
	if err != nil {
		if d.owned {
			d.inner.Close()
		}
		if errors.Is(err, storage.ErrLocked) {
			err = fmt.Errorf("%w: %s", ErrLocked, dir)
		}
		return nil, err
	}
	d.lock = lock
	if d.cur, err = d.open(o.ReadOnly); err != nil {
		d.release()
		return nil, err
	}
	return d, nil
}

// open starts a goleveldb instance on the inner storage.
func (d *DB) open(readOnly bool) (in *instance, err error) {
	stor := newStrictStorage(d.inner, min(d.o.WriteBuffer/roomShare, maxRoom), d.synced, func(fd storage.FileDesc, dropped int) {
		d.metrics.tornTail(d.name)
		d.log.Warn("interrupted write cut off", "db", d.name, "dir", d.dir, "file", fd.String(), "bytes", dropped)
	})
	defer func() {
		if p := recover(); p != nil {
			stor.dead.Store(true)
			d.metrics.panic(d.name)
			in, err = nil, fmt.Errorf("open %s: %w: %v", d.dir, ErrPanic, p)
		}
	}()
	if !readOnly {
		if err := stor.clearUnborn(); err != nil {
			return nil, fmt.Errorf("open database %s: %w", d.dir, err)
		}
	}
	db, err := leveldb.Open(stor, d.o.level(readOnly))
	if readOnly && errors.Is(err, io.EOF) {
		stor.oneJournal = true
		db, err = leveldb.Open(stor, d.o.level(readOnly))
	}
	if err != nil {
		stor.dead.Store(true)
		return nil, fmt.Errorf("open database: %w", d.classify(err))
	}
	return &instance{db: db, stor: stor, readOnly: readOnly}, nil
}

// release gives the inner storage back.
func (d *DB) release() {
	d.lock.Unlock()
	if d.owned {
		d.inner.Close()
	}
}

// Write writes b and returns after it was fsynced. Concurrent writers share the
// fsync. The error wraps ErrWrite: nothing of b counts as written, the database is
// closed and reopened before the next write, and b may be written again.
func (d *DB) Write(b *Batch) error { return d.write(b, true) }

// WriteUnsynced writes b without waiting for the disk: it may be lost in a power
// cut, but only together with everything written after it.
func (d *DB) WriteUnsynced(b *Batch) error { return d.write(b, false) }

// pendingWrite is a batch whose writer waits.
type pendingWrite struct {
	b    *Batch
	sync bool
	done chan error // buffered
}

// write queues b; the goroutine that gets the turn writes everything queued with one
// fsync. Merging is not left to goleveldb, where a panic of the writing goroutine
// would leave the others waiting forever.
func (d *DB) write(b *Batch, sync bool) error {
	if d.o.ReadOnly {
		return fmt.Errorf("%w: %s is open read-only", ErrWrite, d.dir)
	}
	w := &pendingWrite{b: b, sync: sync, done: make(chan error, 1)}
	d.queueMu.Lock()
	d.queue = append(d.queue, w)
	d.queueMu.Unlock()
	select {
	case err := <-w.done:
		return err
	case d.turn <- struct{}{}:
	}
	d.queueMu.Lock()
	group := d.queue
	d.queue = nil
	d.queueMu.Unlock()
	d.writeGroup(group)
	<-d.turn
	return <-w.done
}

// writeGroup writes the batches as one and tells their writers.
func (d *DB) writeGroup(group []*pendingWrite) {
	var err error
	switch len(group) {
	case 0: // another goroutine wrote our batch before we had the turn
		return
	case 1:
		err = d.commit(&group[0].b.b, group[0].sync)
	default:
		merged, sync := new(leveldb.Batch), false
		for _, w := range group {
			if err == nil {
				err = w.b.b.Replay(merged)
			}
			sync = sync || w.sync
		}
		if err == nil {
			err = d.commit(merged, sync)
		}
	}
	for _, w := range group {
		w.done <- err
	}
}

// commit writes one batch. The caller has the turn.
func (d *DB) commit(b *leveldb.Batch, sync bool) error {
	for {
		d.mu.RLock()
		in := d.cur
		if d.closed {
			d.mu.RUnlock()
			return ErrClosed
		}
		if in != nil && !in.readOnly && !in.broken.Load() {
			err := d.guard(in, func() error { return in.db.Write(b, &opt.WriteOptions{Sync: sync, NoWriteMerge: true}) })
			if err != nil {
				in.broken.Store(true)
				in.poisoned.Store(errors.Is(err, ErrPanic))
			}
			d.mu.RUnlock()
			if err != nil {
				d.metrics.writeError(d.name)
				d.log.Error("write failed; the database will be reopened", "db", d.name, "dir", d.dir, "err", err)
				return fmt.Errorf("%w: %s: %w", ErrWrite, d.dir, d.classify(err))
			}
			return nil
		}
		d.mu.RUnlock()
		if err := d.reopen(in); err != nil {
			d.metrics.writeError(d.name)
			return fmt.Errorf("%w: %s: %w", ErrWrite, d.dir, err)
		}
	}
}

// reopen replaces old by an instance that can write or, if that fails, by one that
// can only read.
func (d *DB) reopen(old *instance) error {
	d.reopening.Lock()
	defer d.reopening.Unlock()
	d.mu.RLock()
	done := d.cur != old && d.cur != nil && !d.cur.readOnly && !d.cur.broken.Load()
	closed, wait, cause := d.closed, time.Until(d.retryAt), d.cause
	d.mu.RUnlock()
	switch {
	case closed:
		return ErrClosed
	case done:
		return nil
	case wait > 0:
		return fmt.Errorf("not writable until it can be reopened: %w", cause)
	}
	if old != nil {
		old.pins.wait(drainTimeout)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return ErrClosed
	}
	d.metrics.reopen(d.name)
	d.closeInstance()
	in, err := d.open(false)
	if err == nil {
		d.cur, d.cause, d.retryAt = in, nil, time.Time{}
		d.log.Warn("database reopened", "db", d.name, "dir", d.dir)
		return nil
	}
	d.cause, d.retryAt = err, time.Now().Add(reopenPause)
	var roErr error
	if d.cur, roErr = d.open(true); roErr != nil {
		d.log.Error("database can be neither written nor read", "db", d.name, "dir", d.dir, "err", roErr)
	}
	return err
}

// closeInstance closes the current instance. d.mu is held for writing.
func (d *DB) closeInstance() error {
	in := d.cur
	d.cur = nil
	if in == nil {
		return nil
	}
	if in.poisoned.Load() {
		// Close stops the engine's goroutines and then waits forever for the lock
		// that the panic left held. The instance is cut off from the disk, so it does
		// no harm.
		in.stor.dead.Store(true)
		go in.db.Close()
		return nil
	}
	err := d.guard(in, in.db.Close)
	in.stor.dead.Store(true)
	return err
}

// guard calls fn and turns a panic of the engine into an error.
func (d *DB) guard(in *instance, fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = d.panicked(in, p)
		}
	}()
	return fn()
}

// panicked gives the instance up, to be reopened before the next write.
func (d *DB) panicked(in *instance, p any) error {
	in.broken.Store(true)
	d.metrics.panic(d.name)
	d.log.Error("database engine panicked", "db", d.name, "dir", d.dir, "panic", p)
	return fmt.Errorf("%w: %v", ErrPanic, p)
}

// current returns the instance to read from with d.mu held for reading; the
// caller unlocks it if err is nil.
func (d *DB) current() (*instance, error) {
	d.mu.RLock()
	if d.closed {
		d.mu.RUnlock()
		return nil, ErrClosed
	}
	if d.cur == nil {
		err := d.cause
		d.mu.RUnlock()
		return nil, fmt.Errorf("database is not open: %w", err)
	}
	return d.cur, nil
}

// Get returns a copy of key's value, or ErrNotFound.
func (d *DB) Get(key []byte) (value []byte, err error) {
	in, err := d.current()
	if err != nil {
		return nil, err
	}
	defer d.mu.RUnlock()
	err = d.guard(in, func() error {
		value, err = in.db.Get(key, nil)
		return err
	})
	return value, d.classify(err)
}

// ReadOnly reports whether the database was opened with Options.ReadOnly.
func (d *DB) ReadOnly() bool { return d.o.ReadOnly }

// Size returns the bytes of all table files.
func (d *DB) Size() int64 {
	in, err := d.current()
	if err != nil {
		return 0
	}
	defer d.mu.RUnlock()
	var stats leveldb.DBStats
	if err := d.guard(in, func() error { return in.db.Stats(&stats) }); err != nil {
		return 0
	}
	return stats.LevelSizes.Sum()
}

// Close closes the database, after waiting a short while for iterators to be
// released. It may be called twice.
func (d *DB) Close() error {
	d.reopening.Lock()
	defer d.reopening.Unlock()
	d.mu.RLock()
	in := d.cur
	d.mu.RUnlock()
	if in != nil {
		in.pins.wait(drainTimeout)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	err := d.closeInstance()
	if !d.o.ReadOnly && (in == nil || in.readOnly || in.broken.Load()) {
		d.tidy()
	}
	d.release()
	return d.classify(err)
}

// tidy cuts off what a failed write has left behind the end of the journal, as
// reopening does. The next process that opens the database does not know how much was
// acknowledged, and would take a part of a write for damage if it ends within a
// sector. While the disk still fails this is not possible. d.mu is held for writing.
func (d *DB) tidy() {
	in, err := d.open(false)
	if err != nil {
		d.log.Warn("what a failed write left could not be cut off when the database was closed", "db", d.name, "dir", d.dir, "err", err)
		return
	}
	if err := d.guard(in, in.db.Close); err != nil {
		d.log.Warn("database closed with an error", "db", d.name, "dir", d.dir, "err", err)
	}
	in.stor.dead.Store(true)
}

// pins counts what must be released before an instance is closed.
type pins struct {
	mu   sync.Mutex
	n    int
	idle chan struct{} // closed when n falls to 0; nil if nobody waits
}

func (p *pins) add() {
	p.mu.Lock()
	p.n++
	p.mu.Unlock()
}

func (p *pins) done() {
	p.mu.Lock()
	p.n--
	if p.n == 0 && p.idle != nil {
		close(p.idle)
		p.idle = nil
	}
	p.mu.Unlock()
}

func (p *pins) wait(limit time.Duration) {
	p.mu.Lock()
	if p.n == 0 {
		p.mu.Unlock()
		return
	}
	if p.idle == nil {
		p.idle = make(chan struct{})
	}
	idle := p.idle
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	select {
	case <-idle:
	case <-ctx.Done():
	}
}
