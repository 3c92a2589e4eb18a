//go:build linux

package smalldisk_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"whisperpush/testutil/smalldisk"
)

func TestFill(t *testing.T) {
	d, err := smalldisk.Mount("1m")
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { require.NoError(t, d.Unmount()) })
	file := filepath.Join(d.Dir, "file")
	require.NoError(t, os.WriteFile(file, make([]byte, 100_000), 0o600))
	require.NoError(t, d.Fill(300_000))
	require.NoError(t, os.WriteFile(file, make([]byte, 200_000), 0o600))
	require.NoError(t, d.Fill(0))
	require.ErrorIs(t, os.WriteFile(filepath.Join(d.Dir, "another"), []byte{1}, 0o600), syscall.ENOSPC)
	require.NoError(t, d.Fill(0), "what is full may be filled")
	require.NoError(t, d.Free())
	require.NoError(t, os.WriteFile(file, make([]byte, 500_000), 0o600))
}
