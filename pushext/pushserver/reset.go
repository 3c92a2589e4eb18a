package pushserver

import (
	"time"

	"whisperpush/pushext"
	"whisperpush/pushext/pushwire"
)

// terms are the settings that Server keeps itself and that may change while it runs.
type terms struct {
	limits pushwire.Limits // as clients are told
	ttl    time.Duration
}

// sweepEvery is the interval between two sweeps of the outbox.
func (t *terms) sweepEvery() time.Duration {
	return min(max(t.ttl/outboxSweeps, time.Minute), time.Hour)
}

// Settings are what can be changed in a running Server. As in Config, zero fields mean defaults.
type Settings struct {
	Limits   Limits
	Delivery Delivery
	// Providers replace all providers; one that stays may be the same instance. What waits for a provider that is no
	// longer among them goes through the next route of its device, or ends as undeliverable if there is none.
	Providers []pushext.Provider
}

// Prepare checks settings for a running server. The error says what is wrong with them, or why they need a new Server,
// and then nothing has changed. apply, which is called once or never, cannot fail. It loses no request, match or
// attempt and does none twice, and an attempt that is under way ends with the provider that it began with. Limits on
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
