package durable

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts what went wrong with the databases of one process. The label
// "db" is Options.Name: "archive", "push".
type Metrics struct {
	writeErrors *prometheus.CounterVec
	reopens     *prometheus.CounterVec
	corruptions *prometheus.CounterVec
	panics      *prometheus.CounterVec
	tornTails   *prometheus.CounterVec
}

// NewMetrics registers the metrics with r; nil leaves them unregistered. Several
// users of one registerer share the same counters.
func NewMetrics(r prometheus.Registerer) *Metrics {
	counter := func(name, help string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "whisperpush", Subsystem: "durable", Name: name, Help: help,
		}, []string{"db"})
		if r == nil {
			return c
		}
		err := r.Register(c)
		var dup prometheus.AlreadyRegisteredError
		if errors.As(err, &dup) {
			if old, ok := dup.ExistingCollector.(*prometheus.CounterVec); ok {
				return old
			}
		}
		return c
	}
	return &Metrics{
		writeErrors: counter("write_errors_total", "Batches that were not written."),
		reopens:     counter("reopens_total", "Databases closed and opened again after a failed write."),
		corruptions: counter("corruptions_total", "Reads, writes and opens that met damaged data."),
		panics:      counter("panics_total", "Panics of the database engine turned into errors."),
		tornTails:   counter("torn_tails_total", "Journals and manifests whose unacknowledged tail was cut off at open."),
	}
}

func (m *Metrics) writeError(db string) { m.writeErrors.WithLabelValues(db).Inc() }
func (m *Metrics) reopen(db string)     { m.reopens.WithLabelValues(db).Inc() }
func (m *Metrics) corruption(db string) { m.corruptions.WithLabelValues(db).Inc() }
func (m *Metrics) panic(db string)      { m.panics.WithLabelValues(db).Inc() }
func (m *Metrics) tornTail(db string)   { m.tornTails.WithLabelValues(db).Inc() }
