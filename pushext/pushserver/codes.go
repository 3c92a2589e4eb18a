package pushserver

import (
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common/lru"

	"whisperpush/pushext"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// How many codes are on their way at most. A code is on its way for as long as
// its push service takes to answer, three attempts at the worst.
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
	// budgetBurst is 1/budgetBurst: the part of a source's day that it may use at once.
	budgetBurst = 8
	// maxCodeSources bounds the sources whose budget is remembered. One that was
	// forgotten begins with a full one.
	maxCodeSources = 1 << 16
)

// codes shares out what challenges cost: the room for those on their way, a
// budget of each source, and the challenges of each address. It is charged when
// a push service took a code; what is on its way is held until then, so that no
// two pass together. It is safe for concurrent use.
type codes struct {
	perAddress int            // in a challengeDay
	budget     pushext.Budget // of a source

	// mu guards the following fields. They hold what is on its way.
	mu        sync.Mutex
	providers map[string]int
	lanes     map[laneKey]int // with a host
	sources   map[whisper.Source]int
	addresses map[[16]byte]int
	spent     lru.BasicLRU[whisper.Source, bucket]
}

func newCodes(l Limits) *codes {
	return &codes{
		perAddress: l.Challenges,
		budget: pushext.Budget{
			Burst: max(l.ChallengedPerSource/budgetBurst, 1),
			Every: challengeDay / time.Duration(max(l.ChallengedPerSource, 1)),
		},
		providers: make(map[string]int),
		lanes:     make(map[laneKey]int),
		sources:   make(map[whisper.Source]int),
		addresses: make(map[[16]byte]int),
		spent:     lru.NewBasicLRU[whisper.Source, bucket](maxCodeSources),
	}
}

// hold holds what a code needs until release. served is how many the address
// was sent in the past challengeDay. The error is a *refusal.
func (c *codes) hold(f fare, served int, now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	spent, _ := c.spent.Get(f.source)
	switch {
	case served+c.addresses[f.address] >= c.perAddress:
		return refuse(pushwire.Limit, "this address was challenged %d times in a day; repeat tomorrow", c.perAddress)
	case c.sources[f.source] >= maxSourceCodes:
		return refuse(pushwire.Busy, "%d codes are on their way for your network; repeat in a minute", maxSourceCodes)
	case c.providers[f.lane.provider] >= maxCodes, f.lane.host != "" && c.lanes[f.lane] >= maxLaneCodes:
		return refuse(pushwire.Busy, "the push service has not answered for very many codes; repeat in a minute")
	case spent.wait(now, c.budget) > 0:
		return refuse(pushwire.Busy, "too many addresses were challenged for your network today; repeat in %v",
			(spent.wait(now, c.budget) + time.Second).Truncate(time.Second))
	}
	c.count(f, 1)
	spent.take(now, c.budget)
	c.spent.Add(f.source, spent)
	return nil
}

// release gives back what is held for a code, as far as its push service did
// nothing for it.
func (c *codes) release(f fare, v pushext.Class) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count(f, -1)
	spent, known := c.spent.Peek(f.source)
	switch {
	case !known || v == pushext.Delivered:
		return
	case v == pushext.TokenDead:
		spent.full = spent.full.Add((deadCost - 1) * c.budget.Every)
	default:
		spent.full = spent.full.Add(-c.budget.Every)
	}
	c.spent.Add(f.source, spent)
}

func (c *codes) count(f fare, n int) {
	add(c.providers, f.lane.provider, n)
	if f.lane.host != "" {
		add(c.lanes, f.lane, n)
	}
	add(c.sources, f.source, n)
	add(c.addresses, f.address, n)
}

// add changes a count, and forgets it at zero.
func add[K comparable](counts map[K]int, key K, n int) {
	if counts[key] += n; counts[key] == 0 {
		delete(counts, key)
	}
}
