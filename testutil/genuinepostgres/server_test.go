//go:build unix

package genuinepostgres_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"whisperpush/testutil/genuinepostgres"
)

func TestServer(t *testing.T) {
	ctx := context.Background()
	pg, err := genuinepostgres.Start(ctx)
	if errors.Is(err, genuinepostgres.ErrNotInstalled) {
		t.Skip(err)
	}
	require.NoError(t, err)
	defer func() { require.NoError(t, pg.Stop()) }()
	url, err := pg.Database(ctx)
	require.NoError(t, err)
	exec := func(statement string) error {
		conn, err := pgx.Connect(ctx, url)
		if err != nil {
			return err
		}
		defer conn.Close(ctx)
		_, err = conn.Exec(ctx, statement)
		return err
	}
	require.NoError(t, exec("CREATE SCHEMA mine CREATE TABLE kept (n int)"))
	require.Error(t, exec("CREATE TABLE public.foreign (n int)"), "the role has no more than it needs")
	require.Error(t, exec("CREATE ROLE another"))

	require.NoError(t, pg.Kill())
	require.Error(t, exec("SELECT 1"))
	require.NoError(t, pg.Start(ctx))
	require.NoError(t, exec("INSERT INTO mine.kept VALUES (1)"))

	require.NoError(t, pg.Halt())
	require.Error(t, exec("SELECT 1"))
	require.NoError(t, pg.Start(ctx))
	require.NoError(t, exec("INSERT INTO mine.kept VALUES (2)"))
}
