package dispatch

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/durable"
	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/outbox"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/vault"
	"whisperpush/pushext/pushwire"
	"whisperpush/testutil/memlog"
)

// sink is a provider that accepts at once and tells when.
type sink struct {
	took func()
}

func (sink) Name() string                { return "sink" }
func (sink) Check(pushext.Address) error { return nil }
func (s sink) Push(context.Context, pushext.Notification) pushext.Verdict {
	s.took()
	return pushext.Verdict{Class: pushext.Delivered, Reason: "sink"}
}

// hostedSink is a sink with a hundred hosts.
type hostedSink struct{ sink }

func (hostedSink) Lane(a pushext.Address) string {
	return "host" + a.Token[:min(len(a.Token), 2)] + ".example:443"
}

// bench is outbox and dispatcher on a real disk, with n devices.
type bench struct {
	box   *outbox.Outbox
	d     *Dispatcher
	close func()
}

func newBench(b *testing.B, n int, sealed bool, to pushext.Provider) *bench {
	cfg, err := Delivery{SilentAfter: -1, Budget: pushext.Budget{Burst: 1 << 30}}.WithDefaults()
	require.NoError(b, err)
	log := slog.New(slog.DiscardHandler)
	s, err := vault.Open(b.TempDir(), testKey, durable.Options{})
	require.NoError(b, err)
	dir := newMemDirectory()
	_, public, err := pushwire.NewSealKey()
	require.NoError(b, err)
	for i := range n {
		id := registration.ID(i + 1)
		dir.regs[id] = registration.Registration{
			ID: id, State: registration.Active, Plain: !sealed, SealKey: public, Collapse: "c",
			Routes: []registration.Route{{Provider: "sink", Address: pushext.Address{Token: fmt.Sprint(i)}, Proven: true}},
		}
	}
	box, _, err := outbox.New(s, outbox.Options{TTL: cfg.TTL, SilentAfter: cfg.SilentAfter, Logger: log})
	require.NoError(b, err)
	d, err := New(Options{Delivery: cfg, Providers: []pushext.Provider{to}, Directory: dir, Outbox: box, Logger: log})
	require.NoError(b, err)
	ctx, cancel := context.WithCancel(context.Background())
	var writer sync.WaitGroup
	writer.Go(func() { box.Run(ctx) })
	return &bench{box, d, func() {
		d.Stop(context.Background())
		cancel()
		writer.Wait()
		require.NoError(b, s.Close())
	}}
}

// matches are those of n envelopes from a sequence on, each for another of the devices.
func matches(from uint64, n, devices int) []outbox.Match {
	list := make([]outbox.Match, n)
	now := time.Now()
	for i := range list {
		seq := from + uint64(i)
		list[i] = outbox.Match{ID: registration.ID(seq%uint64(devices) + 1), Hash: memlog.Hash(seq), At: now}
	}
	return list
}

// BenchmarkDispatch sends everything that is matched to a provider that accepts
// at once.
func BenchmarkDispatch(b *testing.B) {
	for name, row := range map[string]struct{ sealed, hosted bool }{
		"sealed=false": {}, "sealed=true": {sealed: true}, "hosts=100": {sealed: true, hosted: true},
	} {
		b.Run(name, func(b *testing.B) {
			const devices, batch = 10_000, 256
			var pushed atomic.Int64
			done := make(chan struct{}, 1)
			goal := int64(0)
			to := sink{func() {
				if pushed.Add(1)%batch == 0 {
					done <- struct{}{}
				}
			}}
			s := newBench(b, devices, row.sealed, map[bool]pushext.Provider{false: to, true: hostedSink{to}}[row.hosted])
			defer s.close()
			require.NoError(b, s.box.Begin(b.Context(), s.d))
			s.d.Start()
			seq := uint64(1)
			for b.Loop() {
				// Each device once in a round, and all it was told is fetched after.
				list := matches(seq, batch, devices)
				seq += batch
				goal += batch
				if err := s.box.Match(b.Context(), list, seq-1, time.Now()); err != nil {
					b.Fatal(err)
				}
				<-done
			}
			b.ReportMetric(float64(b.N)*batch/b.Elapsed().Seconds(), "pushes/s")
		})
	}
}

// BenchmarkPipeline rings 2,000 matched envelopes a second, in groups as an
// archive commits them, and reports how long after the group each provider call
// begins.
func BenchmarkPipeline(b *testing.B) {
	const devices, rate, group = 10_000, 2000, 10
	var mu sync.Mutex
	var begin time.Time
	var took []time.Duration
	s := newBench(b, devices, true, sink{func() {
		now := time.Now()
		mu.Lock()
		defer mu.Unlock()
		took = append(took, now.Sub(begin))
	}})
	defer s.close()
	require.NoError(b, s.box.Begin(b.Context(), s.d))
	s.d.Start()
	seq := uint64(1)
	tick := time.NewTicker(time.Second * group / rate)
	defer tick.Stop()
	for b.Loop() {
		<-tick.C
		list := matches(seq, group, devices)
		seq += group
		mu.Lock()
		begin = time.Now()
		mu.Unlock()
		if err := s.box.Match(b.Context(), list, seq-1, time.Now()); err != nil {
			b.Fatal(err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	slices.Sort(took)
	if len(took) > 0 {
		b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
		b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
		b.ReportMetric(float64(len(took))/b.Elapsed().Seconds(), "pushes/s")
	}
}
