package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// foreignPage is how many envelopes are read at a time.
const foreignPage = 500

// undefinedTable is PostgreSQL's code for a missing table, and undefinedColumn for a missing
// column.
const (
	undefinedTable  = "42P01"
	undefinedColumn = "42703"
)

// ReadStatusTable calls each with every row, in order, of the table "envelopes" of a status-go
// mailserver whose id is above after, which may be nil: the id, which is a key as package
// foreign describes it, and the envelope's RLP. Nothing is written. The mailserver may be
// running, and rows that it adds meanwhile may be included. The error wraps one of this
// package's.
func ReadStatusTable(ctx context.Context, address string, o Options, after []byte, each func(key, raw []byte) error) error {
	config, err := parse(address, o)
	if err != nil {
		return err
	}
	d := &DB{config: config, secrets: secretsOf(config.ConnConfig.Password)}
	conn, err := pgx.ConnectConfig(ctx, config.ConnConfig)
	if err != nil {
		return fmt.Errorf("open %s: %w", d, d.fault(err))
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if after == nil {
		after = []byte{}
	}
	for {
		rows, err := conn.Query(ctx, "SELECT id, data FROM envelopes WHERE id > $1 ORDER BY id LIMIT $2", after, foreignPage)
		if err != nil {
			return d.foreignFault(err)
		}
		n := 0
		var key, raw []byte
		var eachErr error
		_, err = pgx.ForEachRow(rows, []any{&key, &raw}, func() error {
			n++
			after = append(after[:0:0], key...)
			eachErr = each(key, raw)
			return eachErr
		})
		switch {
		case eachErr != nil:
			return eachErr
		case err != nil:
			return d.foreignFault(err)
		case n < foreignPage:
			return nil
		}
	}
}

// foreignFault is the error of reading a table that is not ours.
func (d *DB) foreignFault(err error) error {
	if code, ok := errors.AsType[*pgconn.PgError](err); ok && (code.Code == undefinedTable || code.Code == undefinedColumn) {
		return fmt.Errorf("%w: %s has no table \"envelopes\" of a status-go mailserver", ErrForeign, d)
	}
	return fmt.Errorf("read %s: %w", d, d.fault(err))
}
