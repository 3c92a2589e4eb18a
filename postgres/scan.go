package postgres

import (
	"context"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5"

	"whisperpush/durable"
)

// scanRows is how many entries of a scan are read at a time. A smaller scan holds no
// connection.
const scanRows = 256

type entry struct{ key, value []byte }

// storeScan is a scan: the entries read and, while there are more, the transaction in which it
// continues.
type storeScan struct {
	s       *Store
	entries []entry // read, and not yet returned
	current entry

	mu     sync.Mutex // guards the following fields against Close of the store
	tx     pgx.Tx     // nil: everything has been read
	failed error
	over   bool // released
}

// Scan implements durable.Store. A scan of more than a few hundred entries holds one of
// the connections until it is released.
func (s *Store) Scan(from, to []byte) durable.Iterator {
	it := &storeScan{s: s}
	if it.failed = s.usable(); it.failed != nil {
		return it
	}
	err := s.db.again(s.ctx, func(ctx context.Context) error { return it.begin(ctx, from, to) })
	if err != nil {
		it.failed = s.readFailed(err)
		return it
	}
	s.mu.Lock()
	closed := s.closed
	if it.tx != nil && !closed {
		s.scans[it] = struct{}{}
	}
	s.mu.Unlock()
	if closed {
		it.end(durable.ErrClosed)
	}
	return it
}

// begin reads the first entries, and leaves a transaction open if there are more.
func (it *storeScan) begin(ctx context.Context, from, to []byte) error {
	const entries = "SELECT key, value FROM " + Schema + ".entries WHERE store = $1 AND key >= $2 AND ($3::bytea IS NULL OR key < $3) ORDER BY key"
	rows, err := it.s.db.pool.Query(ctx, entries+" LIMIT $4", it.s.id, notNil(from), to, scanRows)
	if err != nil {
		return err
	}
	if it.entries, err = collect(rows); err != nil || len(it.entries) < scanRows {
		return err
	}
	// There is more than that: read all of it as of one moment.
	tx, err := it.s.db.pool.BeginTx(it.s.ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return err
	}
	if _, err = tx.Exec(ctx, "DECLARE scan NO SCROLL CURSOR FOR "+entries, it.s.id, notNil(from), to); err == nil {
		it.entries, err = fetch(ctx, tx)
	}
	if err != nil {
		roll(tx)
		return err
	}
	it.tx = tx
	return nil
}

func fetch(ctx context.Context, tx pgx.Tx) ([]entry, error) {
	rows, err := tx.Query(ctx, "FETCH 256 FROM scan") // scanRows
	if err != nil {
		return nil, err
	}
	return collect(rows)
}

func collect(rows pgx.Rows) ([]entry, error) {
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (e entry, err error) {
		err = row.Scan(&e.key, &e.value)
		return e, err
	})
}

// roll ends a transaction that has changed nothing, and does not wait for a server that is
// away.
func roll(tx pgx.Tx) {
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	tx.Rollback(ctx)
}

// Next implements durable.Iterator.
func (it *storeScan) Next() bool {
	it.mu.Lock()
	defer it.mu.Unlock()
	if it.failed != nil || it.over {
		return false
	}
	if len(it.entries) == 0 && it.tx != nil {
		ctx, cancel := context.WithTimeout(it.s.ctx, it.s.db.patience)
		defer cancel()
		var err error
		if it.entries, err = fetch(ctx, it.tx); err != nil {
			it.failed = it.s.readFailed(err)
			return false
		}
	}
	if len(it.entries) == 0 {
		return false
	}
	it.current, it.entries = it.entries[0], it.entries[1:]
	return true
}

// Key implements durable.Iterator.
func (it *storeScan) Key() []byte { return it.current.key }

// Value implements durable.Iterator.
func (it *storeScan) Value() []byte { return it.current.value }

// Release implements durable.Iterator.
func (it *storeScan) Release() error {
	it.end(nil)
	it.s.mu.Lock()
	delete(it.s.scans, it)
	it.s.mu.Unlock()
	return it.failed
}

// end gives the connection back. If the scan has no error yet, it gets cause.
func (it *storeScan) end(cause error) {
	it.mu.Lock()
	defer it.mu.Unlock()
	if it.over {
		return
	}
	it.over, it.entries = true, slices.Clip(it.entries[:0])
	if it.failed == nil {
		it.failed = cause
	}
	if it.tx != nil {
		roll(it.tx)
		it.tx = nil
	}
}
