package dispatch

import (
	"log/slog"

	"whisperpush/pushext/pushserver/registration"
)

// way traces one step of a job. It may be called with mu held.
func (d *Dispatcher) way(j *job, step string, attrs ...slog.Attr) {
	what := "wake-up"
	switch {
	case j.errand != nil:
		what = "challenge"
	case j.trial != nil:
		what = "test push"
	}
	registration.Trace(d.log, what, j.id, step, attrs...)
}
