package door

import "github.com/prometheus/client_golang/prometheus"

const prefix = "whisperpush_door_"

type metrics struct {
	requests *prometheus.CounterVec // by path and status, when they end
	gaveWay  *prometheus.CounterVec // by kind: connection, answer, ring, post
	broken   prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "requests_total", Help: "Requests that ended, by path of the door and status of HTTP.",
		}, []string{"path", "status"}),
		gaveWay: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "gave_way_total", Help: "What ended to make room for another: connection, answer, ring or post.",
		}, []string{"what"}),
		broken: prometheus.NewCounter(prometheus.CounterOpts{
			Name: prefix + "broken_total", Help: "Answers and rings that broke off before they were complete.",
		}),
	}
	for _, what := range []string{"connection", "answer", "ring", "post"} {
		m.gaveWay.WithLabelValues(what)
	}
	if r != nil {
		r.MustRegister(m.requests, m.gaveWay, m.broken)
	}
	return m
}

// watch exposes how many seats of d are taken.
func (m *metrics) watch(r prometheus.Registerer, d *Door) {
	if r == nil {
		return
	}
	for _, one := range []struct {
		name, help string
		of         *seats
	}{
		{"connections", "Connections that are open.", d.conns},
		{"answers", "Requests that are read or answered.", d.answers},
		{"rings", "Streams over which devices are rung.", d.rings},
	} {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: prefix + one.name, Help: one.help}, func() float64 {
			return float64(one.of.count())
		}))
	}
}
