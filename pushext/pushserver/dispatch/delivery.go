package dispatch

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/spacing"
)

// Delivery says how devices are woken. The zero value means the defaults.
type Delivery struct {
	// TTL is for how long a device is to be woken for an envelope, and how
	// long push services keep a wake-up for a device that is offline. 0 is 24 h.
	TTL time.Duration

	// SealedOnly sends nothing to registrations that asked for the plain form. It is that of
	// the Limits.
	SealedOnly bool

	// SilentAfter is how many wake-ups in a row a device may leave unfetched;
	// then it is left alone until it fetches or registers. 0 is 30, negative
	// never.
	SilentAfter int

	// Budget is that of each device, and Budgets that of devices of a
	// provider by name. The zero Budget is 20 at once and then one in 10 s: far
	// below what FCM (240 a minute) and APNs take, and never the reason for
	// missing the 15 s of a device that fetches. FCM's limit of 20 and then one
	// in 3 minutes is no budget of ours: it is for collapsible messages alone,
	// a device that fetches is sent no more of them (Notification.Unreplaced), and
	// waiting 3 minutes here would miss what FCM might still deliver in time.
	Budget  pushext.Budget
	Budgets map[string]pushext.Budget

	// Rates is how many attempts a second each lane of a provider makes at most,
	// by the provider's name, so that what piled up during an outage does not
	// arrive as a burst after it. Without an entry it is what the provider's push
	// service documents (Paced), else no bound; 0 and less is no bound. Above
	// MaxRate is an error.
	Rates map[string]float64

	// FanOut is how many registrations are woken for one envelope at most: who
	// is left out, by lot, finds it with the next fetch, and it is counted.
	// 0 is 100,000, negative no bound.
	FanOut int

	// LadderDelay is how long a device with several routes may take to fetch
	// before its next route is tried. 0 is 30 s.
	LadderDelay time.Duration

	// LinkDelay is LadderDelay for a device that was rung over its own link: one
	// that is there fetches at once. 0 is 5 s, which leaves the next route two
	// thirds of PromisedLatency.
	LinkDelay time.Duration

	// Jitter and Batch blur when a wake-up leaves for a push service, so that who
	// sees the service's side and the public envelopes learns less from the time
	// which of them it was for. A wake-up waits for the next full Batch of the
	// clock, when those of all devices leave together, and then for a random
	// part of Jitter. What matches meanwhile goes with it. The cost is latency:
	// Batch/2 + Jitter/2 on average, Batch + Jitter at most; above about 10 s
	// PromisedLatency is not kept. Rings over a device's own link do not wait:
	// nobody else sees them. 0, the default, is no wait.
	Jitter, Batch time.Duration

	// AttemptTimeout ends an attempt. 0 is 10 s.
	AttemptTimeout time.Duration

	// Concurrency is how many attempts a provider with one lane makes at once, and
	// HostConcurrency a lane of a provider whose addresses lead to many hosts.
	// 0 is 64 and 4.
	Concurrency, HostConcurrency int

	// MaxInFlight bounds all attempts at once. 0 is 1024. Each provider with one
	// lane has its Concurrency of them for itself, links to devices together twice
	// that, and hosts that users name, which are as many as a user likes, together what
	// is left; there the domains they belong to take turns. Less than one for each is
	// an error.
	MaxInFlight int
}

// MaxRate bounds Delivery.Rates: more than any push service takes, and than one
// server sends.
const MaxRate = 1e6

var errDelivery = errors.New("bad delivery setting")

// WithDefaults returns d complete, or what is wrong with it.
func (d Delivery) WithDefaults() (Delivery, error) {
	for name, v := range map[string]time.Duration{
		"TTL": d.TTL, "LadderDelay": d.LadderDelay, "LinkDelay": d.LinkDelay, "AttemptTimeout": d.AttemptTimeout, "Budget.Every": d.Budget.Every,
		"Jitter": d.Jitter, "Batch": d.Batch,
	} {
		if v < 0 {
			return d, fmt.Errorf("%w: %s is negative: %v", errDelivery, name, v)
		}
	}
	for name, v := range map[string]int{
		"Concurrency": d.Concurrency, "HostConcurrency": d.HostConcurrency, "MaxInFlight": d.MaxInFlight, "Budget.Burst": d.Budget.Burst,
	} {
		if v < 0 {
			return d, fmt.Errorf("%w: %s is negative: %d", errDelivery, name, v)
		}
	}
	for name, b := range d.Budgets {
		if b.Burst < 1 || b.Every < 0 {
			return d, fmt.Errorf("%w: budget of provider %q: burst %d, every %v", errDelivery, name, b.Burst, b.Every)
		}
	}
	for name, rate := range d.Rates {
		if !(rate <= MaxRate) { // NaN too
			return d, fmt.Errorf("%w: rate of provider %q: %v a second, at most %v", errDelivery, name, rate, MaxRate)
		}
	}
	set(&d.TTL, 24*time.Hour)
	set(&d.SilentAfter, 30)
	if d.SilentAfter < 0 {
		d.SilentAfter = 0 // never, from here on
	}
	set(&d.FanOut, 100_000)
	d.FanOut = max(d.FanOut, 0) // no bound, from here on
	if d.Budget == (pushext.Budget{}) {
		d.Budget = pushext.Budget{Burst: 20, Every: 10 * time.Second}
	}
	set(&d.LadderDelay, 30*time.Second)
	set(&d.LinkDelay, 5*time.Second)
	set(&d.AttemptTimeout, 10*time.Second)
	set(&d.Concurrency, 64)
	set(&d.HostConcurrency, 4)
	set(&d.MaxInFlight, 1024)
	return d, nil
}

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// leave is when a wake-up that is ready at now may leave for a push service.
func (d *Delivery) leave(now time.Time) time.Time {
	if d.Batch > 0 {
		now = now.Truncate(d.Batch).Add(d.Batch)
	}
	if d.Jitter > 0 {
		now = now.Add(rand.N(d.Jitter))
	}
	return now
}

// departure is when a wake-up that is ready at now may leave, and what it waits for:
// nothing, if cause is empty. blur says that it has not waited for Jitter and Batch yet.
func (d *Delivery) departure(now time.Time, spent *spacing.Bucket, budget pushext.Budget, blur bool) (cause string, at time.Time) {
	if pause := spent.Wait(now, budget); pause > 0 {
		return causeBudget, now.Add(pause)
	}
	if blur {
		if at := d.leave(now); at.After(now) {
			return causeBlur, at
		}
	}
	return "", now
}

// budget is that of devices of a provider.
func (d *Delivery) budget(provider string) pushext.Budget {
	if b, ok := d.Budgets[provider]; ok {
		return b
	}
	return d.Budget
}
