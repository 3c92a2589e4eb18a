package dispatch

import (
	"log/slog"

	"whisperpush/pushext/pushserver/registration"
)

// way is that of what goes to a device. It may be called with mu held.
func (d *Dispatcher) way(j *job, step string, attrs ...slog.Attr) {
	what := "wake-up"
	if j.errand != nil {
		what = "challenge"
	}
	registration.Trace(d.log, what, j.id, step, attrs...)
}
