package durable

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/syndtr/goleveldb/leveldb"
)

// damagedFiles makes a database of n writes and flips a bit in the middle of its
// largest file with the suffix.
func damagedFiles(t *testing.T, n int, suffix string) (dir string) {
	dir = filepath.Join(t.TempDir(), "db")
	o := Options{NoCompression: true}
	if suffix == ".ldb" {
		o = small
	}
	d, err := Open(dir, o)
	require.NoError(t, err)
	for i := range n {
		require.NoError(t, writeOne(d, i))
	}
	require.NoError(t, d.Close())
	files, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
	require.NoError(t, err)
	var largest []byte
	var name string
	for _, f := range files {
		b, err := os.ReadFile(f)
		require.NoError(t, err)
		if len(b) > len(largest) {
			largest, name = b, f
		}
	}
	require.NotEmpty(t, largest)
	largest[len(largest)/2] ^= 4
	require.NoError(t, os.WriteFile(name, largest, 0o600))
	return dir
}

func TestRecover(t *testing.T) {
	const n = 400
	for _, suffix := range []string{".log", ".ldb"} {
		t.Run(strings.TrimPrefix(suffix, "."), func(t *testing.T) {
			noLeaks(t)
			dir := damagedFiles(t, n, suffix)
			var done, total int64
			r, err := Recover(t.Context(), dir, func(d, all int64) { done, total = d, all })
			require.NoError(t, err)
			require.Positive(t, total)
			require.Equal(t, total, done)
			require.NotEmpty(t, r.Losses, "a loss must be told")
			require.DirExists(t, r.Aside)
			require.Greater(t, r.Keys, n/2)
			require.Less(t, r.Keys, n)

			d, err := Open(dir, small)
			require.NoError(t, err)
			defer d.Close()
			found := 0
			for i := range n {
				if v, err := d.Get(key(i)); err == nil {
					require.Equal(t, value(i), v)
					found++
				} else {
					require.ErrorIs(t, err, leveldb.ErrNotFound)
				}
			}
			require.Equal(t, r.Keys, found)
			require.NoError(t, writeOne(d, n))
		})
	}
}

func TestRecoverLeavesTheDatabaseWhenItCannot(t *testing.T) {
	dir := damagedFiles(t, 100, ".log")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Recover(ctx, dir, nil)
	require.ErrorIs(t, err, context.Canceled)
	_, err = Open(dir, Options{})
	require.ErrorIs(t, err, ErrCorrupted, "as before")
	_, err = Recover(t.Context(), dir+"-none", nil)
	require.ErrorIs(t, err, os.ErrNotExist)

	whole := filepath.Join(t.TempDir(), "db")
	d, err := Open(whole, Options{})
	require.NoError(t, err)
	defer d.Close()
	_, err = Recover(t.Context(), whole, nil)
	require.ErrorIs(t, err, ErrLocked)
}
