package config

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write docs/configuration.md anew")

// The page of all settings is the one that the comments make, and has every key.
func TestConfigurationPage(t *testing.T) {
	const path = "../docs/configuration.md"
	var page strings.Builder
	require.NoError(t, Document(&page))
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(page.String()), 0o644))
	}
	written, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, page.String(), string(written), "go test ./config -run TestConfigurationPage -update writes it anew")
	for _, key := range keysOf(new(Config)) {
		name := key[strings.LastIndexByte(key, '.')+1:]
		require.True(t, strings.Contains(page.String(), "\n`"+name+" = ") || strings.Contains(page.String(), "["+key+"]"), key)
	}
}
