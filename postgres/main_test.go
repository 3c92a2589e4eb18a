package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"whisperpush/testutil/genuinepostgres"
)

// server is the PostgreSQL that all tests share, each with a database of its own; nil
// and the reason if there is none.
var (
	server     *genuinepostgres.Server
	noServer   error
	background = context.Background()
)

func TestMain(m *testing.M) {
	server, noServer = genuinepostgres.Start(background)
	if noServer != nil && !errors.Is(noServer, genuinepostgres.ErrNotInstalled) {
		fmt.Fprintln(os.Stderr, noServer)
		os.Exit(1)
	}
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if server != nil {
		if err := server.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// database returns the URL of an empty database.
func database(t *testing.T) string {
	if noServer != nil {
		t.Skip(noServer)
	}
	url, err := server.Database(background)
	require.NoError(t, err)
	return url
}

// opened opens a database until the test ends.
func opened(t *testing.T, url string, o Options) *DB {
	d, err := Open(background, url, o)
	require.NoError(t, err)
	t.Cleanup(d.Close)
	return d
}
