package node

import (
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"whisperpush/config"
	"whisperpush/wnode/health"
	"whisperpush/wnode/rpc"
)

// newRegistry is where every package registers its metrics. It already has those of the process and the Go runtime.
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

// listenMetrics serves /metrics for Prometheus, and the verdicts of judge: /healthz and /readyz.
func listenMetrics(settings config.Metrics, registry *prometheus.Registry, judge *health.Judge, logger *slog.Logger) (*rpc.Listener, error) {
	mux := http.NewServeMux()
	options := promhttp.HandlerOpts{ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelWarn), MaxRequestsInFlight: 4}
	plain := promhttp.HandlerFor(registry, options)
	options.EnableOpenMetrics = true // the format that has exemplars
	traced := promhttp.HandlerFor(registry, options)
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		if logger.Enabled(r.Context(), slog.LevelDebug) {
			traced.ServeHTTP(w, r)
		} else {
			plain.ServeHTTP(w, r)
		}
	})
	mux.Handle("GET /healthz", judge.Handler(false))
	mux.Handle("GET /readyz", judge.Handler(true))
	return rpc.ListenHTTP(rpc.WhatMetrics, "metrics", settings.Addr, settings.Port, mux, logger)
}
