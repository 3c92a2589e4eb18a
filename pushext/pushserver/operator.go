package pushserver

import (
	"context"
	"fmt"
	"time"

	"whisperpush/pushext/pushserver/dispatch"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/registry"
)

// What an operator sees and asks for, under the names of the parts that know it.
type (
	// Summary is what an operator sees of a registration. It holds no address, key or topic.
	Summary = registry.Summary
	// RegistrationID numbers a registration on this server. It is never shown as it is.
	RegistrationID = registration.ID
	// RegistrationState is where a registration is in its life.
	RegistrationState = registration.State
)

// States of registrations.
const (
	StateWaiting    = registration.Waiting
	StateActive     = registration.Active
	StateDead       = registration.Dead
	StateExpired    = registration.Expired
	StateTerminated = registration.Terminated
)

// Standing is what an operator sees of one registration and its wake-ups.
type Standing struct {
	Summary
	Unread   int      // envelopes that its device was to be woken for and has not fetched
	Pending  int      // of those, not covered by an accepted wake-up
	Lost     uint32   // matches that ever ended without an accepted wake-up
	LostTo   string   // why the latest of those did; empty: there are none
	Hindered []string // why its device is not woken, in plain words; empty: nothing is in the way
}

// Use is how much of a limited resource is in use.
type Use struct {
	What       string
	Used, Most int
}

// Registrations lists at most limit registrations with ids above after, in ascending order. next is the id to continue
// from, or 0 if there are no more.
func (x *Server) Registrations(after RegistrationID, limit int, now time.Time) (all []Summary, next RegistrationID, err error) {
	return x.registry.List(after, limit, now)
}

// Registration describes one registration and says why its device is not woken; false if there is none.
func (x *Server) Registration(id RegistrationID, now time.Time) (s Standing, ok bool, err error) {
	if s.Summary, ok, err = x.registry.Summary(id, now); err != nil || !ok {
		return Standing{}, false, err
	}
	if s.State == registration.Expired || s.State == registration.Terminated {
		s.Hindered = x.hindrances(&s, false, now)
		return s, true, nil
	}
	status, err := x.outbox.Status(id)
	if err != nil {
		return Standing{}, false, fmt.Errorf("read what a device is to be woken for: %w", err)
	}
	s.Unread, s.Pending, s.Lost, s.LostTo = status.Unread, status.Pending, status.Lost, status.Reason
	s.Hindered = x.hindrances(&s, status.Silenced, now)
	return s, true, nil
}

// hindrances returns why a device is not woken.
func (x *Server) hindrances(s *Standing, silenced bool, now time.Time) (why []string) {
	say := func(format string, args ...any) { why = append(why, fmt.Sprintf(format, args...)) }
	switch s.State {
	case registration.Waiting:
		say("it has not proved its address by the code that was pushed to it")
	case registration.Dead:
		if s.Moved {
			say("another registration has confirmed its address; the device learns of it with its next request")
		} else {
			say("its push service says that its address is gone; the device learns of it with its next request")
		}
		return why
	case registration.Expired:
		say("its lifetime ended at %s and the device has not renewed it", s.Expires.UTC().Format(time.DateOnly))
		return why
	case registration.Terminated:
		say("it was ended by the device or the operator")
		return why
	}
	switch {
	case s.Every+s.Mentions+s.Muted == 0:
		say("it listens to no channel")
	case s.Every+s.Mentions == 0:
		say("all of its channels are muted")
	case s.Every == 0:
		say("its channels wake it for mentions alone")
	}
	if silenced {
		say("it has left %d wake-ups in a row unfetched and is left alone until it fetches again (Push.Delivery.SilentAfter)", x.dispatcher.SilentAfter())
	}
	states := make(map[string]dispatch.State)
	for _, p := range x.dispatcher.States(now) {
		states[p.Name] = p
	}
	for i, route := range s.Routes {
		p, configured := states[route.Provider]
		switch {
		case !configured:
			say("its route %d leads to the provider %q, which is not configured", i+1, route.Provider)
		case !route.Proven && s.State == registration.Active:
			say("its route %d, through %q, is not proved and not used", i+1, route.Provider)
		case p.Held:
			say("the provider %q was paused by the operator", p.Name)
		case p.Paused:
			say("the provider %q is paused: %s", p.Name, p.Cause)
		case p.Failing:
			say("the provider %q fails: %s", p.Name, p.Cause)
		}
	}
	if w, busy := x.dispatcher.Waiting(s.ID); busy && (s.Pending > 0 || !w.Trying) {
		if text := waits(w); text != "" {
			say("%s", text)
		}
	}
	if len(why) == 0 && s.Unread == 0 {
		say("nothing that it has not fetched was archived for it")
	}
	if len(why) == 0 && s.Pending == 0 {
		say("a wake-up for all that it has not fetched was accepted by its push service; the device has not fetched since")
	}
	return why
}

// waits says in plain words what a device's wake-up is waiting for.
func waits(w dispatch.Waiting) string {
	text := map[string]string{
		"budget": "it has had as many wake-ups as a device may have for now (Push.Delivery.Burst and Every)",
		"blur":   "it waits for Push.Delivery.Jitter and Batch",
		"rate":   "the provider's rate is reached",
		"quiet":  "only a dismissal waits, which is not urgent",
		"absent": "the device is not connected, and has no other route",
		"disk":   "the push database does not take what is written to it",
	}[w.Cause]
	switch {
	case text != "":
		return text
	case w.Failed > 0:
		return fmt.Sprintf("%d attempts in a row failed for it; it is tried again", w.Failed)
	case w.Queued && w.Provider != "":
		return fmt.Sprintf("it waits for its turn at the provider %q", w.Provider)
	}
	return ""
}

// Revoke ends a registration. Its device learns of it with its next request, and may register again. Revoke reports
// whether there was one.
func (x *Server) Revoke(id RegistrationID, now time.Time) (bool, error) {
	return x.registry.Revoke(id, now)
}

// Usage returns the use and the limit of everything that strangers can grow.
func (x *Server) Usage() []Use {
	n, limits := x.registry.Counts(), x.registry.Limits()
	return []Use{
		{"registrations", n.Unconfirmed + n.Registered, limits.Registrations},
		{"registrations that never proved an address", n.Unconfirmed, limits.Unconfirmed},
		{"registrations that ended, remembered", n.Tombstones, limits.Tombstones},
		{"channels", n.Channels, limits.AllChannels},
	}
}

// HoldProvider stops new attempts through a provider until ReleaseProvider; what waits for the provider stays.
func (x *Server) HoldProvider(name string) error { return x.dispatcher.Hold(name) }

// ReleaseProvider ends HoldProvider.
func (x *Server) ReleaseProvider(name string) error { return x.dispatcher.Release(name) }

// DrainProvider is HoldProvider, but returns only when no attempt is under way or ctx ends.
func (x *Server) DrainProvider(ctx context.Context, name string) error {
	return x.dispatcher.Drain(ctx, name)
}
