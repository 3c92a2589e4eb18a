package durable

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/syndtr/goleveldb/leveldb/journal"
)

// TestReadOnlyWithSeveralJournals: what a crash between two journals leaves, or a
// full disk in the midst of an open, can be read.
func TestReadOnlyWithSeveralJournals(t *testing.T) {
	noLeaks(t)
	const n = 200
	for name, first := range map[string]int{"an empty one": n, "two": n / 2, "an empty one first": 0} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "db")
			d, err := Open(dir, Options{})
			require.NoError(t, err)
			for i := range n {
				require.NoError(t, writeOne(d, i))
			}
			require.NoError(t, d.Close())
			old := filepath.Join(dir, "000001.log")
			data, err := os.ReadFile(old)
			require.NoError(t, err)
			records, damaged := wholeRecords(data)
			require.Zero(t, damaged)
			require.Len(t, records, n)
			for path, part := range map[string][][]byte{old: records[:first], filepath.Join(dir, "000003.log"): records[first:]} {
				f, err := os.Create(path)
				require.NoError(t, err)
				w := journal.NewWriter(f)
				for _, r := range part {
					next, err := w.Next()
					require.NoError(t, err)
					_, err = next.Write(r)
					require.NoError(t, err)
				}
				require.NoError(t, w.Close())
				require.NoError(t, f.Close())
			}
			keys, err := Check(t.Context(), dir, nil)
			require.NoError(t, err)
			require.Equal(t, n, keys)
			d, err = Open(dir, Options{ReadOnly: true})
			require.NoError(t, err)
			require.Equal(t, n, count(t, d))
			require.NoError(t, d.Close())
			d, err = Open(dir, Options{})
			require.NoError(t, err)
			require.Equal(t, n, count(t, d))
			require.NoError(t, d.Close())
		})
	}
}
