package wnode

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
	"whisperpush/testutil/emulate"
)

// providersOf opens the providers of a settings file.
func providersOf(t *testing.T, text string) ([]pushext.Provider, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "node.toml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	var cfg config.Config
	require.NoError(t, config.Load(path, &cfg), text)
	providers, err := openProviders(cfg.Push.Provider)
	t.Cleanup(func() { closeProviders(providers) })
	return providers, err
}

// emulated starts an emulator and writes its credentials to files of its own.
func emulated(t *testing.T, kind string) (service *emulate.Instance, paths map[string]string) {
	t.Helper()
	service, err := emulate.Start(kind, "")
	require.NoError(t, err)
	t.Cleanup(service.Close)
	paths, err = writeCredentials(t.TempDir(), service.Files)
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
				v := providers[i].Push(t.Context(), pushext.Notification{
					Address: pushext.Address{Token: device.Address, Keys: device.Keys}, Body: []byte(`{"v":2,"p":"c2VhbGVk"}`),
					CollapseID: "abc", TTL: time.Hour, Urgent: true, Visible: true, ID: "0123456789",
				})
				require.Equal(t, pushext.Delivered, v.Class, v.Reason)
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
			"project":             {"ProjectID", "a/b", `push provider one: project id "a/b" is not`},
			"endpoint":            {"Endpoint", "fcm", `push provider one: endpoint "fcm" is not a URL`},
		},
		"apns": {
			"no key":      {"KeyFile", missing, `push provider one: the key is missing`},
			"no such key": {"KeyFile", "/nowhere", `push provider one: key file "/nowhere" cannot be read`},
			"no key id":   {"KeyID", missing, `push provider one: key id and team id are missing`},
			"no team id":  {"TeamID", missing, `push provider one: key id and team id are missing`},
			"no topic":    {"Topic", missing, `push provider one: the topic is missing`},
			"plain":       {"Endpoint", "http://127.0.0.1:1", `push provider one: endpoint "http://127.0.0.1:1" is not a URL such as https:`},
			"no such CA":  {"CAFile", "/nowhere", `push provider one: CAFile "/nowhere" cannot be read`},
			"CA":          {"CAFile", os.DevNull, `push provider one: CAFile "` + os.DevNull + `" holds no PEM certificate`},
		},
		"hms": {
			"no app id":      {"AppID", missing, `push provider one: app id and app secret are missing`},
			"app id":         {"AppID", "my app", `push provider one: app id "my app" is not a number`},
			"no secret":      {"AppSecretFile", missing, `push provider one: AppSecretFile is missing; put the secret into a file and name it`},
			"no such secret": {"AppSecretFile", "/nowhere", `push provider one: AppSecretFile names the file "/nowhere", and there is none`},
			"empty secret":   {"AppSecretFile", os.DevNull, `push provider one: AppSecretFile: the first line of "` + os.DevNull + `" is empty; it must be the secret`},
			"endpoint":       {"Endpoint", "hms", `push provider one: endpoint "hms" is not a URL`},
			"token URL":      {"TokenURL", "ftp://x", `push provider one: endpoint "ftp://x" is not a URL`},
		},
		"pushy": {
			"no key":      {"APIKeyFile", missing, `push provider one: APIKeyFile is missing; put the secret into a file and name it`},
			"no such key": {"APIKeyFile", "/nowhere", `push provider one: APIKeyFile names the file "/nowhere", and there is none`},
			"endpoint":    {"Endpoint", "pushy", `push provider one: the endpoint is not a URL`},
		},
		"gorush": {
			"no endpoint":  {"Endpoint", missing, `push provider one: the endpoint is not a URL such as http://localhost:8088`},
			"no platform":  {"Platform", missing, `push provider one: platform "" is neither "android" nor "ios"`},
			"huawei":       {"Platform", "huawei", `push provider one: gorush cannot tell whether Huawei took a push: use provider hms`},
			"no iOS topic": {"Platform", "ios", `push provider one: the topic is missing: it is the app's bundle id`},
		},
		"webpush": {
			"no key":      {"KeyFile", missing, `push provider one: the VAPID key is missing`},
			"no such key": {"KeyFile", "/nowhere", `push provider one: key file "/nowhere" cannot be read`},
			"no contact":  {"Contact", missing, `push provider one: contact "" is not a mailto: or https: URL`},
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

func TestUnknownProviderType(t *testing.T) {
	_, err := providersOf(t, "[[Push.Provider]]\nType = \"fmc\"\n")
	require.ErrorContains(t, err, `the provider "fmc" has the type "fmc", which there is not; give one of fcm, apns, `)
}

// The direct link has no service to emulate and no option that it needs.
func TestDirectOpens(t *testing.T) {
	providers, err := providersOf(t, "[[Push.Provider]]\nType = \"direct\"\n")
	require.NoError(t, err)
	require.Equal(t, "direct", providers[0].Name())
}
