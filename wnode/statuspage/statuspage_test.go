package statuspage

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/stretchr/testify/require"
)

// world is a page over metrics of its own.
type world struct {
	registry *prometheus.Registry
	in       prometheus.Counter
	attempts *prometheus.CounterVec
	rings    *prometheus.HistogramVec
	report   Report
}

func newWorld() *world {
	w := &world{registry: prometheus.NewRegistry()}
	f := promauto.With(w.registry)
	w.in = f.NewCounter(prometheus.CounterOpts{Name: "whisperpush_mailserver_archived_envelopes_total"})
	w.attempts = f.NewCounterVec(prometheus.CounterOpts{Name: "whisperpush_pushext_attempts_total"}, []string{"provider", "class", "reason"})
	w.rings = f.NewHistogramVec(prometheus.HistogramOpts{Name: "whisperpush_pushext_archived_to_accepted_seconds", Buckets: []float64{1, 15, 60}}, []string{"provider"})
	return w
}

func (w *world) page(t *testing.T, token string) *Page {
	p, err := New(Options{Metrics: w.registry, Report: func(context.Context) Report { return w.report }, Token: token})
	require.NoError(t, err)
	return p
}

func ask(t *testing.T, p *Page, path string, change func(*http.Request)) *http.Response {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1:6061"+path, nil)
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	p.Handler().ServeHTTP(w, r)
	return w.Result()
}

func text(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	return string(b)
}

// The page may run and load nothing but its own files, and has nothing that its policy would stop.
func TestPageIsStrict(t *testing.T) {
	p := newWorld().page(t, "")
	for path, kind := range map[string]string{"/": "text/html", "/page.css": "text/css", "/page.js": "text/javascript", "/status.json": "application/json"} {
		r := ask(t, p, path, nil)
		require.Equal(t, 200, r.StatusCode, path)
		require.True(t, strings.HasPrefix(r.Header.Get("Content-Type"), kind), path)
		csp := r.Header.Get("Content-Security-Policy")
		require.Contains(t, csp, "default-src 'none'")
		require.NotContains(t, csp, "unsafe")
		body := strings.ReplaceAll(text(t, r), "http://www.w3.org/2000/svg", "")
		for _, foreign := range []string{"http:", "https:", "//cdn", "onclick", "onload", "style=", "<style", "innerHTML", "eval("} {
			require.NotContains(t, body, foreign, path)
		}
		if path == "/" {
			require.NotContains(t, strings.ReplaceAll(body, `<script src="page.js" defer></script>`, ""), "<script")
			require.Contains(t, body, `data-interval="5000"`)
			require.Contains(t, body, "width=device-width")
		}
	}
	require.Equal(t, 404, ask(t, p, "/page.html", nil).StatusCode)
	require.Equal(t, 405, ask(t, p, "/status.json", func(r *http.Request) { r.Method = http.MethodPost }).StatusCode)
}

// Without a password other sites cannot read the page under a name of theirs; with one, only its holders can read it.
func TestWhoMaySee(t *testing.T) {
	const token = "0123456789abcdef"
	for host, want := range map[string]int{
		"127.0.0.1:6061": 200, "localhost:6061": 200, "localhost": 200, "[::1]:6061": 200, "[::1]": 200, "evil.example:6061": 403, "evil.example": 403, "": 403, "localhost.evil.example": 403,
	} {
		require.Equal(t, want, ask(t, newWorld().page(t, ""), "/status.json", func(r *http.Request) { r.Host = host }).StatusCode, "%q", host)
	}
	p := newWorld().page(t, token)
	for given, want := range map[string]int{token: 200, token + "x": 401, token[1:]: 401, "": 401} {
		for _, path := range []string{"/", "/page.js", "/status.json"} {
			r := ask(t, p, path, func(r *http.Request) { r.Host = "node.example"; r.SetBasicAuth("any", given) })
			require.Equal(t, want, r.StatusCode, "%q", given)
			require.NotContains(t, text(t, r), token)
		}
	}
	require.Equal(t, 401, ask(t, p, "/", nil).StatusCode)
	require.NotEmpty(t, ask(t, p, "/", nil).Header.Get("WWW-Authenticate"))
}

// The document tells the flow a minute, and how many were rung in time.
func TestDocument(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.report = Report{Version: "v1", Retention: 72 * time.Hour, Providers: []Provider{{Name: "fcm", Paused: true}}}
		p := w.page(t, "")
		ctx, cancel := context.WithCancel(t.Context())
		go p.Run(ctx)
		synctest.Wait()
		w.in.Add(10)
		w.attempts.WithLabelValues("fcm", "delivered", "200").Add(3)
		w.attempts.WithLabelValues("fcm", "retry", "503").Add(100)
		for _, seconds := range []float64{0.5, 2, 14, 70} {
			w.rings.WithLabelValues("fcm").Observe(seconds)
		}
		time.Sleep(Interval)
		synctest.Wait()
		var d document
		require.NoError(t, json.NewDecoder(ask(t, p, "/status.json", nil).Body).Decode(&d))
		require.Len(t, d.Points, 1)
		require.Equal(t, flow{In: 120, Pushed: 36}, d.Points[0].flow)
		require.Equal(t, flow{In: 10, Pushed: 3}, d.Figures.flow)
		require.Equal(t, []bucket{{1, 1}, {15, 2}, {60, 0}, {0, 1}}, d.Figures.Rings)
		require.Equal(t, 0.75, d.Figures.InTime)
		require.Equal(t, "for 3 days", d.Report.Kept)
		require.Equal(t, w.report.Providers, d.Report.Providers)

		time.Sleep(2 * Samples * Interval)
		synctest.Wait()
		cancel()
		synctest.Wait()
		require.Len(t, p.ring, Samples, "the ring is bounded")
		require.Len(t, pointsOf(p.ring), Samples-1)
	})
}

// No label of a metric that is not meant for the page gets onto it.
func TestNoLabelLeaks(t *testing.T) {
	const canary = "canary-token-topic-host-peer"
	w := newWorld()
	w.attempts.WithLabelValues(canary, "delivered", canary).Inc()
	w.rings.WithLabelValues(canary).Observe(1)
	promauto.With(w.registry).NewCounterVec(prometheus.CounterOpts{Name: "whisperpush_other_total"}, []string{"x"}).WithLabelValues(canary).Inc()
	body := text(t, ask(t, w.page(t, "secret-"+canary), "/status.json", func(r *http.Request) { r.SetBasicAuth("", "secret-"+canary) }))
	require.Contains(t, body, `"pushed":1`)
	require.NotContains(t, body, canary)
}

func TestCounterThatGoesBack(t *testing.T) {
	at := time.Unix(0, 0)
	require.Equal(t, []point{{5, flow{}}}, pointsOf([]sample{{at, flow{In: 7}}, {at.Add(Interval), flow{}}}))
	require.Empty(t, pointsOf([]sample{{at, flow{}}, {at, flow{In: 7}}}), "no time between")
}
