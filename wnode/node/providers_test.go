package node

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/config"
	"whisperpush/pushext"
	"whisperpush/pushext/emulate"
)

// providersOf opens the providers of a settings file.
func providersOf(t *testing.T, text string) ([]pushext.Provider, error) {
	t.Helper()
	var cfg config.Config
	loadTable(t, text, &cfg)
	providers, err := OpenProviders(cfg.Push.Provider)
	t.Cleanup(func() { CloseProviders(providers) })
	return providers, err
}

// loadTable reads a settings file.
func loadTable(t *testing.T, text string, cfg *config.Config) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "node.toml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	require.NoError(t, config.Load(path, cfg), text)
}

// emulated starts an emulator and writes its credentials to files of its own.
func emulated(t *testing.T, kind string) (service *emulate.Instance, paths map[string]string) {
	t.Helper()
	service, err := emulate.Start(kind, "")
	require.NoError(t, err)
	t.Cleanup(service.Close)
	paths, err = emulate.WriteFiles(t.TempDir(), service.Files)
	require.NoError(t, err)
	return service, paths
}

// named is the emulator's table under another name.
func named(table, name string) string {
	lines := strings.SplitAfter(table, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "Name = ") {
			lines[i] = "Name = \"" + name + "\"\n"
		}
	}
	return strings.Join(lines, "")
}

// delivers pushes to a device, which the service must accept.
func delivers(t *testing.T, through pushext.Provider, device emulate.Device) {
	t.Helper()
	v := through.Push(t.Context(), pushext.Notification{
		Address: pushext.Address{Token: device.Address, Keys: device.Keys}, Body: []byte(`{"v":2,"p":"c2VhbGVk"}`),
		CollapseID: "abc", TTL: time.Hour, Urgent: true, Visible: true, ID: "0123456789",
	})
	require.Equal(t, pushext.Delivered, v.Class, v.Reason)
}

// Several projects, keys or apps of one type are instances that know nothing of each other: each wakes the devices of
// its own account, and no other's.
func TestSeveralInstances(t *testing.T) {
	for _, kind := range emulate.Types() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			ours, oursPaths := emulated(t, kind)
			theirs, theirPaths := emulated(t, kind)
			providers, err := providersOf(t, named(ours.Table(oursPaths), kind+"-one")+named(theirs.Table(theirPaths), kind+"-two"))
			require.NoError(t, err)
			require.Len(t, providers, 2)
			for i, service := range []*emulate.Instance{ours, theirs} {
				require.Equal(t, kind+[]string{"-one", "-two"}[i], providers[i].Name())
				device, err := service.NewDevice()
				require.NoError(t, err)
				delivers(t, providers[i], device)
				require.Equal(t, 1, service.Accepted())
			}
		})
	}
}

// A table that cannot work is refused with one sentence that names the instance and what is wrong with it.
func TestWrongProviderOptions(t *testing.T) {
	const missing = "\x00"
	for kind, tests := range map[string]map[string]struct {
		key   string
		value any // missing: the key is left out
		want  string
	}{
		"fcm": {
			"no credentials":      {"CredentialsFile", missing, `push provider one: `},
			"no such credentials": {"CredentialsFile", "/nowhere", `push provider one: `},
			"project":             {"ProjectID", "a/b", `push provider one: ProjectID "a/b" is not`},
			"endpoint":            {"Endpoint", "fcm", `push provider one: Endpoint "fcm" is not a URL`},
		},
		"apns": {
			"no key":      {"KeyFile", missing, `push provider one: KeyFile is missing`},
			"no such key": {"KeyFile", "/nowhere", `push provider one: KeyFile names the file "/nowhere", and there is none`},
			"no key id":   {"KeyID", missing, `push provider one: KeyID or TeamID is missing`},
			"no team id":  {"TeamID", missing, `push provider one: KeyID or TeamID is missing`},
			"no topic":    {"Topic", missing, `push provider one: Topic is missing`},
			"plain":       {"Endpoint", "http://127.0.0.1:1", `push provider one: Endpoint "http://127.0.0.1:1" does not begin with https://`},
			"no such CA":  {"CAFile", "/nowhere", `push provider one: CAFile names the file "/nowhere", and there is none`},
			"CA":          {"CAFile", os.DevNull, `push provider one: CAFile "` + os.DevNull + `" holds no PEM certificate`},
		},
		"hms": {
			"no app id":      {"AppID", missing, `push provider one: AppID or AppSecret is missing`},
			"app id":         {"AppID", "my app", `push provider one: AppID "my app" is not a number`},
			"no secret":      {"AppSecretFile", missing, `push provider one: AppSecretFile is missing: name a file whose first line is the secret`},
			"no such secret": {"AppSecretFile", "/nowhere", `push provider one: AppSecretFile names the file "/nowhere", and there is none`},
			"empty secret":   {"AppSecretFile", os.DevNull, `push provider one: AppSecretFile: the first line of "` + os.DevNull + `" is empty: it has to be the secret`},
			"endpoint":       {"Endpoint", "hms", `push provider one: Endpoint "hms" is not a URL`},
			"token URL":      {"TokenURL", "ftp://x", `push provider one: TokenURL "ftp://x" does not begin with https:// or http://`},
		},
		"pushy": {
			"no key":      {"APIKeyFile", missing, `push provider one: APIKeyFile is missing: name a file whose first line is the secret`},
			"no such key": {"APIKeyFile", "/nowhere", `push provider one: APIKeyFile names the file "/nowhere", and there is none`},
			"endpoint":    {"Endpoint", "pushy", `push provider one: Endpoint "pushy" is not a URL`},
		},
		"gorush": {
			"no endpoint":  {"Endpoint", missing, `push provider one: Endpoint is missing: give a URL such as http://localhost:8088`},
			"no platform":  {"Platform", missing, `push provider one: Platform "" is neither "android" nor "ios"`},
			"huawei":       {"Platform", "huawei", `push provider one: gorush cannot tell whether Huawei took a push: use provider hms`},
			"no iOS topic": {"Platform", "ios", `push provider one: Topic is missing: it is the app's bundle id`},
		},
		"webpush": {
			"no key":      {"KeyFile", missing, `push provider one: KeyFile is missing: name the VAPID private key`},
			"no such key": {"KeyFile", "/nowhere", `push provider one: KeyFile names the file "/nowhere", and there is none`},
			"no contact":  {"Contact", missing, `push provider one: Contact "" is not a mailto: or https: URL`},
		},
		"webhook": {},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			service, paths := emulated(t, kind)
			options := maps.Clone(service.Options)
			for key, path := range paths {
				options[key] = path
			}
			open := func(key string, value any) error {
				changed := maps.Clone(options)
				if changed[key] = value; value == missing {
					delete(changed, key)
				}
				table := &emulate.Instance{Type: kind, Options: changed}
				_, err := providersOf(t, named(table.Table(nil), "one"))
				return err
			}
			for name, test := range tests {
				t.Run(name, func(t *testing.T) {
					err := open(test.key, test.value)
					require.ErrorContains(t, err, test.want)
					require.NotContains(t, err.Error(), "\n", "one sentence is one line")
				})
			}
			t.Run("misspelt", func(t *testing.T) {
				require.EqualError(t, open("Timeouts", "5s"), `provider "one" of type "`+kind+`" has no key "Timeouts"; did you mean "Timeout"?`)
			})
			t.Run("wrong type", func(t *testing.T) {
				require.ErrorContains(t, open("Timeout", true), `provider "one": `)
			})
		})
	}
}

// TestWrongURLs: whatever a table names by a URL is judged when the node starts, and the error names the key.
func TestWrongURLs(t *testing.T) {
	keys := map[string][]string{
		"fcm": {"Endpoint", "TokenURL"}, "apns": {"Endpoint"}, "hms": {"Endpoint", "TokenURL"}, "pushy": {"Endpoint"},
		"gorush": {"Endpoint", "ConfigURL"}, "webpush": {"Contact"}, "webhook": {},
	}
	for _, kind := range emulate.Types() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			require.Contains(t, keys, kind, "say which of its keys are URLs")
			service, paths := emulated(t, kind)
			for _, key := range keys[kind] {
				for _, wrong := range []string{
					"push.example.org", "push.example.org:443", " https://push.example.org", "https://push.example.org ", "https://push.example.org/a b", "ftp://push.example.org",
					"https://", "https:///v1", "https:push.example.org", "https://push.example.org:0", "https://push.example.org:65536", "https://push.example.org:https",
					"https://push.example.org/#v1", "https://push.example.org#", "https://push.example.org\\v1", "https://püsh.example.org", "https://[::1", "//push.example.org",
				} {
					changed := &emulate.Instance{Type: kind, Options: maps.Clone(service.Options)}
					changed.Options[key] = wrong
					_, err := providersOf(t, changed.Table(paths))
					require.ErrorContains(t, err, "push provider "+kind+": "+key, wrong)
					require.NotContains(t, err.Error(), "\n")
				}
			}
		})
	}
}

// TestMarkedFiles: a byte order mark, which editors on Windows write, is no part of a key, secret or certificate.
func TestMarkedFiles(t *testing.T) {
	for _, kind := range emulate.Types() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			service, err := emulate.Start(kind, "")
			require.NoError(t, err)
			t.Cleanup(service.Close)
			for key, file := range service.Files {
				file.Content = append([]byte("\ufeff"), file.Content...)
				service.Files[key] = file
			}
			paths, err := emulate.WriteFiles(t.TempDir(), service.Files)
			require.NoError(t, err)
			providers, err := providersOf(t, service.Table(paths))
			require.NoError(t, err)
			device, err := service.NewDevice()
			require.NoError(t, err)
			delivers(t, providers[0], device)
		})
	}
}

func TestUnknownProviderType(t *testing.T) {
	_, err := providersOf(t, "[[Push.Provider]]\nType = \"fmc\"\n")
	require.ErrorContains(t, err, `provider "fmc" has unknown type "fmc"; use one of fcm, apns, `)
}

// The direct link has no service to emulate and no option that it needs.
func TestDirectOpens(t *testing.T) {
	providers, err := providersOf(t, "[[Push.Provider]]\nType = \"direct\"\n")
	require.NoError(t, err)
	require.Equal(t, "direct", providers[0].Name())
}
