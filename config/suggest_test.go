package config

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// A guess is made of a typing error, or of a key in the wrong table, and of nothing that is farther away.
func TestSuggest(t *testing.T) {
	flags := []string{
		"--datadir", "--addr", "--port", "--maxpeers", "--bootnodes", "--nodekey", "--nodekeyhex", "--nat", "--nodiscover", "--netrestrict", "--shh.pow",
		"--mailserver", "--mailserver.password", "--push", "--ipcpath", "--http", "--http.api", "--ws", "--metrics", "--verbosity", "--log.format", "--config",
	}
	const none = "wnode --help lists the flags"
	for name, want := range map[string]string{
		"--maxpeer": `did you mean "--maxpeers"?`, "--Data-Dir": `did you mean "--datadir"?`, "--htttp": `did you mean "--http"?`,
		"--rpc": none, "--key": none, "--pprof": none, "--password": none, "--v": none, "--syncmode": none, "--cache": none, "--dev": none,
	} {
		require.Equal(t, want, Suggest(name, flags, none), name)
	}
	require.Equal(t, "give one of shh, shhext, net, web3, push, admin", Suggest("eth", Namespaces(), ""))
	require.Equal(t, `did you mean "admin"?`, Suggest("adminn", Namespaces(), ""))

	c := Defaults()
	for key, want := range map[string]string{
		"Log.MaxPeers": `did you mean "Node.MaxPeers"?`, "Node.Retention": `did you mean "Mailserver.Retention"?`, "Nodes": `did you mean "Node"?`,
		"Push.Limit": `did you mean "Push.Limits"?`, "Node.Password": none, "Node.Colour": none, "Log.Nat": `did you mean "Node.NAT"?`, "Log.Net": none,
	} {
		require.Equal(t, want, suggestKey(key, keysOf(&c), none), key)
	}
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringMatching(`--[a-z.]{1,20}`).Draw(t, "flag")
		said := Suggest(name, flags, none)
		nearest := slices.Min(mapped(flags, func(flag string) int { return distance(flag, name) }))
		require.Equal(t, nearest <= (len(name)-1)/3 && nearest <= 3, strings.HasPrefix(said, "did you mean"), said)
	})
}

func mapped[T, U any](list []T, f func(T) U) []U {
	var all []U
	for _, item := range list {
		all = append(all, f(item))
	}
	return all
}
