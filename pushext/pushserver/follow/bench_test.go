package follow

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/durable"
	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/outbox"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/vault"
	"whisperpush/testutil/memlog"
	"whisperpush/whisper"
)

// numbered listens to a topic for each of so many registrations.
type numbered int

func (n numbered) Match(t whisper.Topic, _ time.Time, fn func(registration.ID)) {
	if i := int(t[0])<<24 | int(t[1])<<16 | int(t[2])<<8 | int(t[3]); i < int(n) {
		fn(registration.ID(i + 1))
	}
}

// BenchmarkFollower matches envelopes, one in ten for somebody, and records the
// matches durably; nothing is pushed.
func BenchmarkFollower(b *testing.B) {
	const devices, batch = 10_000, 256
	log := slog.New(slog.DiscardHandler)
	s, err := vault.Open(b.TempDir(), bytes.Repeat([]byte{7}, vault.DiskKeySize), durable.Options{})
	require.NoError(b, err)
	box, _, err := outbox.New(s, outbox.Options{TTL: 24 * time.Hour, Logger: log})
	require.NoError(b, err)
	ctx, cancel := context.WithCancel(context.Background())
	var writer sync.WaitGroup
	writer.Go(func() { box.Run(ctx) })
	defer func() {
		cancel()
		writer.Wait()
		require.NoError(b, s.Close())
	}()
	f := New(Options{Matcher: numbered(devices), Outbox: box, Logger: log})
	seq := uint64(1)
	for b.Loop() {
		b.StopTimer()
		entries := make([]pushext.Entry, batch)
		for i := range entries {
			n := seq % (10 * devices)
			entries[i] = pushext.Entry{
				Seq: seq, Hash: memlog.Hash(seq), Received: time.Now(),
				Topic: whisper.Topic{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)},
			}
			seq++
		}
		b.StartTimer()
		if err := f.take(b.Context(), entries); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*batch/b.Elapsed().Seconds(), "envelopes/s")
}
