package topics

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"whisperpush/pushext/pushserver/registration"
	"whisperpush/whisper"
)

// million channels, ten to a registration.
const (
	benchRegistrations = 100_000
	benchChannels      = 10
)

func benchTopic(n uint32) whisper.Topic {
	// Multiplication by an odd number permutes: all topics differ.
	return whisper.Topic(binary.LittleEndian.AppendUint32(nil, n*2654435761))
}

func fillIndex(registrations int) *Index {
	x := New()
	end := time.Unix(4_000_000_000, 0)
	channels := make([]registration.Channel, benchChannels)
	for r := range registrations {
		for c := range channels {
			channels[c] = registration.Channel{Topic: benchTopic(uint32(r*benchChannels + c))}
		}
		x.Set(registration.ID(r+1), end, channels)
	}
	return x
}

// BenchmarkMatch compares, in one run, the index with a bare map that holds the
// same topics, asked the same topics, one of ten of which somebody listens to.
func BenchmarkMatch(b *testing.B) {
	const all = benchRegistrations * benchChannels
	asked := make([]whisper.Topic, 1<<20)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range asked {
		n := uint32(all + rng.IntN(1<<31))
		if rng.IntN(10) == 0 {
			n = uint32(rng.IntN(all))
		}
		asked[i] = benchTopic(n)
	}
	now := time.Unix(1_800_000_000, 0)
	b.Run(fmt.Sprintf("index/channels=%d", all), func(b *testing.B) {
		x := fillIndex(benchRegistrations)
		runtime.GC()
		hits := 0
		fn := func(registration.ID) { hits++ }
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			x.Match(asked[i&(len(asked)-1)], now, fn)
			i++
		}
		b.ReportMetric(float64(hits)/float64(b.N), "hits/op")
	})
	b.Run(fmt.Sprintf("map/channels=%d", all), func(b *testing.B) {
		m := make(map[whisper.Topic]uint32)
		for n := range uint32(all) {
			m[benchTopic(n)] = n
		}
		runtime.GC()
		hits := 0
		i := 0
		for b.Loop() {
			if _, ok := m[asked[i&(len(asked)-1)]]; ok {
				hits++
			}
			i++
		}
		b.ReportMetric(float64(hits)/float64(b.N), "hits/op")
	})
}

// BenchmarkChannelHeap tells the heap bytes of a channel, its part of the
// registration included.
func BenchmarkChannelHeap(b *testing.B) {
	var before, after runtime.MemStats
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		x := fillIndex(benchRegistrations)
		runtime.GC()
		runtime.ReadMemStats(&after)
		runtime.KeepAlive(x)
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(benchRegistrations*benchChannels), "bytes/channel")
}
