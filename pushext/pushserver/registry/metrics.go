package registry

import (
	"github.com/prometheus/client_golang/prometheus"

	"whisperpush/pushext/pushserver/measure"
)

// metrics are those of the registry.
type metrics struct {
	registrations *prometheus.GaugeVec // state: unconfirmed (never was), registered, tombstone
	channels      prometheus.Gauge
	damaged       prometheus.Counter
	writeFailures prometheus.Counter
	ended         *prometheus.CounterVec // cause: unregistered, expired, provider, moved, evicted, unconfirmed, revoked
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := measure.New(r)
	return &metrics{
		registrations: m.Gauges("registrations", "Registrations held.", "state"),
		channels:      m.Gauge("channels", "Channels of all registrations."),
		damaged:       m.Counter("damaged_registrations_total", "Times a registration's record could not be read."),
		writeFailures: m.Counter("registry_write_failures_total", "Changes of registrations that could not be written."),
		ended:         m.Counters("registrations_ended_total", "Registrations that ended.", "cause"),
	}
}
