//go:build linux

package torture

import (
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"whisperpush/mailserver/archive"
	"whisperpush/whisper"
)

// TestRetentionLatency archives at a steady rate, with and without retention
// beginning, sealing and dropping partitions all the time, in turns, and prints how
// long it takes until an envelope is archived. The times are for people; what is
// demanded is that retention ran, gave the disk back, and refused nothing.
func TestRetentionLatency(t *testing.T) {
	const (
		rate    = 2000 // envelopes a second
		writers = 8
		size    = 300
		limit   = 8 << 20 // bytes; a partition is an eighth
	)
	lasting := time.Duration(scaled(5_000, 500)) * time.Millisecond // of a turn
	const turns = 3
	number := uint64(0)
	archives := map[string]archive.Options{"without": {Retention: -1}, "with": {Retention: time.Hour, MaxBytes: limit}}
	open := make(map[string]*archive.Archive)
	took := make(map[string][]time.Duration)
	dir := t.TempDir()
	for name, o := range archives {
		a, err := archive.Open(filepath.Join(dir, name), o)
		require.NoError(t, err)
		defer a.Close()
		open[name] = a
	}
	run := func(a *archive.Archive, lasting time.Duration) []time.Duration {
		count := int(lasting.Seconds() * rate / writers)
		first := number
		number += uint64(count * writers)
		var mu sync.Mutex
		var wg sync.WaitGroup
		var all []time.Duration
		began := time.Now()
		for w := range writers {
			wg.Go(func() {
				for i := range count {
					// By the clock, however long the one before took.
					due := began.Add(time.Duration(i*writers+w) * time.Second / rate)
					time.Sleep(time.Until(due))
					wg.Add(1)
					e := expired(first+uint64(i*writers+w), size)
					a.Archive(t.Context(), []*whisper.Envelope{e}, func(err error) {
						defer wg.Done()
						mu.Lock()
						defer mu.Unlock()
						assert.NoError(t, err)
						all = append(all, time.Since(due))
					})
				}
			})
		}
		wg.Wait()
		return all
	}
	// Both start with a full archive, so that each partition begun drops one.
	for _, name := range []string{"without", "with"} {
		for written := 0; written < 2*limit; written += 500 * size {
			batch := make([]*whisper.Envelope, 500)
			for i := range batch {
				batch[i] = expired(number, size)
				number++
			}
			require.Eventually(t, func() bool { return put(open[name], batch...) == nil }, patience, 10*time.Millisecond)
		}
	}
	before := open["with"].First()
	for range turns {
		for _, name := range []string{"without", "with"} {
			took[name] = append(took[name], run(open[name], lasting)...)
		}
	}
	dropped := open["with"].First() - before
	var lines string
	for _, name := range []string{"without", "with"} {
		all := took[name]
		slices.Sort(all)
		lines += fmt.Sprintf("; %s: p50 %v, p99 %v", name, all[len(all)/2].Round(10*time.Microsecond), all[len(all)*99/100].Round(10*time.Microsecond))
	}
	if *scaleFlag >= 100 {
		require.Positive(t, dropped, "retention did not run")
	}
	require.Equal(t, uint64(1), open["without"].First())
	result(t, "%d envelopes a second, %d of them dropped by retention meanwhile%s", rate, dropped, lines)
}
