// Package measure makes the metrics of a push server's parts. It gives them one prefix
// and one set of histogram buckets, and bounds the values of a label.
package measure

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// PromisedLatency is how soon after its envelope was archived a wake-up is to
// be accepted by the device's provider. Later ones are counted with the cause.
const PromisedLatency = 15 * time.Second

// latencyBuckets are the bounds of histogram buckets in seconds, from a fast disk to a
// day for which a device was away.
var latencyBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 15, 30, 60, 300, 3600, 86400}

// Meter makes metrics whose names have the prefix of the push server.
type Meter struct{ factory promauto.Factory }

// New returns a Meter that registers what it makes; r may be nil.
func New(r prometheus.Registerer) Meter { return Meter{promauto.With(r)} }

const metricPrefix = "whisperpush_pushext_"

// Counter makes a counter.
func (m Meter) Counter(name, help string) prometheus.Counter {
	return m.factory.NewCounter(prometheus.CounterOpts{Name: metricPrefix + name, Help: help})
}

// Counters makes a counter for each value of the labels.
func (m Meter) Counters(name, help string, labels ...string) *prometheus.CounterVec {
	return m.factory.NewCounterVec(prometheus.CounterOpts{Name: metricPrefix + name, Help: help}, labels)
}

// Gauge makes a gauge.
func (m Meter) Gauge(name, help string) prometheus.Gauge {
	return m.factory.NewGauge(prometheus.GaugeOpts{Name: metricPrefix + name, Help: help})
}

// Gauges makes a gauge for each value of the labels.
func (m Meter) Gauges(name, help string, labels ...string) *prometheus.GaugeVec {
	return m.factory.NewGaugeVec(prometheus.GaugeOpts{Name: metricPrefix + name, Help: help}, labels)
}

// GaugeFunc makes a gauge that asks for its value.
func (m Meter) GaugeFunc(name, help string, value func() float64) {
	m.factory.NewGaugeFunc(prometheus.GaugeOpts{Name: metricPrefix + name, Help: help}, value)
}

// Histogram makes a histogram of seconds.
func (m Meter) Histogram(name, help string) prometheus.Histogram {
	return m.factory.NewHistogram(prometheus.HistogramOpts{Name: metricPrefix + name, Help: help, Buckets: latencyBuckets})
}

// Histograms makes a histogram of seconds for each value of the labels.
func (m Meter) Histograms(name, help string, labels ...string) *prometheus.HistogramVec {
	return m.factory.NewHistogramVec(prometheus.HistogramOpts{Name: metricPrefix + name, Help: help, Buckets: latencyBuckets}, labels)
}

const (
	// maxReasons bounds the values of a "reason" label; further ones are "other".
	maxReasons = 128
	// maxReasonLength bounds each, in bytes.
	maxReasonLength = 64
)

// Reasons are the values that a "reason" label has had. The zero value has none.
type Reasons struct {
	mu   sync.Mutex // guards seen
	seen map[string]bool
}

// Label returns the reason, or "other" if there are too many reasons or it is too long.
func (r *Reasons) Label(reason string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.seen[reason] {
		if len(r.seen) >= maxReasons || len(reason) > maxReasonLength {
			return "other"
		}
		if r.seen == nil {
			r.seen = make(map[string]bool)
		}
		r.seen[reason] = true
	}
	return reason
}
