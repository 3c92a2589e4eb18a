package postgres

import (
	"context"
	"embed"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
)

// migrations holds one file for each version, in order.
//
//go:embed migrations/*.sql
var migrations embed.FS

// migrationLock keeps two nodes that start at the same time from migrating at the same time.
const migrationLock = 0x77686973706572 // "whisper"

// Migrations returns the SQL scripts that bring the tables from one version to the next; the
// first one creates version 1.
func Migrations() []string {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		panic(err) // the pattern is constant
	}
	list := make([]string, len(files))
	for i, name := range files {
		text, err := migrations.ReadFile(name)
		if err != nil {
			panic(err) // the file is part of the program
		}
		list[i] = string(text)
	}
	return list
}

// migrate brings the tables to the version that nodes begin with. Later versions are not
// needed before a node asks for them; see keysVersion.
func (d *DB) migrate(ctx context.Context) error {
	return pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(migrationLock)); err != nil {
			return err
		}
		return d.raise(ctx, tx, keysVersion-1)
	})
}

// raise brings the tables to a version, if theirs is earlier. The caller holds migrationLock.
func (d *DB) raise(ctx context.Context, tx pgx.Tx, to int) error {
	version, err := d.version(ctx, tx)
	if err != nil {
		return err
	}
	all := Migrations()
	for n := version; n < to; n++ {
		if _, err := tx.Exec(ctx, all[n]); err != nil {
			return fmt.Errorf("bring the tables to version %d: %w", n+1, d.fault(err))
		}
		if _, err := tx.Exec(ctx, "UPDATE "+Schema+".schema_version SET version = $1", n+1); err != nil {
			return err
		}
	}
	if version < to {
		d.log.Info("the database's tables are brought to another version", "from", version, "to", to)
	}
	return nil
}

// version returns the version of the tables, 0 for none. It makes sure that the schema is ours
// and not of a newer version, and creates it if there is none.
func (d *DB) version(ctx context.Context, tx pgx.Tx) (version int, err error) {
	var schema, table, others bool
	if err := tx.QueryRow(ctx, `SELECT to_regnamespace($1) IS NOT NULL, to_regclass($1 || '.schema_version') IS NOT NULL,
		EXISTS (SELECT FROM pg_class WHERE relnamespace = to_regnamespace($1))`, Schema).Scan(&schema, &table, &others); err != nil {
		return 0, err
	}
	switch {
	case table:
		err := tx.QueryRow(ctx, "SELECT version FROM "+Schema+".schema_version").Scan(&version)
		if f := d.fault(err); hasCode(f, "42703") || err == pgx.ErrNoRows { // no such column
			return 0, fmt.Errorf("%w: use another database", ErrForeign)
		}
		if known := len(Migrations()); version > known {
			return 0, fmt.Errorf("%w: they have version %d, and this one knows %d; use the newer program, or another database", ErrNewer, version, known)
		}
		return version, err
	case others:
		return 0, fmt.Errorf("%w: use another database", ErrForeign)
	case !schema:
		if _, err := tx.Exec(ctx, "CREATE SCHEMA "+Schema); err != nil {
			err = d.fault(err)
			if hasCode(err, "42501") {
				return 0, fmt.Errorf("%w; let its owner do: CREATE SCHEMA %s AUTHORIZATION %s", err, Schema, pgx.Identifier{d.config.ConnConfig.User}.Sanitize())
			}
			return 0, err
		}
	}
	_, err = tx.Exec(ctx, "CREATE TABLE "+Schema+".schema_version (version int NOT NULL)")
	if err == nil {
		_, err = tx.Exec(ctx, "INSERT INTO "+Schema+".schema_version VALUES (0)")
	}
	return 0, err
}
