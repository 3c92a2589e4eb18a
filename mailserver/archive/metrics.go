package archive

import (
	"github.com/prometheus/client_golang/prometheus"

	"whisperpush/mailserver/archive/engine"
)

// metrics counts what the Archive does.
type metrics struct {
	*engine.Metrics
	damaged      prometheus.Counter
	flushSeconds prometheus.Histogram
}

func newMetrics(r prometheus.Registerer, a *Archive) (*metrics, error) {
	m := &metrics{Metrics: engine.NewMetrics(engine.Texts{
		Archived:  "Envelopes archived: on disk and indexed.",
		Bytes:     "Bytes of the log written for them.",
		DiskBytes: "Bytes of the archive's tables.",
		Commit:    "Time to commit a group of envelopes, fsync included.",
	}, a.Last)}
	m.damaged = m.Counter("archive_damage_total", "Partitions set aside and holes found in the log.")
	m.flushSeconds = m.Histogram("archive_flush_seconds", "Time to write a run of the index.")
	return m, m.Register(r)
}
