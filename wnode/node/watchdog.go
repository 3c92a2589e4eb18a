package node

import (
	"context"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// feedWatchdog tells systemd that the node is healthy, often enough for the unit's WatchdogSec, until ctx ends. While
// the node is unhealthy or hangs, systemd hears nothing and finally restarts it, which opens the archive again.
func feedWatchdog(ctx context.Context, healthy func() error, logger *slog.Logger) {
	patience, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		logger.Warn("the watchdog's settings are unusable", "err", err)
		return
	}
	if patience == 0 {
		return // nobody watches
	}
	ticker := time.NewTicker(patience / 2)
	defer ticker.Stop()
	for {
		if err := healthy(); err != nil {
			logger.Error("not feeding the watchdog", "err", err)
			daemon.SdNotify(false, "STATUS="+Redact(err.Error()))
		} else {
			daemon.SdNotify(false, daemon.SdNotifyWatchdog+"\nSTATUS=")
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}
