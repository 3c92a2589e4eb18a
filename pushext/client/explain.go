package client

import (
	"fmt"
	"time"

	"whisperpush/pushext/pushwire"
)

// Explain says in plain words, for a settings screen, whether pushes can arrive, and why
// not. The first line is about the registration, then one about fetches if the server
// reports them for an active registration, then one for each route, in the order in which
// they are tried. Each is one sentence, without a full stop. Names of providers and reasons
// are the server's words.
func (s *Status) Explain(now time.Time) []string {
	lines := []string{s.explain(now)}
	delivery := s.Delivery
	if delivery != nil && s.State == pushwire.Active {
		lines = append(lines, explainFetches(delivery, now))
	} else {
		delivery = nil
	}
	for i, r := range s.Routes {
		line := fmt.Sprintf("%s: %s", Printable([]byte(r.Provider)), explainRoute(r))
		if delivery != nil && i < len(delivery.Routes) && r.State == pushwire.Active {
			line += explainDelivery(&delivery.Routes[i], now)
		}
		lines = append(lines, line)
	}
	return lines
}

// explainFetches says when the device last fetched, and what that means for its wake-ups.
func explainFetches(d *pushwire.Delivery, now time.Time) string {
	line := "this device has not fetched yet, as far as the mailserver remembers"
	if d.Fetched != 0 {
		line = "this device last fetched " + ago(d.Fetched, now)
	}
	switch {
	case d.Silenced:
		return line + ", and left so many wake-ups unanswered that it is sent no more of them until it does: open the app"
	case d.Pending > 0:
		if d.Pending == 1 {
			return line + "; a message waits for a wake-up that a push service accepts"
		}
		return fmt.Sprintf("%s; %d messages wait for a wake-up that a push service accepts", line, d.Pending)
	case d.Unread > 0:
		if d.Unread == 1 {
			return line + "; a push service accepted a wake-up for the message that waits"
		}
		return fmt.Sprintf("%s; a push service accepted a wake-up for the %d messages that wait", line, d.Unread)
	}
	return line + ", and nothing waits"
}

// explainDelivery says whether wake-ups get through on a route in use.
func explainDelivery(r *pushwire.RouteDelivery, now time.Time) string {
	line := "; its push service has accepted no wake-up lately"
	if r.Accepted != 0 {
		line = "; its push service last accepted a wake-up " + ago(r.Accepted, now)
	}
	if r.Budget == 0 {
		line += "; as many were sent as it may be sent at once, and the next one waits"
	}
	reason := Printable([]byte(r.Reason))
	switch r.Outcome {
	case pushwire.TestWaiting:
		line += fmt.Sprintf("; the test push of %s waits for the push service", ago(r.Tested, now))
	case pushwire.TestAccepted:
		line += fmt.Sprintf("; the push service accepted the test push of %s: if it did not arrive, look at the phone's settings for the app", ago(r.Tested, now))
	case pushwire.TestFailed:
		line += fmt.Sprintf("; the push service did not accept the test push of %s (%s)", ago(r.Tested, now), reason)
	case pushwire.TestHeld:
		line += fmt.Sprintf("; the test push of %s was not sent, as that would be more than the push service allows", ago(r.Tested, now))
	}
	return line
}

// ago is how long a time lies before now, in words.
func ago(seconds uint64, now time.Time) string {
	past := now.Sub(time.Unix(int64(min(seconds, 1<<40)), 0))
	switch {
	case past < time.Minute:
		return "less than a minute ago"
	case past < 2*time.Hour:
		return fmt.Sprintf("%d minutes ago", int(past.Minutes()))
	case past < 48*time.Hour:
		return fmt.Sprintf("%d hours ago", int(past.Hours()))
	}
	return fmt.Sprintf("%d days ago", int(past.Hours()/24))
}

// soonOver is how long before its end Explain says that a registration ends.
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
