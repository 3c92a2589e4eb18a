package statuspage

import (
	"context"
	"flag"
	"math"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/stretchr/testify/require"
)

var screenshot = flag.String("screenshot", "", "write a picture of the page to this `FILE`")

// browse runs a headless browser on url until the page is drawn, and returns what it printed.
func browse(t *testing.T, url string, flags ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	args := append([]string{"--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=3000", "--enable-logging=stderr", "--user-data-dir=" + t.TempDir()}, flags...)
	out, err := exec.CommandContext(ctx, "chromium", append(args, url)...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return string(out)
}

// A browser that keeps the page's policy runs its script, which draws.
func TestBrowserDraws(t *testing.T) {
	if _, err := exec.LookPath("chromium"); err != nil {
		t.Skip("there is no browser to try the page with; apt-get install chromium: ", err)
	}
	p := busy(t)
	server := httptest.NewServer(p.Handler())
	defer server.Close()
	out := browse(t, server.URL, "--dump-dom")
	require.False(t, strings.Contains(out, "Content Security Policy"), "the policy stops nothing of the page's own")
	require.False(t, strings.Contains(out, "Uncaught"), "the script fails")
	for _, drawn := range []string{`class="badge good" role="status">ok<`, `<polyline class="curve"`, `class="bar"`, "promised: 15 s", "% within 15 s", ">apns</th>", "paused, 12 wait", "for 30 days", "41 GiB"} {
		require.True(t, strings.Contains(out, drawn), "the page does not show %s", drawn)
	}
	if *screenshot != "" {
		path, err := filepath.Abs(*screenshot)
		require.NoError(t, err)
		browse(t, server.URL, "--window-size=1000,900", "--screenshot="+path)
	}
}

// busy is the page of a node with an hour of traffic.
func busy(t *testing.T) *Page {
	w := newWorld()
	f := promauto.With(w.registry)
	w.in.Add(48210)
	f.NewCounter(prometheus.CounterOpts{Name: "whisperpush_pushext_matches_total"}).Add(9127)
	f.NewCounterVec(prometheus.CounterOpts{Name: "whisperpush_pushext_outcomes_total"}, []string{"outcome", "reason"}).WithLabelValues("fetched", "").Add(8904)
	w.attempts.WithLabelValues("fcm", "delivered", "").Add(8611)
	f.NewGauge(prometheus.GaugeOpts{Name: "whisperpush_whisper_peers"}).Set(37)
	f.NewGauge(prometheus.GaugeOpts{Name: "whisperpush_mailserver_archive_disk_bytes"}).Set(3.4e9)
	registrations := f.NewGaugeVec(prometheus.GaugeOpts{Name: "whisperpush_pushext_registrations"}, []string{"state"})
	registrations.WithLabelValues("registered").Set(1284)
	registrations.WithLabelValues("unconfirmed").Set(9)
	f.NewGauge(prometheus.GaugeOpts{Name: "whisperpush_pushext_channels"}).Set(7731)
	w.registry.Unregister(w.rings)
	rings := f.NewHistogramVec(prometheus.HistogramOpts{
		Name: "whisperpush_pushext_archived_to_accepted_seconds", Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 15, 30, 60, 300, 3600, 86400},
	}, []string{"provider"})
	for i, n := range []int{0, 4, 31, 240, 610, 1420, 2380, 1930, 810, 402, 260, 170, 88, 21, 4, 1} {
		for range n {
			rings.WithLabelValues("fcm").Observe(math.Pow(10, -3+float64(i)*.3) * .99)
		}
	}
	w.report = Report{
		Version: "0.1.0", Started: time.Now().Add(-9 * 24 * time.Hour), Push: true, Retention: 30 * 24 * time.Hour, MaxBytes: 20 << 30, DiskFree: 41 << 30,
		Providers: []Provider{{Name: "apns", Paused: true, Queued: 12}, {Name: "direct"}, {Name: "fcm"}, {Name: "webpush"}},
	}
	p := w.page(t, "")
	total := flow{}
	for i := range Samples {
		x := float64(i) / Samples
		step := 5 + 3*math.Sin(9*x) + 2*math.Sin(31*x) + math.Sin(83*x)
		total.In, total.Matched, total.Pushed, total.Fetched = total.In+step, total.Matched+step*.2, total.Pushed+step*.19, total.Fetched+step*.185+.2*math.Cos(20*x)
		p.ring = append(p.ring, sample{time.Now().Add(time.Duration(i-Samples) * Interval), total})
	}
	return p
}
