package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestQuantile(t *testing.T) {
	values := []float64{4, 1, 3, 2, 5}
	require.Equal(t, 3.0, median(values))
	require.Equal(t, 5.0, quantile(values, 1))
	require.Equal(t, 1.0, quantile(values, 0))
	require.InDelta(t, 4.96, quantile(values, 0.99), 1e-9)
	require.Equal(t, 2.0, ratio([]float64{2, 6, 30}, []float64{1, 3, 3}))
}

// Every name has a target and is measured by exactly one benchmark.
func TestNames(t *testing.T) {
	measured := make(map[string]int)
	for _, b := range slices.Concat(benchmarks, clusterBenchmarks) {
		for _, name := range b.names {
			measured[name]++
			require.Contains(t, targets, name)
		}
	}
	require.Len(t, measured, len(targets))
	for name, times := range measured {
		require.Equal(t, 1, times, name)
	}
}

func TestChoose(t *testing.T) {
	chosen, err := choose(benchmarks, "ring_p50, bloom_query_ratio")
	require.NoError(t, err)
	require.Len(t, chosen, 2)
	require.Equal(t, "topic_query_ratio", chosen[0].names[0])
	_, err = choose(benchmarks, "rings")
	require.ErrorContains(t, err, `"rings" names no benchmark; there are wire_ingest_ratio`)
}

func TestReport(t *testing.T) {
	r := newReport(7, "Nothing else ran.", "make bench")
	r.add("archive_ratio", 1.25, detail{"archive_ours", 123456.4, "envelopes/s"})
	r.add("channel_bytes", 120)
	var out bytes.Buffer
	require.NoError(t, r.print(&out))
	require.Contains(t, out.String(), "bench archive_ratio 1.25 ratio\nbench channel_bytes 120 bytes\nbench archive_ours 123456 envelopes/s\n")
	require.Regexp(t, `archive_ratio +1.25 +≥ 1.2 +met`, out.String())
	require.Regexp(t, `channel_bytes +120 +≤ 100 +MISSED`, out.String())

	dir := t.TempDir()
	page := filepath.Join(dir, "performance.md")
	require.NoError(t, os.WriteFile(page, []byte("before\n"+resultsBegin+"old\n"+resultsEnd+"after\n"), 0o644))
	require.NoError(t, r.document(dir))
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	require.Regexp(t, `(?s)^before\n.*seed 7.*Nothing else ran.*archive_ratio.*after\n$`, string(text))
	require.NotContains(t, string(text), "old")
	require.FileExists(t, filepath.Join(dir, "performance.svg"))

	require.NoError(t, os.WriteFile(page, []byte("no place"), 0o644))
	require.ErrorContains(t, r.document(dir), "has no place for the results")
}
