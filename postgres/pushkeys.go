package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// keysVersion is the first version of the tables that has shared push keys. Nodes of an earlier
// program need the tables they know, so the tables are brought to this version only when push
// keys are exchanged for the first time.
const keysVersion = 4

// ErrNewKeys says that another node has changed the shared push keys, or has joined meanwhile.
var ErrNewKeys = errors.New("the push keys were exchanged by another node, or a node has joined")

// SharedKeys are the push keys that nodes share.
type SharedKeys struct {
	Version int64  // grows by one with each change; 0: they were never exchanged, and are not in the database
	Mark    []byte // what nodes that have taken this version beat with, stored as it is
	Sealed  []byte // the keys, sealed by the node that wrote them
}

// Member is a node that is alive.
type Member struct {
	Node    int64
	Address string // where other nodes reach it
	Mark    []byte // what it beats with
}

// Use makes the node beat with another mark from now on.
func (s *Shards) Use(mark []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = notNil(mark)
}

// mark is what the node beats with.
func (s *Shards) mark() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys
}

// Keys returns the push keys that nodes share, or the zero value if they were never exchanged.
func (d *DB) Keys(ctx context.Context) (k SharedKeys, err error) {
	err = d.again(ctx, func(ctx context.Context) error {
		var there bool
		if err := d.pool.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", Schema+".push_keys").Scan(&there); err != nil || !there {
			return err
		}
		err := d.pool.QueryRow(ctx, "SELECT version, mark, sealed FROM "+Schema+".push_keys").Scan(&k.Version, &k.Mark, &k.Sealed)
		if errors.Is(err, pgx.ErrNoRows) {
			err = nil
		}
		return err
	})
	return k, err
}

// Members returns the nodes that are alive, including this one.
func (d *DB) Members(ctx context.Context) (list []Member, err error) {
	err = d.again(ctx, func(ctx context.Context) error {
		list, err = members(ctx, d.pool)
		return err
	})
	return list, err
}

func members(ctx context.Context, from interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}) ([]Member, error) {
	rows, err := from.Query(ctx, "SELECT node, address, keys FROM "+Schema+".nodes WHERE until >= extract(epoch FROM clock_timestamp()) * 1000 ORDER BY node")
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Member])
}

// SetKeys replaces the push keys of the version before. From then on no node is heard that does
// not beat with the new mark. known are the nodes that can do that. If another node is alive,
// or the keys are not of the version before, nothing changes and the error wraps ErrNewKeys. It
// may be repeated when its outcome is unknown.
func (d *DB) SetKeys(ctx context.Context, k SharedKeys, known map[int64]bool) error {
	return d.change(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(migrationLock)); err != nil {
			return err
		}
		if err := d.raise(ctx, tx, keysVersion); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "SELECT at FROM "+Schema+".heard FOR UPDATE"); err != nil { // no node joins meanwhile
			return err
		}
		var before SharedKeys
		err := tx.QueryRow(ctx, "SELECT version, mark, sealed FROM "+Schema+".push_keys").Scan(&before.Version, &before.Mark, &before.Sealed)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		if before.Version == k.Version && string(before.Sealed) == string(k.Sealed) {
			return nil // an earlier attempt was committed
		}
		if before.Version != k.Version-1 {
			return ErrNewKeys
		}
		alive, err := members(ctx, tx)
		if err != nil {
			return err
		}
		for _, m := range alive {
			if !known[m.Node] {
				return ErrNewKeys
			}
		}
		if _, err := tx.Exec(ctx, "INSERT INTO "+Schema+".push_keys (version, mark, sealed) VALUES ($1, $2, $3) ON CONFLICT (one) DO UPDATE SET version = excluded.version, mark = excluded.mark, sealed = excluded.sealed",
			k.Version, k.Mark, k.Sealed); err != nil {
			return fmt.Errorf("write the push keys: %w", err)
		}
		return nil
	})
}
