package node

import (
	"io"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"whisperpush/config"
	"whisperpush/wnode/rpc"
)

// newRegistry is where every package registers its metrics, with those of the process and the Go runtime in it.
func newRegistry() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "whisperpush_wnode_info",
		Help:        "1, with the version of the program as a label.",
		ConstLabels: prometheus.Labels{"version": Version()},
	})
	build.Set(1)
	registry.MustRegister(build)
	return registry
}

// listenMetrics serves /metrics for Prometheus, and /healthz, which answers 200 while healthy returns nil, and says
// what remark does.
func listenMetrics(settings config.Metrics, registry *prometheus.Registry, healthy func() error, remark func() string, logger *slog.Logger) (*rpc.Listener, error) {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
		MaxRequestsInFlight: 4,
	}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if err := healthy(); err != nil {
			http.Error(w, Redact(err.Error()), http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		text := "ok\n"
		if more := remark(); more != "" {
			text = "ok, but " + more + "\n"
		}
		io.WriteString(w, text)
	})
	return rpc.ListenHTTP(rpc.WhatMetrics, "metrics", settings.Addr, settings.Port, mux, logger)
}
