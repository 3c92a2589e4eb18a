package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"whisperpush/durable"
)

var (
	// ErrInUse says that something uses the database that must not do so now.
	ErrInUse = errors.New("the database is in use")
	// ErrMoving says that the contents of the database are incomplete: a move into it was
	// begun.
	ErrMoving = errors.New("a move into this database was begun and is not finished; run wnode move again, or empty it with DROP SCHEMA " + Schema + " CASCADE")
	// ErrOlder says that the tables are of an earlier version, or are missing.
	ErrOlder = errors.New("the database has no tables of this version")
)

// presenceClass is the first half of the advisory lock that nodes share while they use the
// database, and that a move holds alone. The second half is 0: there is one lock for each
// database.
const presenceClass = 0x77707570 // "wpup"

// moveStore has one entry, under an empty key, while a move into the database is unfinished.
const moveStore = "moving"

// Presence is the presence of a node, or of a move, in a database.
type Presence struct{ lock *sessionLock }

// Lost is closed when the server took the presence away, if it is one of Alone.
func (p *Presence) Lost() <-chan struct{} { return p.lock.gone }

// End ends the presence.
func (p *Presence) End() { p.lock.release() }

// Join notes that a node uses the database from now on; other nodes may join as well. The
// error wraps ErrInUse while somebody has the database alone, or ErrMoving.
func (d *DB) Join(ctx context.Context) (*Presence, error) {
	p := &Presence{&sessionLock{db: d, class: presenceClass, shared: true}}
	if err := p.lock.begin(ctx); err != nil {
		return nil, d.occupied(ctx, err)
	}
	mark, err := d.MoveMark(ctx)
	if err == nil && mark != nil {
		err = fmt.Errorf("%s: %w", d, ErrMoving)
	}
	if err != nil {
		p.End()
		return nil, err
	}
	return p, nil
}

// Alone takes the database for this process, until End or Lost. The error wraps ErrInUse, and
// names the users of the database.
func (d *DB) Alone(ctx context.Context) (*Presence, error) {
	p := &Presence{&sessionLock{db: d, class: presenceClass, gone: make(chan struct{})}}
	if err := p.lock.begin(ctx); err != nil {
		return nil, d.occupied(ctx, err)
	}
	// A node of an earlier version takes no such lock. It is found by its leases if it serves
	// push.
	var address string
	err := d.pool.QueryRow(ctx, "SELECT address FROM "+Schema+".nodes WHERE until > extract(epoch FROM clock_timestamp()) * 1000 LIMIT 1").Scan(&address)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return p, nil
	case err == nil:
		err = fmt.Errorf("%s: %w by the node at %s; stop it first", d, ErrInUse, address)
	}
	p.End()
	return nil, d.fault(err)
}

// occupied is the error of a presence that could not be obtained.
func (d *DB) occupied(ctx context.Context, err error) error {
	if !errors.Is(err, durable.ErrLocked) {
		return fmt.Errorf("%s: %w", d, err)
	}
	rows, err := d.pool.Query(ctx, `SELECT DISTINCT CASE WHEN l.mode = 'ShareLock' THEN 'a node' ELSE 'wnode move' END ||
			coalesce(' on ' || host(a.client_addr), ' on the computer of the database')
		FROM pg_locks l JOIN pg_stat_activity a USING (pid)
		WHERE l.locktype = 'advisory' AND l.granted AND l.classid = $1 AND l.objid = 0 AND a.datname = current_database() ORDER BY 1`, uint32(presenceClass))
	if err != nil {
		return d.fault(err)
	}
	who, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return d.fault(err)
	}
	if len(who) == 0 {
		who = []string{"somebody who has just gone; try again"}
	}
	return fmt.Errorf("%s: %w by %s; stop that first", d, ErrInUse, strings.Join(who, " and "))
}

// MoveMark returns the note of an unfinished move into the database, nil if there is none.
func (d *DB) MoveMark(ctx context.Context) (mark []byte, err error) {
	err = d.again(ctx, func(ctx context.Context) error {
		err := d.pool.QueryRow(ctx, "SELECT e.value FROM "+Schema+".entries e JOIN "+Schema+".stores s ON s.id = e.store WHERE s.name = $1", moveStore).Scan(&mark)
		if errors.Is(err, pgx.ErrNoRows) {
			err = nil
		}
		return err
	})
	return mark, err
}

// SetMoveMark writes the note of a move into the database; nil means that the move is
// finished. When it returns, everything written before it is committed for good.
func (d *DB) SetMoveMark(ctx context.Context, mark []byte) error {
	return d.change(ctx, func(tx pgx.Tx) error {
		if mark == nil {
			_, err := tx.Exec(ctx, "DELETE FROM "+Schema+".entries WHERE store = (SELECT id FROM "+Schema+".stores WHERE name = $1)", moveStore)
			return err
		}
		if _, err := tx.Exec(ctx, "INSERT INTO "+Schema+".stores (name, term, writes) VALUES ($1, 0, 0) ON CONFLICT DO NOTHING", moveStore); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "INSERT INTO "+Schema+".entries (store, key, value) SELECT id, ''::bytea, $2::bytea FROM "+Schema+".stores WHERE name = $1 ON CONFLICT (store, key) DO UPDATE SET value = excluded.value", moveStore, mark)
		return err
	})
}

// change runs a transaction that is on the disk of the server, and of its synchronous
// standbys, when change returns. The transaction may run more than once.
func (d *DB) change(ctx context.Context, f func(pgx.Tx) error) error {
	return d.again(ctx, func(ctx context.Context) error {
		return pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') IN ('off', 'local')"); err != nil {
				return err
			}
			return f(tx)
		})
	})
}

// Contents reports whether anything was ever archived in the database, and whether there are
// registrations. The error wraps ErrUndivided if the registrations are not in shards.
func (d *DB) Contents(ctx context.Context) (archived, registered bool, err error) {
	if err := d.Shards("", nil).Check(ctx); err != nil {
		return false, true, err
	}
	err = d.again(ctx, func(ctx context.Context) error {
		return d.pool.QueryRow(ctx, "SELECT (SELECT seq > 0 FROM "+Schema+".head), EXISTS (SELECT FROM "+Schema+".entries e JOIN "+Schema+".shards h ON h.store = e.store)").Scan(&archived, &registered)
	})
	return archived, registered, err
}

// clearRows is how many entries are deleted in a transaction.
const clearRows = 20000

// ClearShards empties the stores of all shards. An owner that had one open before can no
// longer write to it.
func (d *DB) ClearShards(ctx context.Context) error {
	err := d.change(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE "+Schema+".stores SET term = $1 WHERE id IN (SELECT store FROM "+Schema+".shards)", newTerm())
		return err
	})
	for deleted := int64(clearRows); err == nil && deleted == clearRows; {
		err = d.change(ctx, func(tx pgx.Tx) error {
			tag, err := tx.Exec(ctx, "DELETE FROM "+Schema+".entries WHERE ctid IN (SELECT e.ctid FROM "+Schema+".entries e JOIN "+Schema+".shards h ON h.store = e.store LIMIT $1)", clearRows)
			deleted = tag.RowsAffected()
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("empty the shards in %s: %w", d, err)
	}
	return nil
}

// Analyze makes the server update its statistics after very much was written, so that it plans
// its queries well.
func (d *DB) Analyze(ctx context.Context) error {
	return d.again(ctx, func(ctx context.Context) error {
		_, err := d.pool.Exec(ctx, "ANALYZE "+Schema+".entries")
		return err
	})
}

// PutShards writes entries into stores of shards that nobody has open. An existing entry is
// replaced.
func (d *DB) PutShards(ctx context.Context, entries []ShardEntry) error {
	shards, keys, values := make([]int32, len(entries)), make([][]byte, len(entries)), make([][]byte, len(entries))
	for i, e := range entries {
		shards[i], keys[i], values[i] = int32(e.Shard), e.Key, notNil(e.Value)
	}
	err := d.change(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "INSERT INTO "+Schema+".entries (store, key, value) SELECT h.store, n.key, n.value FROM unnest($1::int[], $2::bytea[], $3::bytea[]) AS n (shard, key, value) JOIN "+Schema+".shards h USING (shard) ON CONFLICT (store, key) DO UPDATE SET value = excluded.value",
			shards, keys, values)
		return err
	})
	if err != nil {
		return fmt.Errorf("write registrations to %s: %w", d, err)
	}
	return nil
}

// OpenAsIs is Open for a database that must stay as it is. The error wraps ErrOlder if its
// tables are not of this version.
func OpenAsIs(ctx context.Context, address string, o Options) (*DB, error) {
	return connect(ctx, address, o, func(ctx context.Context, d *DB) error {
		version := 0
		err := pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) (err error) {
			if version, err = d.version(ctx, tx); err == nil {
				err = errUndo
			}
			return err
		})
		switch {
		case !errors.Is(err, errUndo):
			return err
		case version == 0:
			return fmt.Errorf("%w: no node has used it", ErrOlder)
		case version < keysVersion-1:
			return fmt.Errorf("%w: they have version %d, and this one begins with %d; start a node of this version on it once, and stop it", ErrOlder, version, keysVersion-1)
		}
		return nil
	})
}

// shardReader reads the store of a shard while nobody writes to it.
type shardReader struct {
	d     *DB
	shard int
}

// ReadShard returns the store of a shard for reading. Nobody may have it open. Writes fail.
func (d *DB) ReadShard(shard int) durable.Store { return &shardReader{d, shard} }

const ofShard = "store = (SELECT store FROM " + Schema + ".shards WHERE shard = $1)"

// Get implements durable.Store.
func (s *shardReader) Get(key []byte) (value []byte, err error) {
	err = s.d.again(context.Background(), func(ctx context.Context) error {
		return s.d.pool.QueryRow(ctx, "SELECT value FROM "+Schema+".entries WHERE "+ofShard+" AND key = $2", s.shard, notNil(key)).Scan(&value)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, durable.ErrNotFound
	}
	return value, err
}

// Write implements durable.Store.
func (s *shardReader) Write(*durable.Batch) error {
	return fmt.Errorf("%w: the shard is read only", durable.ErrWrite)
}

// Close implements durable.Store.
func (s *shardReader) Close() error { return nil }

// Scan implements durable.Store. It holds no connection.
func (s *shardReader) Scan(from, to []byte) durable.Iterator {
	return &shardScan{s: s, from: notNil(from), to: to}
}

// readRows is how many entries are read at a time.
const readRows = 1024

type shardScan struct {
	s        *shardReader
	from, to []byte
	entries  []entry
	current  entry
	whole    bool // everything has been read
	failed   error
}

// Next implements durable.Iterator.
func (it *shardScan) Next() bool {
	if len(it.entries) == 0 && !it.whole && it.failed == nil {
		it.failed = it.s.d.again(context.Background(), func(ctx context.Context) error {
			rows, err := it.s.d.pool.Query(ctx, "SELECT key, value FROM "+Schema+".entries WHERE "+ofShard+" AND key >= $2 AND ($3::bytea IS NULL OR key < $3) ORDER BY key LIMIT $4", it.s.shard, it.from, it.to, readRows)
			if err == nil {
				it.entries, err = collect(rows)
			}
			return err
		})
		if it.whole = len(it.entries) < readRows; !it.whole {
			it.from = append(append([]byte{}, it.entries[readRows-1].key...), 0)
		}
	}
	if len(it.entries) == 0 {
		return false
	}
	it.current, it.entries = it.entries[0], it.entries[1:]
	return true
}

// Key implements durable.Iterator.
func (it *shardScan) Key() []byte { return it.current.key }

// Value implements durable.Iterator.
func (it *shardScan) Value() []byte { return it.current.value }

// Release implements durable.Iterator.
func (it *shardScan) Release() error {
	it.entries, it.whole = nil, true
	return it.failed
}
