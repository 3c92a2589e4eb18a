package node

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"whisperpush/config"
	"whisperpush/pushext/credentials"
	"whisperpush/wnode/health"
	"whisperpush/wnode/rpc"
	"whisperpush/wnode/statuspage"
)

// StatusToken is the password of the status page, empty if it needs none.
func StatusToken(cfg config.Config) (string, error) {
	path := cfg.Status.TokenFile
	if path == "" || !cfg.Status.Enabled {
		return "", nil
	}
	const setting = "Status.TokenFile (--status.token)"
	token, err := credentials.Line(setting, path, "the status page's password")
	if err == nil && len(token) < statuspage.MinToken {
		err = fmt.Errorf("%s: the first line of %q has %d characters; give at least %d, such as what openssl rand -hex 16 prints", setting, path, len(token), statuspage.MinToken)
	}
	return token, err
}

// startStatus serves the status page.
func (n *Node) startStatus(cfg config.Config, token string, judge *health.Judge, logger *slog.Logger) error {
	started := time.Now()
	page, err := statuspage.New(statuspage.Options{Metrics: n.registry, Token: token, Report: func(ctx context.Context) statuspage.Report {
		report := statuspage.Report{
			Version: Version(), Started: started, Push: n.push != nil,
			Retention: time.Duration(n.settings().Mailserver.Retention), MaxBytes: n.settings().Mailserver.MaxBytes,
		}
		if free, err := FreeSpace(cfg.Node.DataDir); err == nil {
			report.DiskFree = free
		}
		for _, check := range judge.Report(ctx, true).Checks {
			if !check.OK {
				report.Failing = append(report.Failing, check.Name)
			}
		}
		if n.push == nil {
			return report
		}
		for _, p := range n.push.Providers(time.Now()) {
			report.Providers = append(report.Providers, statuspage.Provider{Name: p.Name, Failing: p.Failing, Paused: p.Paused, Queued: p.Queued})
		}
		return report
	}})
	if err != nil {
		return err
	}
	listener, err := rpc.ListenHTTP(rpc.WhatStatus, "status", cfg.Status.Addr, cfg.Status.Port, page.Handler(), logger)
	if err != nil {
		return err
	}
	n.onStop(listener.Close)
	n.onStop(inBackground(page.Run))
	n.onReload(section{
		keys: []string{"Status.TokenFile"},
		prepare: func(_, next config.Config) (replacement, error) {
			token, err := StatusToken(next)
			return replacement{apply: func() { page.SetToken(token) }}, err
		},
	})
	n.http = append(n.http, listener)
	return nil
}
