package pushserver

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// registryMetrics are those of the registry.
type registryMetrics struct {
	registrations *prometheus.GaugeVec // state: unconfirmed (never was), registered, tombstone
	channels      prometheus.Gauge
	damaged       prometheus.Counter
	writeFailures prometheus.Counter
	ended         *prometheus.CounterVec // cause: unregistered, expired, provider, moved, evicted, unconfirmed
}

func newRegistryMetrics(r prometheus.Registerer) *registryMetrics {
	f := promauto.With(r)
	return &registryMetrics{
		registrations: f.NewGaugeVec(prometheus.GaugeOpts{Name: "whisperpush_pushext_registrations",
			Help: "Registrations held."}, []string{"state"}),
		channels: f.NewGauge(prometheus.GaugeOpts{Name: "whisperpush_pushext_channels",
			Help: "Channels of all registrations."}),
		damaged: f.NewCounter(prometheus.CounterOpts{Name: "whisperpush_pushext_damaged_registrations_total",
			Help: "Times a registration's record could not be read."}),
		writeFailures: f.NewCounter(prometheus.CounterOpts{Name: "whisperpush_pushext_registry_write_failures_total",
			Help: "Changes of registrations that could not be written."}),
		ended: f.NewCounterVec(prometheus.CounterOpts{Name: "whisperpush_pushext_registrations_ended_total",
			Help: "Registrations that ended."}, []string{"cause"}),
	}
}
