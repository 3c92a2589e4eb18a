package pushserver

import (
	"github.com/prometheus/client_golang/prometheus"

	"whisperpush/desk"
)

// protocolMetrics are those of the requests.
type protocolMetrics struct {
	meter         meter
	requests      *prometheus.CounterVec // kind as pushwire.RequestKind, code as pushwire.Code
	dropped       *prometheus.CounterVec // reason: rate, queue (both if no refusal was sent), malformed, topic, size, work, sealed, reply
	notifications *prometheus.CounterVec // outcome: rung, muted, revoked, missing, gone, overflow
	fetched       prometheus.Counter
	panics        prometheus.Counter
	seconds       prometheus.Histogram
}

func newProtocolMetrics(r prometheus.Registerer) *protocolMetrics {
	m := newMeter(r)
	return &protocolMetrics{
		meter:         m,
		requests:      m.counters("requests_total", "Requests answered, by their code.", "kind", "code"),
		dropped:       m.counters("requests_dropped_total", "Requests dropped without an answer, and replies that could not be sent.", "reason"),
		notifications: m.counters("notifications_total", "Notify requests of holders of a capability.", "outcome"),
		fetched:       m.counter("fetched_envelopes_total", "Envelopes sent in answer to Fetch."),
		panics:        m.counter("request_panics_total", "Requests that panicked."),
		seconds:       m.histogram("request_seconds", "Time to open and answer a request."),
	}
}

// watch has the requests at a desk told.
func (m *protocolMetrics) watch(d *desk.Desk[incoming]) {
	m.meter.gaugeFunc("requests_queued", "Requests that wait.", func() float64 { return float64(d.Waiting()) })
	m.meter.gaugeFunc("requests_stalled", "Requests that wait for their peers to read, without a worker.", func() float64 { return float64(d.Stalled()) })
}

func (m *protocolMetrics) drop(reason string)      { m.dropped.WithLabelValues(reason).Inc() }
func (m *protocolMetrics) notified(outcome string) { m.notifications.WithLabelValues(outcome).Inc() }
