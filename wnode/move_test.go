//go:build unix

package wnode

import (
	"bytes"
	"context"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"whisperpush/testutil/genuinepostgres"
)

// Scripts that need a PostgreSQL server: each has an empty database, whose URL is $STORE, and $PASSWORD is the file with the
// password.
func TestScriptsOnPostgres(t *testing.T) {
	server, err := genuinepostgres.Start(t.Context())
	if errors.Is(err, genuinepostgres.ErrNotInstalled) {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Stop()) }) // after the scripts
	all := scripts("testdata/postgres")
	setup := all.Setup
	all.Setup = func(env *testscript.Env) error {
		full, err := server.Database(context.Background())
		if err != nil {
			return err
		}
		store, err := url.Parse(full)
		if err != nil {
			return err
		}
		password, _ := store.User.Password()
		store.User = url.User(store.User.Username())
		env.Setenv("STORE", store.String())
		env.Setenv("PASSWORD", filepath.Join(env.WorkDir, "password"))
		if err := os.WriteFile(filepath.Join(env.WorkDir, "password"), []byte(password+"\n"), 0o600); err != nil {
			return err
		}
		return setup(env)
	}
	testscript.Run(t, all)
}

// Where there is no terminal, long work says a line for each stage that ends, and one every ten seconds.
func TestStages(t *testing.T) {
	var out bytes.Buffer
	s := newStages(&out)
	s.progress("envelopes", 0, 1000)
	s.progress("envelopes", 500, 1000)
	require.Empty(t, out.String())
	s.said = time.Now().Add(-stagesEvery)
	s.progress("envelopes", 600, 1000)
	require.Equal(t, "envelopes: 600 of 1000\n", out.String())
	s.progress("envelopes", 1000, 1000)
	s.progress("registrations", 128, 0)
	s.close()
	s.close()
	require.Equal(t, "envelopes: 600 of 1000\nenvelopes: 1000 of 1000\nregistrations: 128 records\n", out.String())
}
