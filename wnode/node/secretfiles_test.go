package node

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"whisperpush/config"
	"whisperpush/pushext/emulate"
)

// Every file with a secret that others can read is warned of at the start: the node's own keys, the password, and what
// each type of provider has. One that nobody else can read is not.
func TestExposedSecrets(t *testing.T) {
	dir := t.TempDir()
	cfg := config.Defaults()
	cfg.Node.DataDir, cfg.Push.Enabled, cfg.Mailserver.PasswordFile = dir, true, filepath.Join(dir, "password")
	want := map[string]string{cfg.Mailserver.PasswordFile: "mailserver's password"}
	for name, what := range map[string]string{"nodekey": "node key", "pushkey": "push key", "push.disk.key": "disk key"} {
		want[filepath.Join(dir, name)] = what
	}
	for path := range want {
		require.NoError(t, os.WriteFile(path, []byte("our secret\n"), 0o600))
	}
	tables := ""
	for _, kind := range emulate.Types() {
		service, paths := emulated(t, kind)
		tables += service.Table(paths) + "\n"
		for key, file := range service.Files {
			if file.Secret {
				want[paths[key]] = key + " of provider " + kind
			} else {
				require.NoError(t, os.Chmod(paths[key], 0o644), "certificates are public")
			}
		}
	}
	require.Greater(t, len(want), 4+4, "of the providers too")
	loadTable(t, tables, &cfg)
	warned := func() string {
		var log bytes.Buffer
		warnOfSettings(cfg, NewLogger(&log, config.Log{Verbosity: 2, Format: "text"}))
		return log.String()
	}
	require.NotContains(t, warned(), "a secret is not secret")
	for path := range want {
		require.NoError(t, os.Chmod(path, 0o644))
	}
	said := warned()
	require.Equal(t, len(want), strings.Count(said, `msg="a secret is not secret"`), said)
	for _, what := range want {
		require.Contains(t, said, what)
	}

	// What is off is not read, and so not looked at.
	cfg.Push.Enabled = false
	require.Len(t, secretFiles(cfg), 1)
}

// What the operator's keys are called may be written in any case.
func TestSecretsInAnyCase(t *testing.T) {
	cfg := config.Defaults()
	cfg.Push.Enabled = true
	cfg.Push.Provider = []config.Provider{{Name: "p", Type: "pushy", Options: map[string]any{"apikeyfile": "/k", "CAFILE": "/ca", "Endpoint": "https://x"}}}
	require.Equal(t, []SecretFile{{"apikeyfile of provider p", "/k"}}, NamedSecrets(cfg))
}

// systemd hands a secret over readable for the service alone, by an access list that the mode shows as the group's.
func TestSecretsHandedOver(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "service-account.json")
	require.NoError(t, os.WriteFile(path, nil, 0o440))
	require.Error(t, SecretFile{"x", path}.Exposed())
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	require.NoError(t, SecretFile{"x", path}.Exposed())
	require.True(t, handedOver("/run/credentials/whisperpush.service/key"))
	require.False(t, handedOver("/run/credentials-of-another"))
	require.False(t, handedOver(filepath.Join(dir, "..", "key")))
}
