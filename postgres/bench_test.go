package postgres

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/whisper"
)

// BenchmarkArchive archives new envelopes of 420 bytes, 100 in a submission, from several
// callers; an operation is one envelope. The server of the tests does not fsync.
func BenchmarkArchive(b *testing.B) {
	for _, callers := range []int{1, 4, 16} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			if noServer != nil {
				b.Skip(noServer)
			}
			url, err := server.Database(background)
			require.NoError(b, err)
			d, err := Open(background, url, Options{})
			require.NoError(b, err)
			defer d.Close()
			a, err := d.Archive(background, ArchiveOptions{})
			require.NoError(b, err)
			defer a.Close()
			now := uint32(time.Now().Unix())
			envs := make([]*whisper.Envelope, b.N)
			for n := range envs {
				envs[n] = envelope(uint64(n), topicOf(uint64(n%5000)), now, 600, 400)
			}
			b.ResetTimer()
			var wg sync.WaitGroup
			for c := range callers {
				wg.Go(func() {
					for at := c * 100; at < len(envs); at += callers * 100 {
						if err := archived(a, envs[at:min(at+100, len(envs))]...); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "envelopes/s")
		})
	}
}
