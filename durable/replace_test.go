package durable

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReplaceFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state")
	for _, content := range []string{"first", "", "a longer one"} {
		require.NoError(t, ReplaceFile(path, []byte(content)))
		got, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, content, string(got))
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode())
	}

	// A directory in the way of the name: the old content stays, and nothing else.
	blocked := filepath.Join(dir, "blocked")
	require.NoError(t, os.MkdirAll(filepath.Join(blocked, "full"), 0o700))
	require.Error(t, ReplaceFile(blocked, []byte("x")))
	require.NoFileExists(t, blocked+replaceSuffix)
	require.Error(t, ReplaceFile(filepath.Join(dir, "none", "state"), []byte("x")))
}
