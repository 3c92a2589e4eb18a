package config

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHost(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "127.0.0.1": "127.0.0.1", "::1": "::1", "[::1]": "::1", "fe80::1%eth0": "fe80::1%eth0", "localhost": "localhost", "0.0.0.0": "0.0.0.0", "[::]": "::",
	} {
		host, err := Host(text, "http.port")
		require.NoError(t, err, text)
		require.Equal(t, want, host)
	}
	for text, want := range map[string]string{
		"127.0.0.1:8545":   `with a port; give "127.0.0.1" here and the port as --http.port 8545`,
		"[::1]:8545":       `with a port; give "::1" here and the port as --http.port 8545`,
		"localhost:8545":   `with a port; give "localhost" here and the port as --http.port 8545`,
		":8545":            `with a port; give "" here and the port as --http.port 8545`,
		"http://127.0.0.1": "which is neither an IP address nor a host name",
		"[[::1]]":          "which is neither an IP address nor a host name",
		"[127.0.0.1]":      "which is neither an IP address nor a host name",
		"::1:8545:":        "which is neither an IP address nor a host name",
		"10.0.0.0/8":       "which is neither an IP address nor a host name",
	} {
		_, err := Host(text, "http.port")
		require.ErrorContains(t, err, want, text)
	}
}
