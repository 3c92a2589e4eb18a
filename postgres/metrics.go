package postgres

import (
	"github.com/prometheus/client_golang/prometheus"

	"whisperpush/mailserver/archive/engine"
)

// newArchiveMetrics makes the metrics of an archive in a directory, as far as they apply here.
func newArchiveMetrics(r prometheus.Registerer, a *Archive) (*engine.Metrics, error) {
	m := engine.NewMetrics(engine.Texts{
		Archived:  "Envelopes archived: committed.",
		Bytes:     "Bytes of them.",
		DiskBytes: "Bytes of the archive's tables, by estimate.",
		Commit:    "Time to commit a group of envelopes.",
	}, func() uint64 { return a.known().last })
	return m, m.Register(r)
}
