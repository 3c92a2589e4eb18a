package pushserver

import (
	"context"
	"fmt"
	"time"

	"whisperpush/pushext/pushserver/dispatch"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/registry"
)

// What an operator is told and asks for, by the names of the parts that know it.
type (
	// Summary is what an operator is told of a registration. No address, key or topic is in it.
	Summary = registry.Summary
	// RegistrationID numbers a registration on this server. It is shown to nobody as it is.
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

// Standing is what an operator is told of one registration.
type Standing struct {
	Summary
	Unread   int      // envelopes that its device was to be woken for and has not fetched
	Pending  int      // of those, covered by no wake-up that was accepted
	Lost     uint32   // matches that ended without a wake-up that was accepted, ever
	LostTo   string   // why the latest of those did; empty if none
	Hindered []string // why its device is not woken, in plain words; empty: nothing is in the way
}

// Use is how much there is of something that has a limit.
type Use struct {
	What       string
	Used, Most int
}

// Registrations lists the registrations above an id, ascending, at most limit of them. next is the id to go on from, 0
// if there are no more.
func (x *Server) Registrations(after RegistrationID, limit int, now time.Time) (all []Summary, next RegistrationID, err error) {
	return x.registry.List(after, limit, now)
}

// Registration tells about one registration, and why its device is not woken; false if there is none.
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

// hindrances are why a device is not woken.
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

// waits says in plain words what a device's wake-up waits for.
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

// Revoke ends a registration. Its device learns of it with its next request, and may register again. It reports whether
// there was one.
func (x *Server) Revoke(id RegistrationID, now time.Time) (bool, error) {
	return x.registry.Revoke(id, now)
}

// Usage is how much there is of what strangers can grow, and how much there may be.
func (x *Server) Usage() []Use {
	n, limits := x.registry.Counts(), x.registry.Limits()
	return []Use{
		{"registrations", n.Unconfirmed + n.Registered, limits.Registrations},
		{"registrations that never proved an address", n.Unconfirmed, limits.Unconfirmed},
		{"registrations that ended, remembered", n.Tombstones, limits.Tombstones},
		{"channels", n.Channels, limits.AllChannels},
	}
}

// HoldProvider starts no attempt through a provider until ReleaseProvider; what waits for it stays.
func (x *Server) HoldProvider(name string) error { return x.dispatcher.Hold(name) }

// ReleaseProvider ends HoldProvider.
func (x *Server) ReleaseProvider(name string) error { return x.dispatcher.Release(name) }

// DrainProvider is HoldProvider, and returns when no attempt is under way, or ctx ends.
func (x *Server) DrainProvider(ctx context.Context, name string) error {
	return x.dispatcher.Drain(ctx, name)
}
