package durable

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
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
					require.ErrorIs(t, err, ErrNotFound)
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

// TestRecoverJournal: a damaged record of a journal takes no other with it,
// wherever in it the damage is.
func TestRecoverJournal(t *testing.T) {
	noLeaks(t)
	const n = 400
	dir := filepath.Join(t.TempDir(), "db")
	d, err := Open(dir, Options{})
	require.NoError(t, err)
	for i := range n {
		require.NoError(t, writeOne(d, i))
	}
	require.NoError(t, d.Close())
	journals, err := filepath.Glob(filepath.Join(dir, "*.log"))
	require.NoError(t, err)
	require.Len(t, journals, 1)
	data, err := os.ReadFile(journals[0])
	require.NoError(t, err)
	require.Greater(t, len(data), 2*journalBlock)
	all, damaged := wholeRecords(data)
	require.Zero(t, damaged)
	require.Len(t, all, n)
	for bit := range 400 * 8 { // of the first records
		flipped := bytes.Clone(data)
		flipped[bit/8] ^= 1 << (bit % 8)
		records, damaged := wholeRecords(flipped)
		require.Positive(t, damaged)
		require.GreaterOrEqual(t, len(records), n-2, "bit %d", bit)
		require.Equal(t, all[n-1], records[len(records)-1])
	}
	data[len(data)/2] ^= 1
	require.NoError(t, os.WriteFile(journals[0], data, 0o600))
	r, err := Recover(t.Context(), dir, nil)
	require.NoError(t, err)
	require.GreaterOrEqual(t, r.Keys, n-1)
}

// TestRecoverInterrupted: a recovery that ended between its two renames is
// finished by the next one.
func TestRecoverInterrupted(t *testing.T) {
	noLeaks(t)
	const n = 400
	dir := damagedFiles(t, n, ".log")
	r, err := Recover(t.Context(), dir, nil)
	require.NoError(t, err)
	require.NoError(t, os.Rename(dir, dir+recoveringSuffix))
	require.NoError(t, os.RemoveAll(r.Aside)) // its name has the second in it
	again, err := Recover(t.Context(), dir, nil)
	require.NoError(t, err)
	require.Equal(t, r.Keys, again.Keys)
}

// TestCheck reads every byte, and changes none.
func TestCheck(t *testing.T) {
	noLeaks(t)
	const n = 400
	_, err := Check(t.Context(), filepath.Join(t.TempDir(), "none"), nil)
	require.ErrorIs(t, err, os.ErrNotExist)
	for _, suffix := range []string{".log", ".ldb", "MANIFEST-*"} {
		dir := damagedFiles(t, n, suffix)
		_, err := Check(t.Context(), dir, nil)
		require.ErrorIs(t, err, ErrCorrupted, suffix)
		_, err = Recover(t.Context(), dir, nil)
		require.NoError(t, err)
		last, all := int64(0), int64(1)
		keys, err := Check(t.Context(), dir, func(done, total int64) { last, all = done, total })
		require.NoError(t, err)
		require.Greater(t, keys, n/2)
		require.Equal(t, all, last)
		d, err := Open(dir, small)
		require.NoError(t, err)
		_, err = Check(t.Context(), dir, nil)
		require.ErrorIs(t, err, ErrLocked)
		require.NoError(t, d.Close())
	}
}
