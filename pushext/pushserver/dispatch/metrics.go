package dispatch

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"whisperpush/pushext/pushserver/measure"
	"whisperpush/pushext/pushserver/registration"
)

// What made a wake-up late, the label "cause" and part of the log.
const (
	causeNone     = "none"     // nothing did: it was late before it came here, or the machine is slow
	causeProvider = "provider" // attempts failed
	causeLane     = "lane"     // the lane was paused or busy
	causeRate     = "rate"     // the provider's rate was reached
	causeBudget   = "budget"   // the device's budget was spent
	causeQuiet    = "quiet"    // a dismissal waited for the device's quiet budget
	causeBlur     = "blur"     // it waited for Jitter and Batch, as configured
	causeAbsent   = "absent"   // the device was not connected, and has no other route
	causeRestart  = "restart"  // the server was down
	causeDisk     = "disk"     // a sequence number could not be reserved
)

// metrics are those of the dispatcher. Provider labels are configured names;
// reasons are the fixed phrases of providers and of this package.
type metrics struct {
	reasons measure.Reasons

	attempts      *prometheus.CounterVec   // provider, class, reason
	acceptSeconds *prometheus.HistogramVec // provider
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
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := measure.New(r)
	return &metrics{
		attempts:      m.Counters("attempts_total", "Attempts by the provider's verdict.", "provider", "class", "reason"),
		acceptSeconds: m.Histograms("archived_to_accepted_seconds", "From an envelope's archiving to the acceptance of a wake-up for it.", "provider"),
		attemptTime:   m.Histograms("attempt_seconds", "Time a provider took for an attempt.", "provider"),
		late:          m.Counters("late_total", "Matches accepted later than 15 s after archiving, by what held them up.", "provider", "cause"),
		queued:        m.Gauges("queued", "Devices that wait in a lane.", "provider"),
		flying:        m.Gauges("attempts_in_flight", "Attempts being made.", "provider"),
		lanes:         m.Gauge("lanes", "Lanes in memory."),
		paused:        m.Gauges("lanes_paused", "Lanes that are paused.", "provider"),
		opened:        m.Counters("lane_pauses_total", "Pauses of lanes by their breaker or the provider's demand.", "provider"),
		frozen:        m.Gauges("deletions_frozen", "Lanes that call so many addresses dead that none is believed.", "provider"),
		gated:         m.Counters("dead_verdicts_held_total", "Dead verdicts that did not remove a registration.", "provider", "cause"),
		killed:        m.Counters("registrations_dead_total", "Addresses given up on the provider's word.", "provider"),
		ladder:        m.Counter("ladder_steps_total", "Wake-ups repeated through the next route."),
		dropped:       m.Counters("side_wakeups_dropped_total", "Challenges and dismissals given up.", "kind"),
	}
}

// reason is a reason as a label and in the log.
func (m *metrics) reason(reason string) string { return m.reasons.Label(reason) }

// accepted counts a match for which a provider accepted a wake-up, and how long after its
// archiving. If the steps of wake-ups are traced, the exemplar of the bucket is the
// number by which the log calls the registration: a slow match leads to what happened.
func (m *metrics) accepted(provider string, after time.Duration, id registration.ID, traced bool) {
	seconds := m.acceptSeconds.WithLabelValues(provider)
	if !traced {
		seconds.Observe(after.Seconds())
		return
	}
	seconds.(prometheus.ExemplarObserver).ObserveWithExemplar(after.Seconds(), prometheus.Labels{"registration": strconv.FormatUint(uint64(id), 10)})
}
