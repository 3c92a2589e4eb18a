package outbox

import (
	"cmp"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"whisperpush/pushext/pushserver/measure"
)

// Ends of a match, the label "outcome".
const (
	outcomeFetched       = "fetched"       // the device fetched the envelope
	outcomeSeen          = "seen"          // it was seen, here or on another device of the group
	outcomeExpired       = "expired"       // reason: unfetched, unsent, silenced, catch_up
	OutcomeDead          = "dead"          // the registration died; reason as the provider's verdict
	OutcomeGone          = "gone"          // the registration was removed; reason: unregistered, expired …
	outcomeOverflow      = "overflow"      // older than the newest maxEntries; a wake-up says "more"
	outcomeUndeliverable = "undeliverable" // reason as the provider's verdict
)

// ReasonAbsent is the reason for matches whose registration ended meanwhile.
const ReasonAbsent = "absent"

// metrics are those of an outbox. Reasons are the fixed phrases of providers and
// of this package.
type metrics struct {
	reasons  measure.Reasons
	accounts accounts

	open          prometheus.Gauge
	unaccounted   prometheus.Gauge
	matches       prometheus.Counter
	outcomes      *prometheus.CounterVec // outcome, reason, provider
	silenced      prometheus.Counter
	damaged       prometheus.Counter
	writeFailures prometheus.Counter
	commits       prometheus.Histogram
	cached        prometheus.Gauge
	fetchSeconds  *prometheus.HistogramVec // provider
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := measure.New(r)
	return &metrics{
		matches:       m.Counter("matches_total", "Archived envelopes that matched a registration: each ends with an outcome, or waits."),
		open:          m.Gauge("matches_open", "Matches that have not ended, by the latest sweep of the outbox."),
		unaccounted:   m.Gauge("matches_unaccounted", "Difference between the matches and the sum of their outcomes and those that wait, by the latest sweep. If it is not 0, something is lost."),
		outcomes:      m.Counters("outcomes_total", "Ends of matches, by the provider that accepted the device's latest wake-up; none: the device was not woken for the match.", "outcome", "reason", "provider"),
		silenced:      m.Counter("silenced_total", "Devices left alone because they fetched nothing after many wake-ups."),
		damaged:       m.Counter("damaged_records_total", "Outbox records that could not be decoded."),
		writeFailures: m.Counter("write_failures_total", "Outbox writes that failed."),
		commits:       m.Histogram("commit_seconds", "Time to write a batch of the outbox with fsync."),
		cached:        m.Gauge("devices_in_memory", "Outbox records in memory."),
		fetchSeconds:  m.Histograms("archived_to_fetched_seconds", "From an envelope's archiving to its fetch, by the provider that accepted the latest wake-up.", "provider"),
	}
}

// noProvider is the label of matches for which no provider had accepted a wake-up.
const noProvider = "none"

// ends counts the ends of n matches for which no provider had accepted a wake-up.
func (m *metrics) ends(n int, outcome, reason string) { m.endsBy("", n, outcome, reason) }

// endsBy counts the ends of n matches by the provider that had accepted the wake-up, "" if
// none had.
func (m *metrics) endsBy(provider string, n int, outcome, reason string) {
	m.accounts.ended.Add(int64(n))
	m.outcomes.WithLabelValues(outcome, m.reasons.Label(reason), cmp.Or(provider, noProvider)).Add(float64(n))
}

// match counts n matches.
func (m *metrics) match(n int) {
	m.accounts.matched.Add(int64(n))
	m.matches.Add(float64(n))
}

func (m *metrics) fetched(provider string, after time.Duration) {
	m.fetchSeconds.WithLabelValues(cmp.Or(provider, noProvider)).Observe(after.Seconds()) // none: fetched before a wake-up was accepted
}
