package node

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"whisperpush/config"
	"whisperpush/pushext/emulate"
)

// Every table in docs/providers.md loads, and opens a provider once the files it
// names are there; and no type lacks one.
func TestProvidersDocLoads(t *testing.T) {
	text, err := os.ReadFile("../../docs/providers.md")
	require.NoError(t, err)
	dir := t.TempDir()
	files := make(map[string]map[string]string) // by type, by key of the table
	for _, kind := range emulate.Types() {
		service, err := emulate.Start(kind, "")
		require.NoError(t, err)
		service.Close()
		files[kind], err = emulate.WriteFiles(dir, service.Files)
		require.NoError(t, err)
	}
	shown := make(map[string]bool)
	for _, snippet := range regexp.MustCompile("(?s)```toml\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		path := filepath.Join(dir, "node.toml")
		require.NoError(t, os.WriteFile(path, []byte(snippet[1]), 0o600))
		cfg := config.Defaults()
		require.NoError(t, config.Load(path, &cfg), snippet[1])
		require.NoError(t, cfg.Validate(), snippet[1])
		require.NotEmpty(t, cfg.Push.Provider, snippet[1])
		for _, p := range cfg.Push.Provider {
			shown[p.Type] = true
			for key := range p.Options {
				if strings.HasSuffix(key, "File") {
					require.Contains(t, files[p.Type], key)
					p.Options[key] = files[p.Type][key]
				}
			}
		}
		providers, err := OpenProviders(cfg.Push.Provider)
		require.NoError(t, err, snippet[1])
		CloseProviders(providers)
	}
	for _, known := range providerTypes() {
		require.True(t, shown[known.name], "docs/providers.md shows no table of type %s", known.name)
		require.Contains(t, string(text), "\n## "+known.name+": ")
	}
}
