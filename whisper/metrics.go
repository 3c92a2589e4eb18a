package whisper

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics of a node. Labels are bounded: packet is the name of a packet code or
// "other", reason one of refusals.
type metrics struct {
	packets       *prometheus.CounterVec // packet, direction: in or out
	bytes         *prometheus.CounterVec // packet, direction
	badPackets    *prometheus.CounterVec // packet
	panics        *prometheus.CounterVec // packet
	accepted      prometheus.Counter
	refused       map[error]prometheus.Counter
	relays        prometheus.Counter
	relayDropped  prometheus.Counter
	relayLatency  prometheus.Histogram
	throttled     prometheus.Counter
	archiveFailed prometheus.Counter
	undelivered   prometheus.Counter
	evicted       [uses]prometheus.Counter
}

// refusals are the values of the label reason.
var refusals = map[error]string{
	ErrMalformed: "malformed",
	ErrKnown:     "duplicate",
	ErrExpired:   "expired",
	ErrFuture:    "future",
	ErrLifetime:  "lifetime",
	ErrTooLarge:  "size",
	ErrLowPoW:    "pow",
	ErrUnwanted:  "bloom",
	ErrPoolFull:  "pool_full",
}

func newMetrics(r prometheus.Registerer, n *Node) *metrics {
	f := promauto.With(r)
	counter := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Name: "whisperpush_whisper_" + name, Help: help})
	}
	vector := func(name, help string, labels ...string) *prometheus.CounterVec {
		return f.NewCounterVec(prometheus.CounterOpts{Name: "whisperpush_whisper_" + name, Help: help}, labels)
	}
	gauge := func(name, help string, value func() float64) {
		f.NewGaugeFunc(prometheus.GaugeOpts{Name: "whisperpush_whisper_" + name, Help: help}, value)
	}
	m := &metrics{
		packets:       vector("packets_total", "Packets by code and direction.", "packet", "direction"),
		bytes:         vector("packet_bytes_total", "Payload bytes of packets by code and direction.", "packet", "direction"),
		badPackets:    vector("bad_packets_total", "Packets thrown away: oversized, malformed or not served here.", "packet"),
		panics:        vector("panics_total", "Packets whose handling panicked: mistakes in this program.", "packet"),
		accepted:      counter("envelopes_accepted_total", "Envelopes that were new and right."),
		refused:       make(map[error]prometheus.Counter),
		relays:        counter("envelopes_relayed_total", "Envelopes written to peers."),
		relayDropped:  counter("envelopes_relay_dropped_total", "Envelopes let go because a peer was too slow."),
		throttled:     counter("throttled_seconds_total", "Time that peers were held up for exceeding their budget."),
		archiveFailed: counter("archive_failures_total", "Envelopes that the archive did not store."),
		undelivered:   counter("subscription_dropped_total", "Envelopes and messages that a subscriber was too slow for."),
		relayLatency: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "whisperpush_whisper_relay_seconds",
			Help:    "From the arrival of an envelope until it was written to a peer; the oldest of each packet.",
			Buckets: prometheus.ExponentialBuckets(25e-6, 4, 10), // 25 µs to 6.5 s
		}),
	}
	dropped := vector("envelopes_dropped_total", "Envelopes not accepted, by reason.", "reason")
	for err, reason := range refusals {
		m.refused[err] = dropped.WithLabelValues(reason)
	}
	evicted := vector("links_evicted_total", "Inbound links that gave way to a newcomer, by what they had been used for.", "use")
	for u := range uses {
		m.evicted[u] = evicted.WithLabelValues(u.String())
	}
	gauge("inbound_links", "Links that others opened, before and after the handshake.", func() float64 {
		n.mu.Lock()
		defer n.mu.Unlock()
		return float64(len(n.inbound.taken))
	})
	gauge("pool_envelopes", "Envelopes in the pool.", func() float64 { return float64(n.Pool().Envelopes) })
	gauge("pool_bytes", "Memory of the pool in bytes.", func() float64 { return float64(n.Pool().Bytes) })
	gauge("peers", "Peers with a completed handshake.", func() float64 { return float64(len(*n.links.Load())) })
	return m
}

func (m *metrics) count(name, direction string, size int) {
	m.packets.WithLabelValues(name, direction).Inc()
	m.bytes.WithLabelValues(name, direction).Add(float64(size))
}

func (m *metrics) received(name string, size uint32) { m.count(name, "in", int(size)) }

// ignored counts a packet with a code that this node does not handle.
func (m *metrics) ignored(size uint32) { m.count("other", "in", int(size)) }

func (m *metrics) sent(name string, size int) { m.count(name, "out", size) }

func (m *metrics) refusePacket(name string) { m.badPackets.WithLabelValues(name).Inc() }

// refuse counts envelopes by the sentinel that says why they were refused.
func (m *metrics) refuse(reason error, envelopes int) {
	if envelopes > 0 {
		m.refused[reason].Add(float64(envelopes))
	}
}

// relayed counts a packet of envelopes; since is zero for those from the pool.
func (m *metrics) relayed(envelopes int, since time.Time) {
	m.relays.Add(float64(envelopes))
	if !since.IsZero() {
		m.relayLatency.Observe(time.Since(since).Seconds())
	}
}
