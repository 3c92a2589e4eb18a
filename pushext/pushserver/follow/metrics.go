package follow

import (
	"github.com/prometheus/client_golang/prometheus"

	"whisperpush/pushext/pushserver/measure"
)

// metrics are the metrics of the follower.
type metrics struct {
	cursor   prometheus.Gauge
	followed prometheus.Counter
	gaps     prometheus.Counter
	missed   prometheus.Counter
	repeated prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := measure.New(r)
	return &metrics{
		cursor:   m.Gauge("cursor", "Receive sequence up to which the archive was matched."),
		followed: m.Counter("followed_envelopes_total", "Archived envelopes that were matched against the registrations."),
		gaps:     m.Counter("log_gaps_total", "Times the archive had dropped envelopes before they were matched, or was replaced."),
		missed:   m.Counter("log_missed_envelopes_total", "Envelopes in those gaps."),
		repeated: m.Counter("repeated_envelopes_total", "Archived envelopes that woke nobody, as they carry a message that devices were woken for before."),
	}
}
