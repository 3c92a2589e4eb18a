package wnode

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// The nodes of the compose files have settings and flags that this version takes, and each of those that share a database
// has ports, a volume and an address of its own. No container runtime is needed for that.
func TestComposeFiles(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"../deploy", "../deploy/cluster"} {
		text, err := os.ReadFile(filepath.Join(dir, "compose.yaml"))
		require.NoError(t, err)
		var file struct {
			Services map[string]struct {
				Command, Ports, Volumes []string
			}
		}
		require.NoError(t, yaml.Unmarshal(text, &file))
		secrets := t.TempDir()
		for name, secret := range map[string]string{
			"pushkey": strings.Repeat("01", 32), "push.disk.key": strings.Repeat("02", 32), "db-password": "a password",
		} {
			require.NoError(t, os.WriteFile(filepath.Join(secrets, name), []byte(secret), 0o600))
		}
		settings, err := os.ReadFile(filepath.Join(dir, "node.toml"))
		require.NoError(t, err)
		here := filepath.Join(secrets, "node.toml")
		require.NoError(t, os.WriteFile(here, []byte(strings.ReplaceAll(string(settings), "/run/secrets", secrets)), 0o600))
		own := map[string]string{}
		nodes := 0
		for name, service := range file.Services {
			if len(service.Command) == 0 {
				continue // not ours
			}
			nodes++
			args := []string{"check-config", "--datadir", filepath.Join(t.TempDir(), "data")}
			for _, arg := range service.Command {
				args = append(args, strings.ReplaceAll(arg, "/etc/whisperpush/node.toml", here))
			}
			require.Regexp(t, `(?m)^ok: `, wnodeOK(t, nil, args...), name)
			for _, one := range append(append(service.Ports, service.Volumes...), service.Command[3]) {
				if strings.HasPrefix(one, "./") {
					continue // the settings, which they share
				}
				require.Empty(t, own[one], "%s has %s as well", name, one)
				own[one] = name
			}
		}
		require.Contains(t, []int{1, 3}, nodes)
	}
}
