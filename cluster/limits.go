package cluster

import (
	"maps"

	"whisperpush/postgres"
	"whisperpush/pushext"
	"whisperpush/pushext/pushserver"
)

const (
	// minPerSource is the least that a shard grants one source where a limit is per source: the
	// registrations of a source are spread over the shards by chance.
	minPerSource = 4
	// minQueue is the least number of requests that may wait at a shard.
	minQueue = 64
)

// share is a shard's part of a limit.
func share(all int) int { return (all + postgres.ShardCount - 1) / postgres.ShardCount }

// divideLimits returns each shard's part of the limits for all.
func divideLimits(l pushserver.Limits) pushserver.Limits {
	l = l.WithDefaults()
	l.Registrations = share(l.Registrations)
	l.AllChannels = max(share(l.AllChannels), l.Channels)
	l.Unconfirmed = share(l.Unconfirmed)
	l.UnconfirmedPerSource = max(share(l.UnconfirmedPerSource), minPerSource)
	l.PerSource = max(share(l.PerSource), minPerSource)
	l.Challenged = share(l.Challenged)
	l.ChallengedPerSource = max(share(l.ChallengedPerSource), minPerSource)
	l.Tombstones = share(l.Tombstones)
	l.Replays = share(l.Replays)
	l.Queue = max(share(l.Queue), minQueue)
	if l.PoW == 0 {
		l.PoW = -1 // zero would mean the default
	}
	return l
}

// divideDelivery returns each shard's part of what all may do at push services.
func divideDelivery(d pushserver.Delivery, providers []pushext.Provider) (pushserver.Delivery, error) {
	silent, fanOut := d.SilentAfter, d.FanOut
	d, err := d.WithDefaults()
	if err != nil {
		return d, err
	}
	d.Concurrency = share(d.Concurrency)
	d.HostConcurrency = share(d.HostConcurrency)
	d.MaxInFlight = max(share(d.MaxInFlight), len(providers)*d.Concurrency)
	rates := maps.Clone(d.Rates)
	if rates == nil {
		rates = map[string]float64{}
	}
	for _, p := range providers {
		rate, set := rates[p.Name()]
		if paced, ok := p.(pushext.Paced); ok && !set {
			rate = paced.Rate()
		}
		if rate > 0 {
			rates[p.Name()] = rate / postgres.ShardCount
		}
	}
	d.Rates = rates
	if fanOut > 0 || fanOut == 0 {
		d.FanOut = share(d.FanOut)
	} else {
		d.FanOut = fanOut // no bound
	}
	if silent < 0 {
		d.SilentAfter = silent // never
	}
	return d, nil
}
