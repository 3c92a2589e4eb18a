package registration

import (
	"context"
	"log/slog"
)

// Traced reports whether a log records the steps that Trace logs.
func Traced(log *slog.Logger) bool { return log.Enabled(context.Background(), slog.LevelDebug) }

// Trace logs, at debug level, a step in the handling of a registration or of one of its
// wake-ups. The number is local to this server; nothing else in the line names the
// device, its address or its topics. what is "wake-up" or "registration".
func Trace(log *slog.Logger, what string, id ID, step string, attrs ...slog.Attr) {
	if !Traced(log) {
		return
	}
	all := append([]slog.Attr{slog.Uint64("registration", uint64(id)), slog.String("step", step)}, attrs...)
	log.LogAttrs(context.Background(), slog.LevelDebug, "way of a "+what, all...)
}
