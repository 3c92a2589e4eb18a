package rival

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Nothing is built, or run, of a directory that is not the server's checkout.
func TestBuildRefusesOtherDirectories(t *testing.T) {
	dir := t.TempDir()
	_, err := Build(t.Context(), dir, t.TempDir())
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module example.org/other\n\ngo 1.25\n"), 0o600))
	_, err = Build(t.Context(), dir, t.TempDir())
	require.ErrorContains(t, err, `is no checkout of github.com/xmtp/example-notification-server-go: its go.mod begins with "module example.org/other"`)
}

func TestTopicsDiffer(t *testing.T) {
	require.NotEqual(t, Topic(1), Topic(2))
	require.Equal(t, Topic(1), Topic(1))
	require.Regexp(t, "^/xmtp/mls/1/w-[0-9a-f]{64}$", Topic(1))
}
