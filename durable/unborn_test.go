package durable

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/syndtr/goleveldb/leveldb/storage"
)

// TestUnbornDatabase is what a crash or a full disk may leave of a first Open: it is
// no damage, and the next Open makes the database.
func TestUnbornDatabase(t *testing.T) {
	for name, left := range map[string]map[string]string{
		"nothing":                      {},
		"a manifest":                   {"MANIFEST-000000": "half of it"},
		"an unfinished CURRENT":        {"MANIFEST-000000": "half of it", "CURRENT.0": ""},
		"a CURRENT without its target": {"CURRENT.0": "MANIFEST-000000\n"},
		"an empty journal":             {"MANIFEST-000000": "half of it", "CURRENT.0": "MANI", "000001.log": ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, content := range left {
				require.NoError(t, os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600))
			}
			unborn, err := Unborn(dir, nil)
			require.NoError(t, err)
			require.True(t, unborn)

			d, err := Open(dir, Options{})
			require.NoError(t, err)
			require.NoError(t, d.Write(put("k", "v")))
			_, err = Unborn(dir, nil)
			require.ErrorIs(t, err, ErrLocked)
			require.NoError(t, d.Close())
			unborn, err = Unborn(dir, nil)
			require.NoError(t, err)
			require.False(t, unborn)
		})
	}
}

// TestLostCurrentIsDamage: a database that has a record was born, whatever became of its CURRENT.
func TestLostCurrentIsDamage(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"emptied": func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"flipped": func(path string) error { return os.WriteFile(path, []byte("MANIFESU-000000\n"), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			d, err := Open(dir, Options{})
			require.NoError(t, err)
			require.NoError(t, d.Write(put("k", "v")))
			require.NoError(t, d.Close())
			require.NoError(t, spoil(filepath.Join(dir, "CURRENT")))
			unborn, err := Unborn(dir, nil)
			require.NoError(t, err)
			require.False(t, unborn)
			_, err = Open(dir, Options{})
			require.ErrorIs(t, err, ErrCorrupted)
		})
	}
}

// fullMeta is files on a disk on which there is no room for CURRENT, as goleveldb leaves them.
type fullMeta struct {
	storage.Storage
	dir string
}

func (f fullMeta) SetMeta(fd storage.FileDesc) error {
	return errors.Join(os.WriteFile(filepath.Join(f.dir, "CURRENT.7"), nil, 0o600), syscall.ENOSPC)
}

func TestFailedSetMetaLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	s := &fileStorage{Storage: fullMeta{dir: dir}, dir: dir}
	require.ErrorIs(t, s.SetMeta(storage.FileDesc{Type: storage.TypeManifest, Num: 7}), syscall.ENOSPC)
	require.NoFileExists(t, filepath.Join(dir, "CURRENT.7"))
}
