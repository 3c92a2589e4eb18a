package postgres

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"sync"

	"github.com/jackc/pgx/v5"

	"whisperpush/durable"
)

const (
	// MaxKey is the longest key of a store, in bytes: PostgreSQL's index takes no more.
	MaxKey = 2000
	// groupBytes is the size from which a transaction takes no further batch.
	groupBytes = 4 << 20
	// groupBatches is the most batches that share a transaction.
	groupBatches = 512
)

// storeName matches the names that a store may have.
var storeName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)

// Store is a durable.Store in a database. Batches that are written at the same time
// share a transaction.
type Store struct {
	db   *DB
	name string
	id   int
	lock *sessionLock  // nil: a lease decides who owns the store
	gone chan struct{} // closed when the store is fenced

	// holds is Shards.holds; nil: others may write as well, so nothing is cached.
	holds func() (term uint64, ok bool)
	cache *cache
	// era is Shards.era, and epoch its value when the store was opened; nil: nothing that is
	// written depends on the clock.
	era   func() (epoch uint64, right bool)
	epoch uint64

	ctx    context.Context // until Close
	cancel context.CancelFunc
	writes chan *storeWrite
	wg     sync.WaitGroup

	// The writer's own.
	term   int64
	number int64 // of the last write
	unsure bool  // an attempt failed, and may still be committed

	mu     sync.Mutex // guards the following fields
	fenced error      // why nothing is written any more: another owner has the store, or a wrong clock decided what is to be written
	closed bool
	scans  map[*storeScan]struct{}
}

var _ durable.Store = (*Store)(nil)

// Reasons why a store is no longer written to.
var (
	errTaken = fmt.Errorf("it was taken over by another node: %w", durable.ErrLocked)
	errSet   = errors.New("this computer's clock was set to a wrong time, and what was decided by it is not written")
)

// storeWrite is a batch that waits to be written.
type storeWrite struct {
	batch *durable.Batch
	done  chan error // holds one
}

// Store opens the store with that name, of at most 32 lowercase letters, digits and
// underscores, and creates it if there is none. durable.ErrLocked means that another process
// has it open, or this one.
func (d *DB) Store(ctx context.Context, name string) (*Store, error) {
	var lock *sessionLock
	s, err := d.open(ctx, name, func(ctx context.Context, s *Store) (err error) {
		if lock == nil {
			taken, err := d.lock(ctx, s.id)
			if err != nil {
				return err
			}
			lock = taken
		}
		return d.pool.QueryRow(ctx, "UPDATE "+Schema+".stores SET term = $2 WHERE id = $1 RETURNING writes", s.id, s.term).Scan(&s.number)
	})
	if err != nil {
		if lock != nil {
			lock.release()
		}
		return nil, fmt.Errorf("open store %s in %s: %w", name, d, err)
	}
	s.lock = lock
	return s, nil
}

// open opens a store. It calls take to set the store's term in the database. take may be
// repeated.
func (d *DB) open(ctx context.Context, name string, take func(context.Context, *Store) error) (*Store, error) {
	if !storeName.MatchString(name) {
		return nil, fmt.Errorf("a store cannot be called %q: give small letters, digits and underscores", name)
	}
	s := &Store{db: d, name: name, writes: make(chan *storeWrite), scans: map[*storeScan]struct{}{}, term: newTerm(), gone: make(chan struct{}), cache: newCache()}
	err := d.again(ctx, func(ctx context.Context) error {
		_, err := d.pool.Exec(ctx, "INSERT INTO "+Schema+".stores (name, term, writes) VALUES ($1, 0, 0) ON CONFLICT DO NOTHING", name)
		if err != nil {
			return err
		}
		return d.pool.QueryRow(ctx, "SELECT id FROM "+Schema+".stores WHERE name = $1", name).Scan(&s.id)
	})
	if err == nil {
		err = d.again(ctx, func(ctx context.Context) error { return take(ctx, s) })
	}
	if err != nil {
		return nil, err
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.wg.Go(s.writer)
	return s, nil
}

// newTerm draws a number that distinguishes an owner from all others.
func newTerm() int64 {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return int64(binary.BigEndian.Uint64(b[:])>>1 | 1)
}

// usable returns why the store cannot be used, nil if it can.
func (s *Store) usable() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return durable.ErrClosed
	case s.fenced != nil:
		return fmt.Errorf("store %s in %s: %w", s.name, s.db, s.fenced)
	}
	return nil
}

// readFailed is the error of a read. A store that was closed meanwhile says so.
func (s *Store) readFailed(err error) error {
	if s.ctx.Err() != nil {
		return durable.ErrClosed
	}
	return fmt.Errorf("read store %s: %w", s.name, s.db.fault(err))
}

// Get implements durable.Store.
func (s *Store) Get(key []byte) (value []byte, err error) {
	if err := s.usable(); err != nil {
		return nil, err
	}
	value, err = s.recall(key)
	switch {
	case err != nil:
		return nil, s.readFailed(err)
	case value == nil:
		return nil, durable.ErrNotFound
	}
	return value, nil
}

// recall is read, except that it uses the cache while the leases hold.
func (s *Store) recall(key []byte) ([]byte, error) {
	if s.holds == nil {
		return s.read(key)
	}
	term, ok := s.holds()
	if !ok {
		return s.read(key)
	}
	value, known := s.cache.get(term, key)
	if known {
		return value, nil
	}
	value, err := s.read(key)
	if err != nil {
		s.cache.giveUp(key)
		return nil, err
	}
	s.cache.keep(key, value)
	return value, nil
}

// read asks the database for a key's value, nil if it has none.
func (s *Store) read(key []byte) (value []byte, err error) {
	err = s.db.again(s.ctx, func(ctx context.Context) error {
		return s.db.pool.QueryRow(ctx, "SELECT value FROM "+Schema+".entries WHERE store = $1 AND key = $2", s.id, notNil(key)).Scan(&value)
	})
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return notNil(value), nil
}

// notNil returns an empty slice for nil, which would be NULL in PostgreSQL.
func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// Write implements durable.Store.
func (s *Store) Write(b *durable.Batch) error {
	if err := s.usable(); err != nil {
		return err
	}
	if err := checkKeys(b); err != nil {
		return fmt.Errorf("write store %s: %w", s.name, err)
	}
	w := &storeWrite{batch: b, done: make(chan error, 1)}
	select {
	case s.writes <- w:
		return <-w.done
	case <-s.ctx.Done():
		return durable.ErrClosed
	}
}

// checkKeys refuses a batch that cannot be written, before it spoils the others in its
// transaction.
func checkKeys(b *durable.Batch) (err error) {
	check := func(key []byte) {
		if len(key) > MaxKey {
			err = fmt.Errorf("%w: a key of %d bytes, and PostgreSQL's index takes %d", durable.ErrWrite, len(key), MaxKey)
		}
	}
	b.Replay(func(key, _ []byte) { check(key) }, check)
	return err
}

// writer writes what is queued, one transaction at a time, until the store is closed.
func (s *Store) writer() {
	for {
		select {
		case w := <-s.writes:
			s.commit(w)
		case <-s.ctx.Done():
			return
		}
	}
}

// changes is what a transaction does: the last change of each key. A nil value means
// deletion.
type changes struct {
	values map[string][]byte
	bytes  int
}

func (c *changes) add(b *durable.Batch) {
	b.Replay(
		func(key, value []byte) {
			c.values[string(key)] = append([]byte{}, value...)
			c.bytes += len(key) + len(value)
		},
		func(key []byte) {
			c.values[string(key)] = nil
			c.bytes += len(key)
		},
	)
}

// commit writes first and what has queued up behind it, in one transaction.
func (s *Store) commit(first *storeWrite) {
	group := []*storeWrite{first}
	c := changes{values: map[string][]byte{}}
	c.add(first.batch)
gather:
	for c.bytes < groupBytes && len(group) < groupBatches {
		select {
		case w := <-s.writes:
			group = append(group, w)
			c.add(w.batch)
		default:
			break gather
		}
	}
	err := s.apply(c)
	for _, w := range group {
		w.done <- err
	}
}

// apply writes the changes. It tries again while the database is away, even after Close:
// accepted batches are finished.
func (s *Store) apply(c changes) error {
	deleted, put, contents := [][]byte{}, [][]byte{}, [][]byte{}
	for key, value := range c.values {
		if value == nil {
			deleted = append(deleted, []byte(key))
		} else {
			put, contents = append(put, []byte(key)), append(contents, value)
		}
	}
	var answer string
	if s.era != nil {
		if epoch, right := s.era(); !right || epoch != s.epoch {
			s.lost(errSet)
			return errors.Join(durable.ErrWrite, s.usable())
		}
	}
	err := s.settle()
	if err == nil {
		s.cache.write(c.values)
		err = s.db.again(context.Background(), func(ctx context.Context) error {
			return s.db.pool.QueryRow(ctx, "SELECT "+Schema+".store_write($1, $2, $3, $4, $5, $6)", s.id, s.term, s.number+1, deleted, put, contents).Scan(&answer)
		})
		s.unsure = err != nil
	}
	switch {
	case err != nil:
	case answer == "written", answer == "before":
		s.number++
		s.cache.wrote(c.values)
		return nil
	case answer == "fenced":
		s.lost(errTaken)
		return errors.Join(durable.ErrWrite, s.usable())
	default:
		s.unsure = true
		err = fmt.Errorf("write %d of this term is %s", s.number+1, answer)
	}
	return fmt.Errorf("%w: store %s: %w", durable.ErrWrite, s.name, err)
}

// settle takes a new term after a write whose outcome is unknown. From then on that write is
// either committed or never will be.
func (s *Store) settle() error {
	if !s.unsure {
		return nil
	}
	next := newTerm()
	err := s.db.again(context.Background(), func(ctx context.Context) error {
		return s.db.pool.QueryRow(ctx, "UPDATE "+Schema+".stores SET term = $3 WHERE id = $1 AND term IN ($2, $3) RETURNING writes", s.id, s.term, next).Scan(&s.number)
	})
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		// The term may also be one that an earlier failed attempt of ours has set.
		s.lost(errTaken)
		return s.usable()
	case err != nil:
		return err
	}
	s.term, s.unsure = next, false
	s.cache.settled()
	return nil
}

// lost records why nothing more may be written.
func (s *Store) lost(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fenced != nil {
		return
	}
	s.db.log.Error("nothing more is written to a store", "store", s.name, "err", why)
	s.fenced = why
	close(s.gone)
}

// Lost is closed when another owner has the store, or when the clock was set to a wrong time.
// Nothing more can be written then.
func (s *Store) Lost() <-chan struct{} { return s.gone }

// Close implements durable.Store. It waits for the write under way.
func (s *Store) Close() error {
	s.mu.Lock()
	again := s.closed
	s.closed = true
	open := make([]*storeScan, 0, len(s.scans))
	for it := range s.scans {
		open = append(open, it)
	}
	s.mu.Unlock()
	if again {
		s.wg.Wait()
		return nil
	}
	s.cancel()
	s.wg.Wait()
	for _, it := range open {
		it.end(durable.ErrClosed)
	}
	if s.lock != nil {
		s.lock.release()
	}
	return nil
}
