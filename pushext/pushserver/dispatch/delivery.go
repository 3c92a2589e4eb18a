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
	// TTL is how long the server tries to wake a device for an envelope, and how long push
	// services keep a wake-up for a device that is offline. 0 is 24 h.
	TTL time.Duration

	// SealedOnly sends nothing to registrations that asked for the plain form. It is
	// Limits.SealedOnly.
	SealedOnly bool

	// SilentAfter is how many wake-ups in a row a device may leave unfetched; then it is
	// left alone until it fetches or registers. 0 is 30, negative no limit.
	SilentAfter int

	// Budget limits each device; Budgets replaces it for the devices of a provider, by name.
	// The zero Budget is 20 at once and then one in 10 s: far below what FCM (240 a minute)
	// and APNs take, and never the reason that a device that fetches misses the 15 s. FCM's
	// limit of 20 and then one in 3 minutes is not our budget: it is for collapsible
	// messages alone, a device that fetches is sent no more of them
	// (Notification.Unreplaced), and waiting 3 minutes here would miss what FCM might still
	// deliver in time.
	Budget  pushext.Budget
	Budgets map[string]pushext.Budget

	// Rates limits the attempts a second of each lane of a provider, by the provider's name,
	// so that wake-ups that piled up during an outage do not arrive as a burst after it.
	// Without an entry the limit is what the push service documents (Paced), or none. 0 and
	// less is no limit; above MaxRate is an error.
	Rates map[string]float64

	// FanOut is the largest number of registrations woken for one envelope, where more than
	// 256 listen to its topic. The ones left out are chosen by lot and counted; they find the envelope with their next fetch. 0 is
	// 100,000, negative no bound.
	FanOut int

	// LadderDelay is how long a device with several routes may take to fetch
	// before its next route is tried. 0 is 30 s.
	LadderDelay time.Duration

	// LinkDelay is LadderDelay for a device that was rung over its own link: one
	// that is there fetches at once. 0 is 5 s, which leaves the next route two
	// thirds of PromisedLatency.
	LinkDelay time.Duration

	// Jitter and Batch blur when a wake-up leaves for a push service, so that an observer of
	// both the service and the public envelopes learns less from the time about which
	// envelope it was for. A wake-up waits for the next full Batch of the clock, when those
	// of all devices leave together, and then for a random part of Jitter. Envelopes that
	// match meanwhile go with it. The cost is latency: Batch/2 + Jitter/2 on average, Batch
	// + Jitter at most; above about 10 s PromisedLatency is not kept. Rings over a device's
	// own link do not wait: nobody else sees them. 0, the default, is no wait.
	Jitter, Batch time.Duration

	// AttemptTimeout ends an attempt. 0 is 10 s.
	AttemptTimeout time.Duration

	// Concurrency is how many attempts a provider with one lane makes at once, and
	// HostConcurrency how many each lane makes of a provider whose addresses lead to many
	// hosts. 0 is 64 and 4.
	Concurrency, HostConcurrency int

	// MaxInFlight bounds all attempts at once. 0 is 1024. Each provider with one lane has
	// its Concurrency of them for itself, and links to devices share twice that. Hosts that
	// users name, as many as they like, share the rest, where their domains take turns. Less
	// than one for each is an error.
	MaxInFlight int
}

// MaxRate bounds Delivery.Rates: more than any push service takes, or one server sends.
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

// budget is the budget of a provider's devices.
func (d *Delivery) budget(provider string) pushext.Budget {
	if b, ok := d.Budgets[provider]; ok {
		return b
	}
	return d.Budget
}
