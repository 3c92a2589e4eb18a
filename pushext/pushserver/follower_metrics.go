package pushserver

import "github.com/prometheus/client_golang/prometheus"

// followerMetrics are those of the follower.
type followerMetrics struct {
	cursor   prometheus.Gauge
	followed prometheus.Counter
	gaps     prometheus.Counter
	missed   prometheus.Counter
	repeated prometheus.Counter
}

func newFollowerMetrics(r prometheus.Registerer) *followerMetrics {
	m := newMeter(r)
	return &followerMetrics{
		cursor:   m.gauge("cursor", "Receive sequence up to which the archive was matched."),
		followed: m.counter("followed_envelopes_total", "Archived envelopes that were matched against the registrations."),
		gaps:     m.counter("log_gaps_total", "Times the archive had dropped envelopes before they were matched, or was replaced."),
		missed:   m.counter("log_missed_envelopes_total", "Envelopes in those gaps."),
		repeated: m.counter("repeated_envelopes_total", "Archived envelopes that woke nobody, as they carry a message that devices were woken for before."),
	}
}
