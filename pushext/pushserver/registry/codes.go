package registry

import (
	"math"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common/lru"

	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/spacing"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// How many codes may be on their way. A code is on its way for as long as its push
// service takes to answer, three attempts at worst.
const (
	// maxCodes bounds those to one provider. Providers are the operator's, so one
	// that does not answer costs the users of another nothing.
	maxCodes = 1024
	// maxLaneCodes bounds those to one host of a provider with many, which
	// strangers name.
	maxLaneCodes = 64
	// maxSourceCodes bounds those that one source asked for.
	maxSourceCodes = 32
)

const (
	// deadCost is what a dead address costs of its source's budget, in addresses.
	// Hardly any device registers one, and push services count them against the
	// server.
	deadCost = 16
	// budgetBurst limits what a source may use at once: one part in budgetBurst of its day.
	budgetBurst = 8
	// maxCodeSources bounds the sources whose budget is remembered. One that was
	// forgotten begins with a full one.
	maxCodeSources = 1 << 16
)

// codes shares out what challenges cost: the room for those on their way, a budget of
// each source, and the challenges of each address. A code is charged when a push service
// took it; until then its cost is held, so that no two codes pass together. It is safe
// for concurrent use.
type codes struct {
	perAddress int            // in a challengeDay
	budget     pushext.Budget // of a source

	// mu guards the following fields. They hold what is on its way.
	mu        sync.Mutex
	providers map[string]int
	lanes     map[registration.Lane]int // with a host
	sources   map[whisper.Source]int
	addresses map[[16]byte]int
	spent     lru.BasicLRU[whisper.Source, spacing.Bucket]
}

func newCodes(l registration.Limits) *codes {
	return &codes{
		perAddress: l.Challenges,
		budget: pushext.Budget{
			Burst: max(l.ChallengedPerSource/budgetBurst, 1),
			Every: challengeDay / time.Duration(max(l.ChallengedPerSource, 1)),
		},
		providers: make(map[string]int),
		lanes:     make(map[registration.Lane]int),
		sources:   make(map[whisper.Source]int),
		addresses: make(map[[16]byte]int),
		spent:     lru.NewBasicLRU[whisper.Source, spacing.Bucket](maxCodeSources),
	}
}

// paced is the budget of a source when a part of the server's day is left, in (0, 1]: the
// less is left for all, the slower each source gets it. So sources never spend the day,
// however many there are, and one that comes late still has its part of the rest.
func (c *codes) paced(left float64) pushext.Budget {
	return pushext.Budget{
		Burst: max(int(math.Ceil(float64(c.budget.Burst)*left)), 1),
		Every: time.Duration(float64(c.budget.Every) / left),
	}
}

// hold holds what a code needs until release, and sets the fare's cost. served is how
// many codes the address was sent in the past challengeDay, left the part of the server's
// day that is left. The error is a *registration.Refusal.
func (c *codes) hold(f *registration.Fare, served int, left float64, now time.Time) error {
	budget := c.paced(left)
	c.mu.Lock()
	defer c.mu.Unlock()
	spent, _ := c.spent.Get(f.Source)
	switch {
	case served+c.addresses[f.Address] >= c.perAddress:
		return registration.Refuse(pushwire.Limit, "this address was challenged %d times in a day; repeat tomorrow", c.perAddress)
	case c.sources[f.Source] >= maxSourceCodes:
		return registration.Refuse(pushwire.Busy, "%d codes are on their way for your network; repeat in a minute", maxSourceCodes)
	case c.providers[f.Lane.Provider] >= maxCodes, f.Lane.Host != "" && c.lanes[f.Lane] >= maxLaneCodes:
		return registration.Refuse(pushwire.Busy, "the push service has not answered for very many codes; repeat in a minute")
	case spent.Wait(now, budget) > 0:
		return registration.Refuse(pushwire.Busy, "too many addresses were challenged for your network today; repeat in %v",
			(spent.Wait(now, budget) + time.Second).Truncate(time.Second))
	}
	c.count(*f, 1)
	f.Cost = budget.Every
	spent.Take(now, budget)
	c.spent.Add(f.Source, spent)
	return nil
}

// release gives back what is held for a code, as far as its push service did
// nothing for it.
func (c *codes) release(f registration.Fare, v pushext.Class) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count(f, -1)
	spent, known := c.spent.Peek(f.Source)
	switch {
	case !known || v == pushext.Delivered:
		return
	case v == pushext.TokenDead:
		spent.Full = spent.Full.Add((deadCost - 1) * f.Cost)
	default:
		spent.Full = spent.Full.Add(-f.Cost)
	}
	c.spent.Add(f.Source, spent)
}

// onTheirWay is how many codes are on their way.
func (c *codes) onTheirWay() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, held := range c.providers {
		n += held
	}
	return n
}

func (c *codes) count(f registration.Fare, n int) {
	add(c.providers, f.Lane.Provider, n)
	if f.Lane.Host != "" {
		add(c.lanes, f.Lane, n)
	}
	add(c.sources, f.Source, n)
	add(c.addresses, f.Address, n)
}

// add changes a count, and forgets it at zero.
func add[K comparable](counts map[K]int, key K, n int) {
	if counts[key] += n; counts[key] == 0 {
		delete(counts, key)
	}
}
