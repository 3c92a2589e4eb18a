package cluster

import (
	"whisperpush/pushext/pushserver"
)

// Prepare checks settings for a running node, as pushserver.Server.Prepare does for each of its
// shards. Nothing has changed when the error is not nil. Otherwise the caller must call either
// apply or drop, once. No shard is opened until then, so a shard that the node takes over
// meanwhile does not start with the former settings. The other nodes have settings of their own.
func (s *Server) Prepare(next pushserver.Settings) (apply, drop func(), err error) {
	delivery, err := divideDelivery(next.Delivery, next.Providers)
	if err != nil {
		return nil, nil, err
	}
	limits, part := next.Limits.WithDefaults(), next
	part.Limits, part.Delivery = divideLimits(next.Limits), delivery
	s.resetting.Lock()
	var applies []func()
	for _, c := range s.cores() {
		one, err := c.server.Prepare(part)
		if err != nil {
			s.resetting.Unlock()
			return nil, nil, err
		}
		applies = append(applies, one)
	}
	return func() {
		defer s.resetting.Unlock()
		s.cfg.Push.Limits, s.cfg.Push.Delivery, s.cfg.Push.Providers = part.Limits, part.Delivery, part.Providers
		s.limits.Store(&limits)
		for _, one := range applies {
			one()
		}
	}, s.resetting.Unlock, nil
}
