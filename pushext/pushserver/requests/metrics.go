package requests

import (
	"github.com/prometheus/client_golang/prometheus"

	"whisperpush/desk"
	"whisperpush/pushext/pushserver/measure"
)

// metrics are the metrics of the requests.
type metrics struct {
	meter         measure.Meter
	requests      *prometheus.CounterVec // kind as pushwire.RequestKind, code as pushwire.Code
	dropped       *prometheus.CounterVec // reason: rate, queue (both if no refusal was sent), malformed, topic, size, work, sealed, gone, reply
	notifications *prometheus.CounterVec // outcome: rung, muted, revoked, missing, gone, overflow
	fetched       prometheus.Counter
	panics        prometheus.Counter
	seconds       prometheus.Histogram
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := measure.New(r)
	return &metrics{
		meter:         m,
		requests:      m.Counters("requests_total", "Requests answered, by their code.", "kind", "code"),
		dropped:       m.Counters("requests_dropped_total", "Requests dropped without an answer, and replies that could not be sent.", "reason"),
		notifications: m.Counters("notifications_total", "Notify requests of holders of a capability.", "outcome"),
		fetched:       m.Counter("fetched_envelopes_total", "Envelopes sent in answer to Fetch."),
		panics:        m.Counter("request_panics_total", "Requests that panicked."),
		seconds:       m.Histogram("request_seconds", "Time to open and answer a request."),
	}
}

// watch adds gauges for the requests at a desk.
func (m *metrics) watch(d *desk.Desk[incoming]) {
	m.meter.GaugeFunc("requests_queued", "Requests that wait.", func() float64 { return float64(d.Waiting()) })
	m.meter.GaugeFunc("requests_stalled", "Requests that wait for their peers to read, without a worker.", func() float64 { return float64(d.Stalled()) })
}

func (m *metrics) drop(reason string)      { m.dropped.WithLabelValues(reason).Inc() }
func (m *metrics) notified(outcome string) { m.notifications.WithLabelValues(outcome).Inc() }
