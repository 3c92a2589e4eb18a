// Package statuspage shows people what a node does: a page that polls a JSON document and draws it.
//
// All it knows comes from the node's metrics and from a Report of a few figures, so it cannot show a token, topic, host
// or peer. A Page samples the counters every Interval and keeps Samples of them, an hour's worth, in a ring. The page
// loads nothing from elsewhere, and its policy allows only its own script.
package statuspage

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"embed"
	"encoding/json"
	"html/template"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// Interval is the time between samples.
	Interval = 5 * time.Second
	// Samples is how many samples are kept.
	Samples = 720
	// MinToken is the least length of a token, in bytes.
	MinToken = 16
)

// policy is the page's Content-Security-Policy.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

//go:embed page.html page.css page.js
var files embed.FS

// Report is what the metrics do not say.
type Report struct {
	Version   string        `json:"version"`
	Started   time.Time     `json:"started"`
	Push      bool          `json:"push"`      // the push server is on
	Retention time.Duration `json:"-"`         // 0: forever
	Kept      string        `json:"kept"`      // the same, for people
	MaxBytes  int64         `json:"max_bytes"` // 0: no limit
	DiskFree  uint64        `json:"disk_free"` // bytes
	Failing   []string      `json:"failing"`   // names of checks that fail
	Providers []Provider    `json:"providers"`
}

// Provider is the state of a configured provider.
type Provider struct {
	Name    string `json:"name"`
	Failing bool   `json:"failing"`
	Paused  bool   `json:"paused"`
	Queued  int    `json:"queued"` // devices that wait for it
}

// Options of a Page.
type Options struct {
	Metrics prometheus.Gatherer
	// Report is called for each document, and may be called concurrently.
	Report func(context.Context) Report
	// Token is the password of the page; empty: it asks for none, and is then served only under an IP address or
	// localhost, so that no other site's page can read it.
	Token string
}

// Page is a status page.
type Page struct {
	o     Options
	token atomic.Pointer[string]
	page  *template.Template

	mu   sync.Mutex // guards ring
	ring []sample   // oldest first
}

// New makes a page without samples.
func New(o Options) (*Page, error) {
	page, err := template.ParseFS(files, "page.html")
	if err != nil {
		return nil, err
	}
	p := &Page{o: o, page: page}
	p.SetToken(o.Token)
	return p, nil
}

// SetToken changes the password, as in Options.
func (p *Page) SetToken(token string) { p.token.Store(&token) }

// Run takes samples until ctx ends.
func (p *Page) Run(ctx context.Context) {
	ticker := time.NewTicker(Interval)
	defer ticker.Stop()
	for {
		p.take(time.Now())
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (p *Page) take(now time.Time) {
	figures, err := gather(p.o.Metrics)
	if err != nil {
		return // the next one may succeed
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.ring) == Samples {
		p.ring = append(p.ring[:0], p.ring[1:]...)
	}
	p.ring = append(p.ring, sample{now, figures.flow})
}

// Handler serves the page.
func (p *Page) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		p.page.Execute(w, struct{ Interval int64 }{Interval.Milliseconds()})
	})
	mux.Handle("GET /page.css", http.FileServerFS(files))
	mux.Handle("GET /page.js", http.FileServerFS(files))
	mux.HandleFunc("GET /status.json", p.document)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		switch {
		case *p.token.Load() != "" && !p.knows(r):
			h.Set("WWW-Authenticate", `Basic realm="status", charset="UTF-8"`)
			http.Error(w, "the status page needs its password", http.StatusUnauthorized)
		case *p.token.Load() == "" && !ownName(r.Host):
			http.Error(w, "call the status page by an IP address or as localhost", http.StatusForbidden)
		default:
			mux.ServeHTTP(w, r)
		}
	})
}

// knows reports whether a request has the token, in a time that does not reveal how much of it is right.
func (p *Page) knows(r *http.Request) bool {
	_, given, ok := r.BasicAuth()
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(*p.token.Load()))
	return ok && subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// ownName reports whether host, with or without a port, is not a name that another site could point here.
func ownName(host string) bool {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		host = host[:i]
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil
}

// document is what the page draws.
type document struct {
	Now      time.Time `json:"now"`
	Interval float64   `json:"interval"` // seconds between points
	Figures  figures   `json:"figures"`
	Points   []point   `json:"points"` // oldest first
	Report   Report    `json:"report"`
}

func (p *Page) document(w http.ResponseWriter, r *http.Request) {
	now, err := gather(p.o.Metrics)
	if err != nil {
		http.Error(w, "the metrics cannot be read", http.StatusInternalServerError)
		return
	}
	report := p.o.Report(r.Context())
	report.Failing = append([]string{}, report.Failing...) // a list in JSON even if it is empty
	report.Providers = append([]Provider{}, report.Providers...)
	report.Kept = "for ever"
	if report.Retention > 0 {
		report.Kept = "for " + days(report.Retention)
	}
	p.mu.Lock()
	points := pointsOf(p.ring)
	p.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(document{time.Now(), Interval.Seconds(), now, points, report})
}
