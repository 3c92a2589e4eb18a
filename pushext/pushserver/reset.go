package pushserver

import (
	"time"

	"whisperpush/pushext"
	"whisperpush/pushext/pushwire"
)

// terms are what a server may be given anew while it runs, as far as it keeps them itself.
type terms struct {
	limits pushwire.Limits // that clients are told
	ttl    time.Duration
}

// sweepEvery is how often the outbox is looked through.
func (t *terms) sweepEvery() time.Duration {
	return min(max(t.ttl/outboxSweeps, time.Minute), time.Hour)
}

// Settings are what a running Server can be given anew. As in Config, zero fields mean defaults.
type Settings struct {
	Limits   Limits
	Delivery Delivery
	// Providers are all that there are from now on; one that stays may be the same instance. What waits for one that is
	// not among them goes through the next route of its device, and where there is none ends as undeliverable.
	Providers []pushext.Provider
}

// Prepare checks settings for a server that runs. The error says what is wrong with them, or why they need a new
// Server, and nothing has changed then. apply, which is called once or never, cannot fail: no request, match or attempt
// is lost or done twice by it, and an attempt that is under way ends with the provider that it began with. Limits on
// what waits in memory, on codes and on rates of requests stay those of New.
func (x *Server) Prepare(s Settings) (apply func(), err error) {
	limits := s.Limits.WithDefaults()
	delivery, err := s.Delivery.WithDefaults()
	if err != nil {
		return nil, err
	}
	delivery.SealedOnly = limits.SealedOnly
	if err := x.dispatcher.CanReset(delivery, s.Providers); err != nil {
		return nil, err
	}
	return func() {
		x.registry.SetTerms(limits, s.Providers)
		x.protocol.SetLimits(limits)
		x.outbox.SetPatience(delivery.TTL, delivery.SilentAfter)
		x.follower.SetFanOut(delivery.FanOut)
		x.dispatcher.Reset(delivery, s.Providers)
		x.terms.Store(&terms{limits.Wire(), delivery.TTL})
		select {
		case x.retimed <- struct{}{}:
		default:
		}
	}, nil
}
