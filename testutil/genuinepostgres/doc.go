// Package genuinepostgres runs a PostgreSQL server for the tests of package postgres
// and of what uses it: Debian's, in a directory of its own, on a free port of
// loopback, gone when the test process is gone.
//
//	pg, err := genuinepostgres.Start(ctx) // ErrNotInstalled: skip, and print it
//	defer pg.Stop()
//	url, err := pg.Database(ctx) // empty, of a role that may do nothing else
//
// PostgreSQL refuses to run as root. A test that does runs it as the user postgres, or
// else nobody.
package genuinepostgres
