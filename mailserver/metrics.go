package mailserver

import (
	"github.com/prometheus/client_golang/prometheus"

	"whisperpush/desk"
)

// serverMetrics count what the Server does.
type serverMetrics struct {
	// requests by form (classic, fixed, list, plain, unknown) and outcome.
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec // by form: from the start of serving a request to its end

	attempts  prometheus.Counter // hand-overs of envelopes to a peer
	failures  prometheus.Counter // of those, the ones that failed
	batched   prometheus.Counter // requests answered with lists of envelopes
	envelopes prometheus.Counter
	bytes     prometheus.Counter
}

// outcome is the result of a request. It is a label of a metric.
type outcome string

const (
	answered    outcome = "answered"
	truncated   outcome = "truncated"   // classic: cut off by a limit
	busy        outcome = "busy"        // refused or dropped because of too many requests
	malformed   outcome = "malformed"   // not a request
	unopened    outcome = "unopened"    // not encrypted for this mailserver
	unsigned    outcome = "unsigned"    // not signed
	lowPoW      outcome = "low_pow"     // less proof of work than asked for
	expired     outcome = "expired"     // too old or from the future
	plainOff    outcome = "plain_off"   // plain requests are not answered here
	failed      outcome = "failed"      // the archive could not be read in time
	undelivered outcome = "undelivered" // the peer is gone or too slow
	panicked    outcome = "panicked"    // a bug in this program
	stopped     outcome = "stopped"     // the server is not running
)

func newServerMetrics(r prometheus.Registerer, d *desk.Desk[packet]) (*serverMetrics, error) {
	const namespace, subsystem = "whisperpush", "mailserver"
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Subsystem: subsystem, Name: name, Help: help})
	}
	m := &serverMetrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "requests_total",
			Help: "Mail requests (packet 126) by form and outcome.",
		}, []string{"form", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "delivery_duration_seconds",
			Help:    "Time from the start of serving a mail request to the end of its answer, by form.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 4, 10),
		}, []string{"form"}),
		attempts:  counter("delivery_attempts_total", "Times that envelopes were handed to a peer that asked for them."),
		failures:  counter("delivery_failures_total", "Times that this failed because the peer was gone or too slow."),
		batched:   counter("requests_batched_total", "Mail requests answered with lists of envelopes."),
		envelopes: counter("delivered_envelopes_total", "Envelopes sent in answers to mail requests."),
		bytes:     counter("delivered_bytes_total", "Bytes of the envelopes sent in answers to mail requests."),
	}
	if r == nil {
		return m, nil
	}
	waiting := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: namespace, Subsystem: subsystem, Name: "requests_waiting",
		Help: "Mail requests that wait for a worker.",
	}, func() float64 { return float64(d.Waiting()) })
	stalled := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: namespace, Subsystem: subsystem, Name: "requests_stalled",
		Help: "Mail requests that wait for their peers to read, without a worker.",
	}, func() float64 { return float64(d.Stalled()) })
	for _, c := range []prometheus.Collector{m.requests, m.seconds, m.attempts, m.failures, m.batched, m.envelopes, m.bytes, waiting, stalled} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
