package wnode

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each way in which a data directory is of no use, in one sentence that names it
// and says what to do.
func TestDataDirErrors(t *testing.T) {
	for want, err := range map[string]error{
		"the data directory /d cannot be written by this user; give it to the user with chown":         &os.PathError{Op: "mkdir", Err: syscall.EACCES},
		"the data directory /d cannot be written by this user; give it to the user with chown, or cho": &os.PathError{Op: "mkdir", Err: syscall.EROFS},
		"a part of the path of the data directory /d is a file; choose another with --datadir":         &os.PathError{Op: "mkdir", Err: syscall.ENOTDIR},
		"the disk of the data directory /d is full; make room, or choose another with --datadir":       &os.PathError{Op: "mkdir", Err: syscall.ENOSPC},
		"the data directory /d cannot be used: input/output error":                                     syscall.EIO,
	} {
		require.ErrorContains(t, dataDirError("/d", err), want)
	}
	require.True(t, diskFull(fmt.Errorf("open: %w", syscall.ENOSPC)))
	require.True(t, diskFull(errors.New("newManifest error: write MANIFEST-000000: no space left on device, cleanup error (<nil>)")))
	require.False(t, diskFull(syscall.EIO))
}

func TestCheckDataDir(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, checkDataDir(dir))
	require.NoError(t, checkDataDir(filepath.Join(dir, "new")))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "chaindata"), 0o700))
	require.ErrorContains(t, checkDataDir(dir), "is a data directory of geth")
}
