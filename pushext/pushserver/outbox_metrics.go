package pushserver

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Ends of a match, the label "outcome".
const (
	outcomeFetched       = "fetched"       // the device fetched the envelope
	outcomeSeen          = "seen"          // it was seen, here or on another device of the group
	outcomeExpired       = "expired"       // reason: unfetched, unsent, silenced, catch_up
	outcomeDead          = "dead"          // the registration died; reason as the provider's verdict
	outcomeGone          = "gone"          // the registration was removed; reason: unregistered, expired …
	outcomeOverflow      = "overflow"      // older than the newest maxEntries; a wake-up says "more"
	outcomeUndeliverable = "undeliverable" // reason as the provider's verdict
)

// reasonAbsent is why a match is gone whose registration ended meanwhile.
const reasonAbsent = "absent"

// outboxMetrics are those of an outbox. Reasons are the fixed phrases of providers and
// of this package.
type outboxMetrics struct {
	reasons reasons

	matches       prometheus.Counter
	outcomes      *prometheus.CounterVec // outcome, reason
	silenced      prometheus.Counter
	damaged       prometheus.Counter
	writeFailures prometheus.Counter
	commits       prometheus.Histogram
	cached        prometheus.Gauge
	fetchSeconds  *prometheus.HistogramVec // provider
}

func newOutboxMetrics(r prometheus.Registerer) *outboxMetrics {
	m := newMeter(r)
	return &outboxMetrics{
		matches:       m.counter("matches_total", "Archived envelopes that a registration is to be woken for."),
		outcomes:      m.counters("outcomes_total", "Ends of matches.", "outcome", "reason"),
		silenced:      m.counter("silenced_total", "Devices left alone because they fetched nothing after many wake-ups."),
		damaged:       m.counter("damaged_records_total", "Outbox records that could not be decoded."),
		writeFailures: m.counter("write_failures_total", "Outbox writes that failed."),
		commits:       m.histogram("commit_seconds", "Time to write a batch of the outbox with fsync."),
		cached:        m.gauge("devices_in_memory", "Outbox records in memory."),
		fetchSeconds:  m.histograms("archived_to_fetched_seconds", "From an envelope's archiving to its fetch, by the provider that accepted the latest wake-up.", "provider"),
	}
}

func (m *outboxMetrics) outcome(outcome, reason string) {
	m.outcomes.WithLabelValues(outcome, m.reasons.label(reason)).Inc()
}

func (m *outboxMetrics) fetched(provider string, after time.Duration) {
	if provider == "" {
		provider = "none" // fetched before a wake-up was accepted
	}
	m.fetchSeconds.WithLabelValues(provider).Observe(after.Seconds())
}
