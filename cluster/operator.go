package cluster

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"whisperpush/pushext/pushserver"
)

// Registrations lists the registrations of this node's shards, as pushserver.Server does.
func (s *Server) Registrations(after pushserver.RegistrationID, limit int, now time.Time) (all []pushserver.Summary, next pushserver.RegistrationID, err error) {
	more := false
	for _, c := range s.cores() {
		some, rest, err := c.server.Registrations(after, limit, now)
		if err != nil {
			return nil, 0, err
		}
		all, more = append(all, some...), more || rest != 0
	}
	slices.SortFunc(all, func(a, b pushserver.Summary) int { return cmp.Compare(a.ID, b.ID) })
	if more = more || len(all) > limit; len(all) > limit {
		all = all[:limit]
	}
	if more && len(all) > 0 {
		next = all[len(all)-1].ID
	}
	return all, next, nil
}

// Registration describes a registration in one of this node's shards.
func (s *Server) Registration(id pushserver.RegistrationID, now time.Time) (pushserver.Standing, bool, error) {
	for _, c := range s.cores() {
		if standing, ok, err := c.server.Registration(id, now); ok || err != nil {
			return standing, ok, err
		}
	}
	return pushserver.Standing{}, false, nil
}

// Revoke ends a registration in one of this node's shards.
func (s *Server) Revoke(id pushserver.RegistrationID, now time.Time) (bool, error) {
	for _, c := range s.cores() {
		if ended, err := c.server.Revoke(id, now); ended || err != nil {
			return ended, err
		}
	}
	return false, nil
}

// Usage is the usage of this node's shards, added up.
func (s *Server) Usage() (all []pushserver.Use) {
	for _, c := range s.cores() {
		for i, use := range c.server.Usage() {
			if i == len(all) {
				all = append(all, pushserver.Use{What: use.What})
			}
			all[i].Used += use.Used
			all[i].Most += use.Most
		}
	}
	return all
}

// HoldProvider does what pushserver.Server's does, for this node only, including shards that it
// takes over later.
func (s *Server) HoldProvider(name string) error {
	s.setHeld(name, true)
	err := s.each(func(c *pushserver.Server) error { return c.HoldProvider(name) })
	if err != nil {
		s.setHeld(name, false)
	}
	return err
}

// ReleaseProvider ends HoldProvider.
func (s *Server) ReleaseProvider(name string) error {
	s.setHeld(name, false)
	return s.each(func(c *pushserver.Server) error { return c.ReleaseProvider(name) })
}

// DrainProvider does what HoldProvider does, and returns when no attempt of this node is under
// way, or ctx ends.
func (s *Server) DrainProvider(ctx context.Context, name string) error {
	if err := s.HoldProvider(name); err != nil {
		return err
	}
	return s.each(func(c *pushserver.Server) error { return c.DrainProvider(ctx, name) })
}

func (s *Server) each(do func(*pushserver.Server) error) (err error) {
	for _, c := range s.cores() {
		err = errors.Join(err, do(c.server))
	}
	return err
}

// setHeld notes whether a provider is held, for cores that start later.
func (s *Server) setHeld(name string, held bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !held {
		delete(s.held, name)
		return
	}
	if s.held == nil {
		s.held = make(map[string]bool)
	}
	s.held[name] = true
}

// holdHeld holds the held providers for a core that was not known yet when they began to be held.
func (s *Server) holdHeld(c *core) {
	s.mu.Lock()
	names := make([]string, 0, len(s.held))
	for name := range s.held {
		names = append(names, name)
	}
	s.mu.Unlock()
	for _, name := range names {
		c.server.HoldProvider(name) // the other cores have it too
	}
}
