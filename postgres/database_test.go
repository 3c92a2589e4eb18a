package postgres

import (
	"bytes"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// execAs runs statements in a session of their own.
func execAs(t *testing.T, address string, statements ...string) {
	t.Helper()
	conn, err := pgx.Connect(background, address)
	require.NoError(t, err)
	defer conn.Close(background)
	for _, s := range statements {
		_, err := conn.Exec(background, s)
		require.NoError(t, err, s)
	}
}

// names returns the database and role of a URL, which the tests call alike.
func names(t *testing.T, address string) string {
	u, err := url.Parse(address)
	require.NoError(t, err)
	return u.User.Username()
}

// Every way in which a database is not fit is one sentence, and the password is in none.
func TestOpenRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(t *testing.T, address string) string // returns the URL to open
		is    error
		says  string
	}{
		"not PostgreSQL": {func(t *testing.T, a string) string { return "mysql" + strings.TrimPrefix(a, "postgres") }, ErrURL, "begin with postgres://"},
		"bad option":     {func(t *testing.T, a string) string { return a + "&sslmode=perhaps" }, ErrURL, "postgres://ROLE@HOST"},
		"bad escape":     {func(t *testing.T, a string) string { return strings.Replace(a, "@", "%zz@", 1) }, ErrURL, "postgres://ROLE@HOST"},
		"nobody there":   {func(t *testing.T, a string) string { return strings.Replace(a, server.Addr(), "127.0.0.1:1", 1) }, ErrAway, "127.0.0.1"},
		"no TLS": {func(t *testing.T, a string) string {
			return strings.Replace(a, "sslmode=disable", "sslmode=require", 1)
		}, ErrAway, "TLS"},
		"wrong password": {func(t *testing.T, a string) string { return strings.Replace(a, "secret", "SECRET", 1) }, ErrRefused, "password authentication failed"},
		"no such database": {func(t *testing.T, a string) string {
			return strings.Replace(a, "?", "missing?", 1)
		}, ErrRefused, "does not exist"},
		"encoding": {func(t *testing.T, a string) string {
			db := names(t, a)
			execAs(t, server.Superuser("postgres"), "DROP DATABASE "+db, "CREATE DATABASE "+db+" ENCODING 'SQL_ASCII' TEMPLATE template0", "GRANT ALL ON DATABASE "+db+" TO "+db)
			return a
		}, ErrServer, "SQL_ASCII"},
		"read-only": {func(t *testing.T, a string) string {
			execAs(t, server.Superuser("postgres"), "ALTER ROLE "+names(t, a)+" SET default_transaction_read_only = on")
			return a
		}, ErrReadOnly, "default_transaction_read_only"},
		"foreign tables": {func(t *testing.T, a string) string {
			execAs(t, a, "CREATE SCHEMA whisperpush CREATE TABLE orders (n int)")
			return a
		}, ErrForeign, "another database"},
		"foreign version": {func(t *testing.T, a string) string {
			execAs(t, a, "CREATE SCHEMA whisperpush CREATE TABLE schema_version (id text)")
			return a
		}, ErrForeign, "another database"},
		"newer": {func(t *testing.T, a string) string {
			opened(t, a, Options{})
			execAs(t, a, "UPDATE whisperpush.schema_version SET version = 9999")
			return a
		}, ErrNewer, "9999"},
		"no leave to make the schema": {func(t *testing.T, a string) string {
			execAs(t, server.Superuser(names(t, a)), "REVOKE CREATE ON DATABASE "+names(t, a)+" FROM "+names(t, a))
			return a
		}, ErrRefused, "CREATE SCHEMA whisperpush AUTHORIZATION"},
	} {
		t.Run(name, func(t *testing.T) {
			address := c.spoil(t, database(t))
			start := time.Now()
			var log bytes.Buffer
			require.ErrorIs(t, Check(background, address, Options{}), c.is)
			_, err := Open(background, address, Options{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
			require.ErrorIs(t, err, c.is)
			require.ErrorContains(t, err, c.says)
			require.Less(t, time.Since(start), 5*time.Second)
			for _, text := range []string{err.Error(), log.String()} {
				require.NotContains(t, strings.ToLower(text), "secret")
				require.LessOrEqual(t, strings.Count(text, "\n"), strings.Count(text, "level="))
			}
		})
	}
}

// The privileges that the documentation asks for are enough: to connect, and to own the
// schema.
func TestLeastPrivileges(t *testing.T) {
	address := database(t)
	role := names(t, address)
	execAs(t, server.Superuser(role), "REVOKE CREATE ON DATABASE "+role+" FROM "+role, "CREATE SCHEMA "+Schema+" AUTHORIZATION "+role)
	d := opened(t, address, Options{})
	s := store(t, d, "push")
	require.NoError(t, s.Write(put("key", "value")))
	requireValue(t, s, "key", "value")
	a := opensArchive(t, d, ArchiveOptions{width: eachItsPart})
	for n := range uint64(3) {
		require.NoError(t, archived(a, expired(n)))
	}
	a.o.Retention, a.opened = time.Nanosecond, a.opened.Add(-2*wipeDelay)
	require.NoError(t, a.retain(background))
	require.EqualValues(t, 4, a.First())
}

// Check changes nothing.
func TestCheck(t *testing.T) {
	address := database(t)
	require.NoError(t, Check(background, address, Options{}))
	execAs(t, address, "CREATE SCHEMA "+Schema) // there is none
	require.NoError(t, Check(background, address, Options{}))
	d := opened(t, address, Options{})
	require.NoError(t, Check(background, address, Options{}))
	require.NoError(t, d.Ping())
}

// What a migration made is not made again, and what is in the tables stays.
func TestOpenAgain(t *testing.T) {
	address := database(t)
	first, err := Open(background, address, Options{})
	require.NoError(t, err)
	s := store(t, first, "push")
	require.NoError(t, s.Write(put("key", "value")))
	require.NoError(t, s.Close())
	first.Close()
	requireValue(t, store(t, opened(t, address, Options{}), "push"), "key", "value")
}

// The password may come from elsewhere than the URL.
func TestPasswordApart(t *testing.T) {
	address := database(t)
	u, err := url.Parse(address)
	require.NoError(t, err)
	password, _ := u.User.Password()
	u.User = url.User(u.User.Username())
	_, err = Open(background, u.String(), Options{})
	require.ErrorIs(t, err, ErrRefused)
	d := opened(t, u.String(), Options{Password: password})
	require.NotContains(t, d.String(), password)
	t.Setenv("PGPASSWORD", password)
	opened(t, u.String(), Options{})
}

func TestMigrations(t *testing.T) {
	require.NotEmpty(t, Migrations())
	for _, sql := range Migrations() {
		require.Contains(t, sql, Schema+".")
	}
}
