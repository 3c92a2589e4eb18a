package pushserver

import "github.com/prometheus/client_golang/prometheus"

// registryMetrics are those of the registry.
type registryMetrics struct {
	registrations *prometheus.GaugeVec // state: unconfirmed (never was), registered, tombstone
	channels      prometheus.Gauge
	damaged       prometheus.Counter
	writeFailures prometheus.Counter
	ended         *prometheus.CounterVec // cause: unregistered, expired, provider, moved, evicted, unconfirmed
}

func newRegistryMetrics(r prometheus.Registerer) *registryMetrics {
	m := newMeter(r)
	return &registryMetrics{
		registrations: m.gauges("registrations", "Registrations held.", "state"),
		channels:      m.gauge("channels", "Channels of all registrations."),
		damaged:       m.counter("damaged_registrations_total", "Times a registration's record could not be read."),
		writeFailures: m.counter("registry_write_failures_total", "Changes of registrations that could not be written."),
		ended:         m.counters("registrations_ended_total", "Registrations that ended.", "cause"),
	}
}
