//go:build linux

package torture

import (
	"math"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"whisperpush/mailserver/archive"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"
)

// TestClockJumps restarts an archive under clocks that are wrong by hours and by
// years: sequences go on, everything is found, and retention drops nothing that
// the right clock would keep. Under a clock that is years off nothing is archived,
// for then a node finds every envelope from the future or expired; it runs for
// half an hour, for an archive that seems to be past its retention as a whole is
// kept for one.
func TestClockJumps(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "archive")
	var want []common.Hash
	life := func(t *testing.T, writes int) {
		a, err := archive.Open(dir, archive.Options{Retention: 30 * 24 * time.Hour})
		require.NoError(t, err)
		defer func() { require.NoError(t, a.Close()) }()
		require.Empty(t, a.Damage())
		require.Equal(t, uint64(len(want)), a.Last())
		for range writes {
			e := envelope(uint64(len(want)), 200)
			want = append(want, e.Hash())
			require.NoError(t, put(a, e))
		}
		if writes == 0 {
			time.Sleep(30 * time.Minute) // of the bubble
		}
		got, err := readable(t, a, want, "")
		require.NoError(t, err)
		require.Equal(t, len(want), got)
		page, err := a.Query(t.Context(), archive.Query{Upper: math.MaxUint32, Descending: true, MaxRows: 1})
		require.NoError(t, err)
		require.Equal(t, uint64(len(want)), page.Records[0].Seq)
	}
	const year = 365 * 24 * time.Hour
	jumps := []time.Duration{time.Hour, -time.Hour, 10 * year, -10 * year, 25 * time.Hour, -25 * time.Hour, 50 * year, -20 * year}
	for _, jump := range jumps {
		life(t, 50)
		right := time.Now()
		synctest.Test(t, func(t *testing.T) { // its clock begins in the year 2000
			time.Sleep(time.Until(right.Add(jump)))
			if jump.Abs() < year {
				life(t, 50)
			} else {
				life(t, 0)
			}
			time.Sleep(2 * time.Second) // goleveldb's last goroutine
		})
	}
	life(t, 50)
	result(t, "%d jumps there and back, of up to 50 years, %d envelopes acknowledged, 0 lost", len(jumps), len(want))
}
