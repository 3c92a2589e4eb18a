package pushserver

import (
	"log/slog"
)

// way is that of what goes to a device. It may be called with mu held.
func (d *dispatcher) way(j *job, step string, attrs ...slog.Attr) {
	what := "wake-up"
	if j.errand != nil {
		what = "challenge"
	}
	way(d.log, what, j.id, step, attrs...)
}
