//go:build linux

package chaos

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"

	"whisperpush/testutil/genuinepostgres"
	"whisperpush/testutil/quietport"
	"whisperpush/testutil/wallclock"
)

// page is what a node answers at its metrics address.
func page(t testing.TB, port int, path string) (status int, text string) {
	t.Helper()
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d%s", port, path))
	require.NoError(t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return answer.StatusCode, string(body)
}

// A node whose clock is set to a wrong time gives its shards to the others, says so where load
// balancers look, and takes part again when the clock is right.
func TestNodeWhoseClockIsSet(t *testing.T) {
	pg := genuinepostgres.For(t)
	full, err := pg.Database(t.Context())
	require.NoError(t, err)
	u, err := url.Parse(full)
	require.NoError(t, err)
	password, _ := u.User.Password()
	u.User = url.User(u.User.Username())
	secret, err := crypto.GenerateKey()
	require.NoError(t, err)
	private := crypto.FromECDSA(secret)
	keys := map[string]string{"pushkey": hex.EncodeToString(private), "push.disk.key": hex.EncodeToString(crypto.Keccak256(private))}
	var nodes []*node
	var ports []int
	for i := range 2 {
		port, err := quietport.Free()
		require.NoError(t, err)
		settings := fmt.Sprintf("[Metrics]\nEnabled = true\nPort = %d\n\n[[Push.Provider]]\nType = \"direct\"\n", port)
		n := newNode(t, fmt.Sprintf("node %d", i+1), settings, pg.Addr(), u.String(), nil, keys)
		require.NoError(t, n.start(password))
		t.Cleanup(n.kill)
		nodes, ports = append(nodes, n), append(ports, port)
	}
	await := func(what string, done func() bool) {
		t.Helper()
		require.Eventually(t, done, 30*time.Second, 100*time.Millisecond, what)
	}
	shards := func(i, n int) func() bool {
		return func() bool {
			_, text := page(t, ports[i], "/metrics")
			return strings.Contains(text, fmt.Sprintf("\nwhisperpush_cluster_shards %d\n", n))
		}
	}
	await("shards are shared", func() bool { return shards(0, 8)() && shards(1, 8)() })
	for _, by := range []time.Duration{45 * 24 * time.Hour, -time.Hour} {
		err := wallclock.Shift(nodes[0].pid(), by)
		if errors.Is(err, wallclock.ErrUnsupported) {
			t.Skip(err)
		}
		require.NoError(t, err)
		await("the other one has all", func() bool { return shards(0, 0)() && shards(1, 16)() })
		await("it says why", func() bool {
			status, text := page(t, ports[0], "/readyz")
			return status != http.StatusOK && strings.Contains(text, "this computer's clock is "+by.String()+" off the database server's")
		})
		status, text := page(t, ports[0], "/healthz")
		require.Equal(t, http.StatusOK, status, "a restart would not help: %s", text)
		status, text = page(t, ports[1], "/readyz")
		require.Equal(t, http.StatusOK, status, text)

		require.NoError(t, wallclock.Shift(nodes[0].pid(), 0))
		await("it takes part again", func() bool { return shards(0, 8)() && shards(1, 8)() })
		await("and is ready", func() bool { status, _ := page(t, ports[0], "/readyz"); return status == http.StatusOK })
	}
}
