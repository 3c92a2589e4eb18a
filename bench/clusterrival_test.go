package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Without a checkout the rows are left out, and the table says how to get them.
func TestRivalIsLeftOut(t *testing.T) {
	s := &suite{report: newReport(1, "", "make bench-cluster"), progress: io.Discard}
	require.NoError(t, s.clusterRival(t.Context()))
	require.Empty(t, s.report.results)
	var out bytes.Buffer
	require.NoError(t, s.report.print(&out))
	require.Contains(t, out.String(), "Left out: cluster_vs_rival_tenth, cluster_vs_rival_all.")
	require.Contains(t, out.String(), "go run ./bench -cluster -rival DIRECTORY")
}

func TestRivalNeedsCluster(t *testing.T) {
	require.ErrorContains(t, run(t.Context(), []string{"-rival", t.TempDir()}, io.Discard, io.Discard), "-rival needs -cluster")
}

// A run without the rival does not touch the rows of one with it, nor the other way round.
func TestRivalHasItsPlaceInTheDocument(t *testing.T) {
	dir := t.TempDir()
	page := filepath.Join(dir, "cluster.md")
	require.NoError(t, os.WriteFile(page, []byte("a\n"+resultsBegin+"first\n"+resultsEnd+"b\n"+rivalBegin+"second\n"+rivalEnd+"c\n"), 0o600))
	document := func(name string) string {
		r := newReport(1, "", "make bench-cluster")
		r.cluster = true
		r.add(name, 5)
		require.NoError(t, r.document(dir))
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		return string(text)
	}
	text := document(rivalAll)
	require.Regexp(t, `(?s)^a\n.*first\n.*b\n.*`+rivalAll+`.*c\n$`, text)
	require.NotContains(t, text, "second")
	text = document("cluster_ring_late")
	require.Regexp(t, `(?s)^a\n.*cluster_ring_late.*b\n.*`+rivalAll+`.*c\n$`, text)
	require.NotContains(t, text, "first")
}

// One of ten envelopes is for a device, the last among them; no two are for the same.
func TestAddressees(t *testing.T) {
	c := &contest{b: &bed{tokens: []string{"0", "1", "2", "3", "4"}}, devices: 5, channels: 3}
	channels, devices := c.addressees(20, 10, 2)
	require.Equal(t, []string{"2", "3"}, devices)
	require.Equal(t, 6, channels[9])
	require.Equal(t, 9, channels[19])
	for i, channel := range channels {
		require.Equal(t, i%10 == 9, channel < 15, "envelope %d", i)
	}
	channels, devices = c.addressees(3, 1, 1)
	require.Equal(t, []int{3, 6, 9}, channels)
	require.Equal(t, []string{"1", "2", "3"}, devices)
}
