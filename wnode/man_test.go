package wnode

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"whisperpush/config"
)

// The manual pages and completions have every command, flag and setting: they are made of them.
func TestManuals(t *testing.T) {
	app := newApp(nil, io.Discard, io.Discard)
	files, err := manuals(app)
	require.NoError(t, err)
	require.Len(t, files, 5)
	flags, err := config.Flags()
	require.NoError(t, err)
	for name, text := range files {
		// roff protects dashes, and nothing else that names have.
		plain := strings.NewReplacer(`\-`, "-", `\&`, "", `\fB`, "", `\fP`, "", `\fR`, "").Replace(string(text))
		require.NotContains(t, plain, "`", name)
		if home, err := os.UserHomeDir(); err == nil && home != "/" {
			require.NotContains(t, plain, home+"/", name)
		}
		if name == "man/wnode.toml.5" {
			for _, f := range flags {
				if key := f.Key[strings.LastIndex(f.Key, ".")+1:]; key != "KeyHex" {
					require.Contains(t, plain, key+" = ", name)
				}
			}
			continue
		}
		for _, f := range flags {
			require.Contains(t, plain, f.Name, name)
		}
		for _, command := range app.Commands {
			if !command.Hidden {
				require.Contains(t, plain, command.Name, name)
			}
		}
	}
	if _, err := exec.LookPath("groff"); err != nil {
		t.Skip("the pages are not set: there is no groff")
	}
	for _, name := range []string{"man/wnode.1", "man/wnode.toml.5"} {
		cmd := exec.Command("groff", "-Kutf8", "-man", "-Tutf8", "-ww", "-z")
		cmd.Stdin = bytes.NewReader(files[name])
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		require.Empty(t, string(out), name)
	}
}

// bash completes commands, commands below them, flags, and files where a flag takes one.
func TestBashCompletion(t *testing.T) {
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("there is no bash")
	}
	script := filepath.Join(t.TempDir(), "wnode.bash")
	file, err := os.Create(script)
	require.NoError(t, err)
	require.NoError(t, printCompletion(newApp(nil, io.Discard, io.Discard), "bash", file))
	require.NoError(t, file.Close())
	complete := func(words string) string {
		cmd := exec.Command("bash", "-c", `source "$0"; COMP_WORDS=(wnode `+words+`); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _wnode; echo "${COMPREPLY[@]}"`, script)
		cmd.Dir = t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(cmd.Dir, "node.toml"), nil, 0o600))
		out, err := cmd.Output()
		require.NoError(t, err)
		return string(bytes.TrimSpace(out))
	}
	for words, want := range map[string]string{
		"arch": "archive", "archive ex": "export", "archive export --for": "--form", "--config no": "node.toml", "archive import no": "node.toml",
		"--http.po": "--http.port", "registrations revoke --dat": "--datadir", "device reg": "register", "--http.port x": "", "--datadir d arch": "archive",
	} {
		require.Equal(t, want, complete(words), words)
	}
}
