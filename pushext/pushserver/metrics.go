package pushserver

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// PromisedLatency is how soon after its envelope was archived a wake-up is to
// be accepted by the device's provider. Later ones are counted with the cause.
const PromisedLatency = 15 * time.Second

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

// What made a wake-up late, the label "cause" and part of the log.
const (
	causeNone     = "none"     // nothing did: it was late before it came here, or the machine is
	causeProvider = "provider" // attempts failed
	causeLane     = "lane"     // the lane was paused or busy
	causeRate     = "rate"     // the provider's rate was reached
	causeBudget   = "budget"   // the device's budget was spent
	causeQuiet    = "quiet"    // a dismissal waited for the device's quiet budget
	causeBlur     = "blur"     // it waited for Jitter and Batch, as it was set
	causeAbsent   = "absent"   // the device was not connected, and has no other route
	causeRestart  = "restart"  // the server was down
	causeDisk     = "disk"     // a sequence number could not be reserved
)

// maxReasons bounds the values of a "reason" label; further ones are "other".
const maxReasons = 128

// metrics are those of follower, outbox and dispatcher. Provider labels are
// configured names; reasons are the fixed phrases of providers and of this
// package, at most maxReasons of them.
type metrics struct {
	matches       prometheus.Counter
	outcomes      *prometheus.CounterVec // outcome, reason
	silenced      prometheus.Counter
	damaged       prometheus.Counter
	writeFailures prometheus.Counter
	commits       prometheus.Histogram
	cached        prometheus.Gauge

	cursor   prometheus.Gauge
	followed prometheus.Counter
	gaps     prometheus.Counter
	missed   prometheus.Counter
	repeated prometheus.Counter

	attempts      *prometheus.CounterVec   // provider, class, reason
	acceptSeconds *prometheus.HistogramVec // provider
	fetchSeconds  *prometheus.HistogramVec // provider
	attemptTime   *prometheus.HistogramVec // provider
	late          *prometheus.CounterVec   // provider, cause
	queued        *prometheus.GaugeVec     // provider
	flying        *prometheus.GaugeVec     // provider
	lanes         prometheus.Gauge
	paused        *prometheus.GaugeVec   // provider
	opened        *prometheus.CounterVec // provider
	frozen        *prometheus.GaugeVec   // provider
	gated         *prometheus.CounterVec // provider, cause: unconfirmed, no_success, mass, older
	killed        *prometheus.CounterVec // provider
	ladder        prometheus.Counter
	dropped       *prometheus.CounterVec // kind: challenge, dismiss

	mu      sync.Mutex // guards the following
	reasons map[string]bool
}

var latencyBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 15, 30, 60, 300, 3600, 86400}

func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	counter := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Name: "whisperpush_pushext_" + name, Help: help})
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return f.NewCounterVec(prometheus.CounterOpts{Name: "whisperpush_pushext_" + name, Help: help}, labels)
	}
	gauge := func(name, help string) prometheus.Gauge {
		return f.NewGauge(prometheus.GaugeOpts{Name: "whisperpush_pushext_" + name, Help: help})
	}
	gauges := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return f.NewGaugeVec(prometheus.GaugeOpts{Name: "whisperpush_pushext_" + name, Help: help}, labels)
	}
	histograms := func(name, help string, labels ...string) *prometheus.HistogramVec {
		return f.NewHistogramVec(prometheus.HistogramOpts{Name: "whisperpush_pushext_" + name, Help: help, Buckets: latencyBuckets}, labels)
	}
	return &metrics{
		matches:       counter("matches_total", "Archived envelopes that a registration is to be woken for."),
		outcomes:      counters("outcomes_total", "Ends of matches.", "outcome", "reason"),
		silenced:      counter("silenced_total", "Devices left alone because they fetched nothing after many wake-ups."),
		damaged:       counter("damaged_records_total", "Outbox records that could not be decoded."),
		writeFailures: counter("write_failures_total", "Outbox writes that failed."),
		commits: f.NewHistogram(prometheus.HistogramOpts{Name: "whisperpush_pushext_commit_seconds",
			Help: "Time to write a batch of the outbox with fsync.", Buckets: latencyBuckets}),
		cached: gauge("devices_in_memory", "Outbox records in memory."),

		cursor:   gauge("cursor", "Receive sequence up to which the archive was matched."),
		followed: counter("followed_envelopes_total", "Archived envelopes that were matched against the registrations."),
		gaps:     counter("log_gaps_total", "Times the archive had dropped envelopes before they were matched, or was replaced."),
		missed:   counter("log_missed_envelopes_total", "Envelopes in those gaps."),
		repeated: counter("repeated_envelopes_total", "Archived envelopes that woke nobody, as they carry a message that devices were woken for before."),

		attempts:      counters("attempts_total", "Attempts by the provider's verdict.", "provider", "class", "reason"),
		acceptSeconds: histograms("archived_to_accepted_seconds", "From an envelope's archiving to the acceptance of a wake-up for it.", "provider"),
		fetchSeconds:  histograms("archived_to_fetched_seconds", "From an envelope's archiving to its fetch, by the provider that accepted the latest wake-up.", "provider"),
		attemptTime:   histograms("attempt_seconds", "Time a provider took for an attempt.", "provider"),
		late:          counters("late_total", "Matches accepted later than 15 s after archiving, by what held them up.", "provider", "cause"),
		queued:        gauges("queued", "Devices that wait in a lane.", "provider"),
		flying:        gauges("attempts_in_flight", "Attempts being made.", "provider"),
		lanes:         gauge("lanes", "Lanes in memory."),
		paused:        gauges("lanes_paused", "Lanes that are paused.", "provider"),
		opened:        counters("lane_pauses_total", "Pauses of lanes by their breaker or the provider's demand.", "provider"),
		frozen:        gauges("deletions_frozen", "Lanes of which so many addresses are called dead that none is believed.", "provider"),
		gated:         counters("dead_verdicts_held_total", "Dead verdicts that did not remove a registration.", "provider", "cause"),
		killed:        counters("registrations_dead_total", "Addresses given up on the provider's word.", "provider"),
		ladder:        counter("ladder_steps_total", "Wake-ups repeated through the next route."),
		dropped:       counters("side_wakeups_dropped_total", "Challenges and dismissals given up.", "kind"),
		reasons:       make(map[string]bool),
	}
}

// reason bounds the label's values.
func (m *metrics) reason(r string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.reasons[r] {
		if len(m.reasons) >= maxReasons || len(r) > maxReason {
			return "other"
		}
		m.reasons[r] = true
	}
	return r
}

func (m *metrics) outcome(outcome, reason string) {
	m.outcomes.WithLabelValues(outcome, m.reason(reason)).Inc()
}

func (m *metrics) fetched(provider string, after time.Duration) {
	if provider == "" {
		provider = "none" // fetched before a wake-up was accepted
	}
	m.fetchSeconds.WithLabelValues(provider).Observe(after.Seconds())
}
