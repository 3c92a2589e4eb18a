package engine

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const namespace, subsystem = "whisperpush", "mailserver"

// Metrics are the metrics that every engine has, under the same names.
type Metrics struct {
	Archived      prometheus.Counter
	Bytes         prometheus.Counter
	Duplicates    prometheus.Counter
	Failed        prometheus.Counter
	ReadErrors    prometheus.Counter
	Dropped       *prometheus.CounterVec // by reason: age, size, pruned
	DiskBytes     prometheus.Gauge
	CommitSeconds prometheus.Histogram
	ReadSeconds   *prometheus.HistogramVec // by kind: query, hash

	registerer prometheus.Registerer
	all        []prometheus.Collector
}

// Texts are the help texts for what engines count in slightly different ways.
type Texts struct{ Archived, Bytes, DiskBytes, Commit string }

// NewMetrics makes the metrics of an archive; last returns its newest sequence. An
// engine adds its own metrics and then calls Register.
func NewMetrics(t Texts, last func() uint64) *Metrics {
	m := &Metrics{}
	m.Archived = m.Counter("archived_envelopes_total", t.Archived)
	m.Bytes = m.Counter("archived_envelope_bytes_total", t.Bytes)
	m.Duplicates = m.Counter("archive_duplicates_total", "Envelopes not stored because they were archived already.")
	m.Failed = m.Counter("archive_failures_total", "Envelopes that could not be archived.")
	m.ReadErrors = m.Counter("archive_read_errors_total", "Reads of the archive that failed.")
	m.Dropped = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Subsystem: subsystem, Name: "archive_dropped_partitions_total",
		Help: "Partitions dropped, by reason: past retention (age), to make room (size) or by the operator (pruned).",
	}, []string{"reason"})
	m.DiskBytes = prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: namespace, Subsystem: subsystem, Name: "archive_disk_bytes", Help: t.DiskBytes,
	})
	m.CommitSeconds = m.Histogram("archive_commit_seconds", t.Commit)
	m.ReadSeconds = prometheus.NewHistogramVec(histogram("archive_read_seconds", "Time to read a page (query) or look up hashes (hash)."), []string{"kind"})
	m.all = append(m.all, m.Dropped, m.DiskBytes, m.ReadSeconds,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "archive_newest_sequence", Help: "The newest receive sequence.",
		}, func() float64 { return float64(last()) }))
	return m
}

// Counter adds a counter for the engine.
func (m *Metrics) Counter(name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Subsystem: subsystem, Name: name, Help: help})
	m.all = append(m.all, c)
	return c
}

// Histogram adds a histogram of seconds for the engine.
func (m *Metrics) Histogram(name, help string) prometheus.Histogram {
	h := prometheus.NewHistogram(histogram(name, help))
	m.all = append(m.all, h)
	return h
}

func histogram(name, help string) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Namespace: namespace, Subsystem: subsystem, Name: name, Help: help,
		Buckets: prometheus.ExponentialBuckets(0.0001, 4, 10),
	}
}

// Register registers all metrics, or none and returns the reason. r may be nil.
func (m *Metrics) Register(r prometheus.Registerer) error {
	if r == nil {
		return nil
	}
	for i, c := range m.all {
		if err := r.Register(c); err != nil {
			for _, c := range m.all[:i] {
				r.Unregister(c)
			}
			return err
		}
	}
	m.registerer = r
	return nil
}

// Unregister removes the metrics from the registry, so that an archive can be opened
// again.
func (m *Metrics) Unregister() {
	if m.registerer == nil {
		return
	}
	for _, c := range m.all {
		m.registerer.Unregister(c)
	}
}

// Observe counts a read of a kind, "query" or "hash", that began at since.
func (m *Metrics) Observe(kind string, since time.Time) {
	m.ReadSeconds.WithLabelValues(kind).Observe(time.Since(since).Seconds())
}
