package archive

import (
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

	"whisperpush/testutil/datadir"
)

// An archive that an earlier version wrote is read as it is, after a clean stop
// of that and after a crash, and goes on. How it was written is in the file.
func TestArchiveOfAnEarlierVersion(t *testing.T) {
	for _, name := range []string{"archive", "archive-crashed"} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(datadir.Unpack(t, "testdata/archive-2026-11.tar.gz"), name)
			synctest.Test(t, func(t *testing.T) {
				var want []common.Hash
				for day := range uint64(4) { // the clock begins where it began then
					for n := range uint64(5) {
						want = append(want, numbered(100*day+n).Hash(), numbered(100*day+n+50).Hash())
						time.Sleep(time.Second)
					}
					time.Sleep(24 * time.Hour)
				}
				a, err := Open(dir, Options{Retention: 32 * 24 * time.Hour})
				require.NoError(t, err)
				defer func() {
					require.NoError(t, a.Close())
					time.Sleep(2 * time.Second) // goleveldb's pool lingers for one
				}()
				require.Empty(t, a.Damage())
				var got []common.Hash
				for i, record := range readAll(t, a) {
					require.Equal(t, uint64(i+1), record.Seq)
					got = append(got, record.Envelope.Hash())
				}
				require.Equal(t, want, got)
				found, missing, err := a.ByHash(t.Context(), want)
				require.NoError(t, err)
				require.Len(t, found, len(want))
				require.Empty(t, missing)

				late := numbered(999)
				require.NoError(t, store(a, late))
				all := readAll(t, a)
				require.Len(t, all, len(want)+1)
				require.Equal(t, late.Hash(), all[len(want)].Envelope.Hash())
			})
		})
	}
}
