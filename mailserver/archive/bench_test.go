package archive

import (
	"context"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/whisper"
)

// benchData is the data of an envelope whose message was padded to 256 bytes.
const benchData = 256 + 12 + 16

// benchEnvelopes makes n envelopes on 10,000 topics but every 10,000th, which are
// on the topic "rare".
func benchEnvelopes(n int) []*whisper.Envelope {
	now := uint32(time.Now().Unix())
	envs := make([]*whisper.Envelope, n)
	for i := range envs {
		topic := topicOf(uint64(rand.IntN(10_000)) * 0x9e3779b1)
		if i%10_000 == 5_000 {
			topic = whisper.TopicFor("rare")
		}
		envs[i] = testEnvelope(uint64(i), topic, now-uint32(rand.IntN(60)), 50, benchData)
	}
	return envs
}

// fillArchive stores envs by 8 writers, one envelope a call, and waits.
func fillArchive(b *testing.B, a *Archive, envs []*whisper.Envelope) {
	var wg, pending sync.WaitGroup
	pending.Add(len(envs))
	const writers = 8
	for w := range writers {
		wg.Go(func() {
			for i := w; i < len(envs); i += writers {
				a.Archive(context.Background(), envs[i:i+1], func(err error) {
					if err != nil {
						b.Error(err)
					}
					pending.Done()
				})
			}
		})
	}
	wg.Wait()
	pending.Wait()
}

func BenchmarkArchive(b *testing.B) {
	const n = 300_000
	envs := benchEnvelopes(n)
	for b.Loop() {
		b.StopTimer()
		a, err := Open(b.TempDir(), Options{})
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		fillArchive(b, a, envs)
		b.StopTimer()
		a.Close()
		b.StartTimer()
	}
	b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "envelopes/s")
}

// filled is an archive of a million envelopes, shared by the benchmarks that read.
var filled = sync.OnceValues(func() (func(b *testing.B) *Archive, []common.Hash) {
	envs := benchEnvelopes(1_000_000)
	hs := make([]common.Hash, len(envs))
	for i, e := range envs {
		hs[i] = e.Hash()
	}
	var dir string
	return func(b *testing.B) *Archive {
		if dir == "" {
			dir = b.TempDir()
			a, err := Open(dir, Options{})
			if err != nil {
				b.Fatal(err)
			}
			fillArchive(b, a, envs)
			a.Close()
		}
		start := time.Now()
		a, err := Open(dir, Options{})
		if err != nil {
			b.Fatal(err)
		}
		b.Logf("opened in %v", time.Since(start))
		return a
	}, hs
})

func BenchmarkRead(b *testing.B) {
	open, hs := filled()
	a := open(b)
	defer a.Close()
	rare := whisper.TopicFor("rare")
	query := func(q Query, rows int) func(b *testing.B) {
		return func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				page, err := a.Query(b.Context(), q)
				if err != nil || len(page.Records) != rows {
					b.Fatal(len(page.Records), err)
				}
			}
		}
	}
	bloom := rare.Bloom()
	b.Run("topic=100of1M", query(Query{Upper: math.MaxUint32, Topics: []whisper.Topic{rare}}, 100))
	b.Run("topic=100of1M/descending", query(Query{Upper: math.MaxUint32, Topics: []whisper.Topic{rare}, Descending: true}, 100))
	b.Run("bloom=100of1M", query(Query{Upper: math.MaxUint32, Bloom: &bloom, MaxScan: 10 << 20}, 100))
	b.Run("all=1000", query(Query{Upper: math.MaxUint32}, 1000))
	b.Run("hash=1", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			i := rand.IntN(len(hs))
			found, _, err := a.ByHash(b.Context(), hs[i:i+1])
			if err != nil || len(found) != 1 {
				b.Fatal(err)
			}
		}
	})
	b.Run("hash=missing", func(b *testing.B) {
		for b.Loop() {
			var h common.Hash
			for i := range h {
				h[i] = byte(rand.IntN(256))
			}
			if _, missing, err := a.ByHash(b.Context(), []common.Hash{h}); err != nil || len(missing) != 1 {
				b.Fatal(err)
			}
		}
	})
}
