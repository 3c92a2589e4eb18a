//go:build unix

package wnode

import (
	"bytes"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"whisperpush/testutil/genuinepostgres"
)

// The demo does all that it does with its mailserver on PostgreSQL, and says what is wrong where the database is not an empty one.
func TestDemoOnPostgres(t *testing.T) {
	t.Parallel()
	server, err := genuinepostgres.Start(t.Context())
	if errors.Is(err, genuinepostgres.ErrNotInstalled) {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Stop()) })
	full, err := server.Database(t.Context())
	require.NoError(t, err)
	store, err := url.Parse(full)
	require.NoError(t, err)
	password, _ := store.User.Password()
	store.User = url.User(store.User.Username())
	file := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(file, []byte(password+"\n"), 0o600))

	run := func() (code int, out, failed string) {
		var stdout, stderr bytes.Buffer
		code = Main(t.Context(), []string{"wnode", "demo", "--store", store.String(), "--store.password", file}, strings.NewReader(""), &stdout, &stderr)
		return code, stdout.String(), stderr.String()
	}
	code, out, failed := run()
	require.Zero(t, code, failed)
	require.Contains(t, out, "demo ok: 3 messages, ")
	require.Contains(t, out, "act two ok: 4 messages in a group of 3, 2 devices woken for the mention")

	code, _, failed = run()
	require.Equal(t, 1, code)
	require.Contains(t, failed, "is not the one that the registrations in ", "another demo's")
	require.NotContains(t, failed, password)
}
