package wnode

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

// Every file with a secret that others can read is spoken of, at the start and by the doctor: the node's own keys, the
// password, and what each type of provider has. One that nobody else can read is not.
func TestExposedSecrets(t *testing.T) {
	t.Parallel()
	c := newClinic(t, emulate.Types()...)
	own := map[string]string{"nodekey": "node key", "pushkey": "push key", "push.disk.key": "disk key"}
	for i, name := range []string{"nodekey", "pushkey", "push.disk.key"} {
		require.NoError(t, os.WriteFile(filepath.Join(c.data(), name), []byte(strings.Repeat(string(rune('1'+i)), 64)), 0o600))
	}
	password := filepath.Join(c.dir, "password")
	require.NoError(t, os.WriteFile(password, []byte("our secret\n"), 0o600))
	args := []string{"--mailserver.password", password}
	said := c.well("node key", args...)
	require.NotContains(t, said, "chmod")

	want := map[string]string{password: "mailserver's password"}
	for name, what := range own {
		want[filepath.Join(c.data(), name)] = what
	}
	for file, what := range map[string]string{
		"fcm": "CredentialsFile of provider fcm", "apns": "KeyFile of provider apns", "hms": "AppSecretFile of provider hms",
		"pushy": "APIKeyFile of provider pushy", "webpush": "KeyFile of provider webpush",
	} {
		paths := c.paths[file]
		require.NotEmpty(t, paths, file)
		key, _, _ := strings.Cut(what, " ")
		want[paths[key]] = what
	}
	for path, what := range want {
		require.NoError(t, os.Chmod(path, 0o644), what)
	}
	code, said, _ := c.examine(args...)
	require.Equal(t, 1, code)
	for path, what := range want {
		require.Contains(t, said, "BAD  "+what+": others on this computer can read "+path+"; do chmod 600 "+path+"\n")
		require.NotContains(t, said, "ok   "+what+":")
	}
	require.NotContains(t, said, "CAFile", "certificates are public")

	cfg := config.Defaults()
	require.NoError(t, config.Load(c.file, &cfg))
	cfg.Node.DataDir, cfg.Push.Enabled, cfg.Mailserver.PasswordFile = c.data(), true, password
	var log bytes.Buffer
	warnOfSettings(cfg, newLogger(&log, config.Log{Verbosity: 2, Format: "text"}))
	require.Equal(t, len(want), strings.Count(log.String(), `msg="a secret is not secret"`), log.String())
	for _, what := range want {
		require.Contains(t, log.String(), what)
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
	require.Equal(t, []secretFile{{"apikeyfile of provider p", "/k"}}, namedSecrets(cfg))
}

// systemd hands a secret over readable for the service alone, by an access list that the mode shows as the group's.
func TestSecretsHandedOver(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "service-account.json")
	require.NoError(t, os.WriteFile(path, nil, 0o440))
	require.Error(t, secretFile{"x", path}.exposed())
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	require.NoError(t, secretFile{"x", path}.exposed())
	require.True(t, handedOver("/run/credentials/whisperpush.service/key"))
	require.False(t, handedOver("/run/credentials-of-another"))
	require.False(t, handedOver(filepath.Join(dir, "..", "key")))
}
