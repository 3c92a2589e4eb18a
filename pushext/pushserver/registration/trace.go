package registration

import (
	"context"
	"log/slog"
)

// Trace tells, to who looks closely, how far what concerns a registration has come. The
// number is this server's own; nothing else names the device, its address or what
// it listens to. what is "wake-up" or "registration".
func Trace(log *slog.Logger, what string, id ID, step string, attrs ...slog.Attr) {
	if !log.Enabled(context.Background(), slog.LevelDebug) {
		return
	}
	all := append([]slog.Attr{slog.Uint64("registration", uint64(id)), slog.String("step", step)}, attrs...)
	log.LogAttrs(context.Background(), slog.LevelDebug, "way of a "+what, all...)
}
