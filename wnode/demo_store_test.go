//go:build unix

package wnode

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"whisperpush/testutil/genuinepostgres"
)

// The demo does all that it does with its mailserver on PostgreSQL, and says what is wrong where the database is not an empty one.
func TestDemoOnPostgres(t *testing.T) {
	t.Parallel()
	store, file, password := genuinepostgres.For(t).StoreFor(t)

	run := func() (code int, out, failed string) {
		var stdout, stderr bytes.Buffer
		code = Main(t.Context(), []string{"wnode", "demo", "--store", store, "--store.password", file}, strings.NewReader(""), &stdout, &stderr)
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
