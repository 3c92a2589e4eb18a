package postgres

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// archiveMetrics are those of an archive in a directory, by the same names, as far as
// there is the same to count.
type archiveMetrics struct {
	archived      prometheus.Counter
	bytes         prometheus.Counter
	duplicates    prometheus.Counter
	failed        prometheus.Counter
	readErrors    prometheus.Counter
	dropped       *prometheus.CounterVec // by reason: age, size
	diskBytes     prometheus.Gauge
	commitSeconds prometheus.Histogram
	readSeconds   *prometheus.HistogramVec // by kind: query, hash

	registerer prometheus.Registerer
	all        []prometheus.Collector
}

func newArchiveMetrics(r prometheus.Registerer, a *Archive) (*archiveMetrics, error) {
	const namespace, subsystem = "whisperpush", "mailserver"
	m := &archiveMetrics{registerer: r}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Subsystem: subsystem, Name: name, Help: help})
		m.all = append(m.all, c)
		return c
	}
	histogram := func(name, help string) prometheus.HistogramOpts {
		return prometheus.HistogramOpts{
			Namespace: namespace, Subsystem: subsystem, Name: name, Help: help,
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 10),
		}
	}
	m.archived = counter("archived_envelopes_total", "Envelopes archived: committed.")
	m.bytes = counter("archived_envelope_bytes_total", "Bytes of them.")
	m.duplicates = counter("archive_duplicates_total", "Envelopes not stored because they were archived already.")
	m.failed = counter("archive_failures_total", "Envelopes that could not be archived.")
	m.readErrors = counter("archive_read_errors_total", "Reads of the archive that failed.")
	m.dropped = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Subsystem: subsystem, Name: "archive_dropped_partitions_total",
		Help: "Partitions dropped, by reason: past retention (age) or to make room (size).",
	}, []string{"reason"})
	m.diskBytes = prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: namespace, Subsystem: subsystem, Name: "archive_disk_bytes", Help: "Bytes of the archive's tables, by estimate.",
	})
	m.commitSeconds = prometheus.NewHistogram(histogram("archive_commit_seconds", "Time to commit a group of envelopes."))
	m.readSeconds = prometheus.NewHistogramVec(histogram("archive_read_seconds", "Time to read a page (query) or look up hashes (hash)."), []string{"kind"})
	m.all = append(m.all, m.dropped, m.diskBytes, m.commitSeconds, m.readSeconds,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "archive_newest_sequence", Help: "The newest receive sequence.",
		}, func() float64 { return float64(a.known().last) }))
	if r == nil {
		return m, nil
	}
	for i, c := range m.all {
		if err := r.Register(c); err != nil {
			for _, c := range m.all[:i] {
				r.Unregister(c)
			}
			return nil, err
		}
	}
	return m, nil
}

// unregister takes the metrics out of the registry, for an archive opened again.
func (m *archiveMetrics) unregister() {
	if m.registerer == nil {
		return
	}
	for _, c := range m.all {
		m.registerer.Unregister(c)
	}
}

func (m *archiveMetrics) observe(kind string, since time.Time) {
	m.readSeconds.WithLabelValues(kind).Observe(time.Since(since).Seconds())
}
