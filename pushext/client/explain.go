package client

import (
	"fmt"
	"time"

	"whisperpush/pushext/pushwire"
)

// Explain says in plain words whether pushes can arrive and why not, for a settings screen:
// first of the registration, then of each route, in the order in which they are tried. Each
// is one sentence, without a full stop. Names of providers and reasons are the server's word.
func (s *Status) Explain(now time.Time) []string {
	lines := []string{s.explain(now)}
	for _, r := range s.Routes {
		lines = append(lines, fmt.Sprintf("%s: %s", Printable([]byte(r.Provider)), explainRoute(r)))
	}
	return lines
}

// soonOver is how long before its end a registration is said to end soon.
const soonOver = 3 * 24 * time.Hour

func (s *Status) explain(now time.Time) string {
	reason := Printable([]byte(s.Reason))
	switch s.State {
	case pushwire.None:
		return "this device is not registered with the mailserver: register"
	case pushwire.Expired:
		return "the registration has ended, as it was not renewed in time: register again"
	case pushwire.Terminated:
		return "the registration was ended by this device: register to be woken again"
	case pushwire.Waiting:
		return "the mailserver waits for the answer to its challenge, and wakes nobody before: if no push comes within two minutes, register again"
	case pushwire.Dead:
		if reason == "" {
			reason = "no reason was given"
		}
		return fmt.Sprintf("the mailserver gave up to wake this device (%s): register again with a new address", reason)
	case pushwire.Active:
	default:
		return fmt.Sprintf("the registration is in a state that this app does not know (%d): update the app", s.State)
	}
	end := time.Unix(int64(min(s.Expires, 1<<40)), 0)
	switch {
	case reason != "":
		return fmt.Sprintf("the mailserver wakes this device, and says: %s", reason)
	case s.Expires != 0 && end.Sub(now) < soonOver:
		return fmt.Sprintf("the mailserver wakes this device until %s: register again before", end.Format(time.DateTime))
	}
	return "the mailserver wakes this device"
}

func explainRoute(r pushwire.RouteStatus) string {
	reason := Printable([]byte(r.Reason))
	switch {
	case r.Doubt != 0:
		return fmt.Sprintf("in use; since %s the push service says that the address is gone (%s), which the mailserver does not believe yet: register again with a new address",
			time.Unix(int64(min(r.Doubt, 1<<40)), 0).Format(time.DateTime), reason)
	case r.State == pushwire.Active:
		return "in use"
	case r.State == pushwire.Waiting:
		return "not in use before the challenge that was pushed there is answered"
	case r.State == pushwire.Dead && reason != "":
		return fmt.Sprintf("given up (%s): register again with a new address", reason)
	case r.State == pushwire.Dead:
		return "given up: register again with a new address"
	}
	return fmt.Sprintf("in a state that this app does not know (%d): update the app", r.State)
}
