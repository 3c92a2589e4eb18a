package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"whisperpush/pushext/pushserver"
)

// maxListed is how many registrations one answer lists.
const maxListed = 1000

// RegistrationReport is what an operator is told about a registration: nothing that names the device, its address or
// what it listens to. Times are days.
type RegistrationReport struct {
	Name       string        `json:"name"`  // for this run of the node; see sealedNames
	State      string        `json:"state"` // "waiting", "active", "dead", "expired" or "ended"
	Routes     []RouteReport `json:"routes"`
	Channels   int           `json:"channels"`
	Mentions   int           `json:"mentions"` // of the channels, those where only a mention wakes the device
	Muted      int           `json:"muted"`    // of the channels, those silent now
	Registered string        `json:"registered"`
	Expires    string        `json:"expires"`
}

// RouteReport is one way to wake a device.
type RouteReport struct {
	Provider string `json:"provider"`
	Proven   bool   `json:"proven"`
}

// StandingReport is what an operator is told about one registration.
type StandingReport struct {
	RegistrationReport
	Unread  int      `json:"unread"`  // envelopes to wake the device for that it has not fetched
	Pending int      `json:"pending"` // those of them without an accepted wake-up
	Lost    uint32   `json:"lost"`    // matches that ended without an accepted wake-up, in total
	Why     []string `json:"why"`     // why the device is not woken; empty: nothing prevents it
}

// RegistrationPage is a part of the list of registrations.
type RegistrationPage struct {
	Registrations []RegistrationReport `json:"registrations"`
	Next          string               `json:"next"` // where to go on; empty: there are no more
}

// UseReport is how much of a limit is in use.
type UseReport struct {
	What string `json:"what"`
	Used int    `json:"used"`
	Most int    `json:"most"`
}

// Registrations lists the registrations that follow the one named after; an empty name starts at the beginning.
func (a *Admin) Registrations(_ context.Context, after string) (page RegistrationPage, err error) {
	page.Registrations = []RegistrationReport{}
	if a.node.push == nil {
		return page, errPushOff
	}
	var from pushserver.RegistrationID
	if after != "" {
		if from, err = a.names.open(after); err != nil {
			return page, err
		}
	}
	all, next, err := a.node.push.Registrations(from, maxListed, time.Now())
	if err != nil {
		return page, fmt.Errorf("the registrations cannot be read: %w", err)
	}
	for _, s := range all {
		page.Registrations = append(page.Registrations, a.report(s))
	}
	if next != 0 {
		page.Next = a.names.seal(next)
	}
	return page, nil
}

func (a *Admin) report(s pushserver.Summary) RegistrationReport {
	r := RegistrationReport{
		Name: a.names.seal(s.ID), State: stateWord(s.State), Routes: []RouteReport{},
		Channels: s.Every + s.Mentions + s.Muted, Mentions: s.Mentions, Muted: s.Muted,
		Registered: s.Registered.UTC().Format(time.DateOnly), Expires: s.Expires.UTC().Format(time.DateOnly),
	}
	for _, route := range s.Routes {
		r.Routes = append(r.Routes, RouteReport(route))
	}
	return r
}

func stateWord(s pushserver.RegistrationState) string {
	switch s {
	case pushserver.StateWaiting:
		return "waiting"
	case pushserver.StateActive:
		return "active"
	case pushserver.StateDead:
		return "dead"
	case pushserver.StateExpired:
		return "expired"
	}
	return "ended"
}

// Registration describes one registration, and says why its device is not woken.
func (a *Admin) Registration(_ context.Context, name string) (report StandingReport, err error) {
	id, err := a.registration(name)
	if err != nil {
		return report, err
	}
	s, ok, err := a.node.push.Registration(id, time.Now())
	if err != nil {
		return report, fmt.Errorf("the registration cannot be read: %w", err)
	}
	if !ok {
		return report, errGone
	}
	return StandingReport{RegistrationReport: a.report(s.Summary), Unread: s.Unread, Pending: s.Pending, Lost: s.Lost, Why: append([]string{}, s.Hindered...)}, nil
}

var errGone = errors.New("this registration is no longer there, nor is it remembered")

// registration is the id that a name stands for.
func (a *Admin) registration(name string) (pushserver.RegistrationID, error) {
	if a.node.push == nil {
		return 0, errPushOff
	}
	return a.names.open(name)
}

// Revoke ends a registration. It returns false if it had already ended.
func (a *Admin) Revoke(_ context.Context, name string) (bool, error) {
	id, err := a.registration(name)
	if err != nil {
		return false, err
	}
	ended, err := a.node.push.Revoke(id, time.Now())
	if err != nil {
		return false, fmt.Errorf("the registration is not ended: %w", err)
	}
	return ended, nil
}

// Limits returns how much there is of everything that strangers can grow, and its limits.
func (a *Admin) Limits(context.Context) ([]UseReport, error) {
	if a.node.push == nil {
		return nil, errPushOff
	}
	all := []UseReport{}
	for _, use := range a.node.push.Usage() {
		all = append(all, UseReport(use))
	}
	return all, nil
}

// PauseProvider stops attempts through a provider until ResumeProvider, even after a restart. What waits for the
// provider stays.
func (a *Admin) PauseProvider(_ context.Context, name string) (bool, error) {
	return a.onProvider(func() error {
		if err := a.node.push.HoldProvider(name); err != nil {
			return err
		}
		return a.node.paused.note(name, true)
	})
}

// ResumeProvider ends PauseProvider and DrainProvider: what waited is sent.
func (a *Admin) ResumeProvider(_ context.Context, name string) (bool, error) {
	return a.onProvider(func() error {
		if err := a.node.push.ReleaseProvider(name); err != nil {
			return err
		}
		return a.node.paused.note(name, false)
	})
}

// drainTimeout is how long DrainProvider waits for attempts under way. It is longer than an attempt may take.
const drainTimeout = 50 * time.Second

// DrainProvider does what PauseProvider does, and returns when no attempt through the provider is under way.
func (a *Admin) DrainProvider(ctx context.Context, name string) (bool, error) {
	return a.onProvider(func() error {
		ctx, cancel := context.WithTimeout(ctx, drainTimeout)
		defer cancel()
		if _, err := a.PauseProvider(ctx, name); err != nil {
			return err
		}
		err := a.node.push.DrainProvider(ctx, name)
		if errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("the provider %q is paused, and attempts are still under way after %v; drain it again", name, drainTimeout)
		}
		return err
	})
}

func (a *Admin) onProvider(do func() error) (bool, error) {
	if a.node.push == nil {
		return false, errPushOff
	}
	return true, do()
}
