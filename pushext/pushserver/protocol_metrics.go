package pushserver

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"whisperpush/desk"
)

// protocolMetrics are those of the requests.
type protocolMetrics struct {
	factory       promauto.Factory
	requests      *prometheus.CounterVec // kind as pushwire.RequestKind, code as pushwire.Code
	dropped       *prometheus.CounterVec // reason: rate, queue (both if no refusal was sent), malformed, topic, size, work, sealed, reply
	notifications *prometheus.CounterVec // outcome: rung, muted, revoked, missing, gone, overflow
	fetched       prometheus.Counter
	panics        prometheus.Counter
	seconds       prometheus.Histogram
}

func newProtocolMetrics(r prometheus.Registerer) *protocolMetrics {
	f := promauto.With(r)
	return &protocolMetrics{
		factory: f,
		requests: f.NewCounterVec(prometheus.CounterOpts{Name: "whisperpush_pushext_requests_total",
			Help: "Requests answered, by their code."}, []string{"kind", "code"}),
		dropped: f.NewCounterVec(prometheus.CounterOpts{Name: "whisperpush_pushext_requests_dropped_total",
			Help: "Requests dropped without an answer, and replies that could not be sent."}, []string{"reason"}),
		notifications: f.NewCounterVec(prometheus.CounterOpts{Name: "whisperpush_pushext_notifications_total",
			Help: "Notify requests of holders of a capability."}, []string{"outcome"}),
		fetched: f.NewCounter(prometheus.CounterOpts{Name: "whisperpush_pushext_fetched_envelopes_total",
			Help: "Envelopes sent in answer to Fetch."}),
		panics: f.NewCounter(prometheus.CounterOpts{Name: "whisperpush_pushext_request_panics_total",
			Help: "Requests that panicked."}),
		seconds: f.NewHistogram(prometheus.HistogramOpts{Name: "whisperpush_pushext_request_seconds",
			Help: "Time to open and answer a request.", Buckets: latencyBuckets}),
	}
}

// watch has the requests at a desk told.
func (m *protocolMetrics) watch(d *desk.Desk[incoming]) {
	m.factory.NewGaugeFunc(prometheus.GaugeOpts{Name: "whisperpush_pushext_requests_queued",
		Help: "Requests that wait."}, func() float64 { return float64(d.Waiting()) })
	m.factory.NewGaugeFunc(prometheus.GaugeOpts{Name: "whisperpush_pushext_requests_stalled",
		Help: "Requests that wait for their peers to read, without a worker."}, func() float64 { return float64(d.Stalled()) })
}

func (m *protocolMetrics) drop(reason string)      { m.dropped.WithLabelValues(reason).Inc() }
func (m *protocolMetrics) notified(outcome string) { m.notifications.WithLabelValues(outcome).Inc() }
