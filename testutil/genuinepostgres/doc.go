// Package genuinepostgres runs a PostgreSQL server for the tests of package postgres and
// of its users: Debian's, in a directory of its own, on a free port of loopback. It ends
// with the test process.
//
//	pg, err := genuinepostgres.Start(ctx) // ErrNotInstalled: skip, and print it
//	defer pg.Stop()
//	url, err := pg.Database(ctx) // empty, for a role that may do nothing else
//
// PostgreSQL refuses to run as root. A test that runs as root runs it as the user
// postgres, or else as nobody.
package genuinepostgres
