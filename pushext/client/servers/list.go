package servers

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p/enode"

	"whisperpush/pushext/client"
	"whisperpush/pushext/pushwire"
)

// Limits of a List: anybody can make any number of offers.
const (
	maxListed     = 256
	maxPerNetwork = 8 // of a /24 of IPv4 or a /48 of IPv6
)

// Errors of a List for an offer that it does not accept.
var (
	ErrReplayed = errors.New("servers: there is a later offer of this server")
	ErrPrivate  = errors.New("servers: the offer leads into a private network")
	ErrCrowded  = errors.New("servers: there are enough offers of its network")
)

// Candidate is a server that has made an offer, and how it answered this device.
type Candidate struct {
	PushKey string         `json:"pushKey"` // compressed, in hexadecimal: it identifies the server
	Offer   pushwire.Offer `json:"offer"`   // its newest

	Asked     int           `json:"asked"`     // how often it was asked something
	Answered  int           `json:"answered"`  // how often it answered
	RoundTrip time.Duration `json:"roundTrip"` // of the latest answer; 0: no answer yet
	Chosen    bool          `json:"chosen"`    // it is not dropped for others
}

// rate is how often it answers, as far as known: a server that was never asked counts as
// one that answered once out of two times.
func (c *Candidate) rate() float64 { return float64(c.Answered+1) / float64(c.Asked+2) }

// List keeps offers. It is safe for concurrent use. The zero value is an empty List.
type List struct {
	// Private accepts offers that lead into private networks, for tests and for people who
	// run a server at home. Set it before the first use.
	Private bool

	mu   sync.Mutex // guards held
	held []*Candidate
}

// Add accepts an offer, in place of the server's former one. It does not use the network.
// The error is ErrReplayed, ErrPrivate or ErrCrowded, or says that the offer names no node
// or has expired.
func (l *List) Add(d client.Discovered, now time.Time) error {
	key := hex.EncodeToString(crypto.CompressPubkey(d.PushKey))
	network, err := l.network(d.Enode)
	if err != nil {
		return err
	}
	if uint64(now.Unix()) >= d.Expires {
		return errors.New("servers: the offer has expired")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rename(key, d.Successions)
	if c := l.find(key); c != nil {
		if d.Issued <= c.Offer.Issued {
			return ErrReplayed
		}
		c.Offer = d.Offer
		return nil
	}
	neighbours := 0
	for _, c := range l.held {
		if other, err := l.network(c.Offer.Enode); err == nil && other == network {
			neighbours++
		}
	}
	if neighbours >= maxPerNetwork || len(l.held) >= maxListed && !l.giveWay(now) {
		return ErrCrowded
	}
	l.held = append(l.held, &Candidate{PushKey: key, Offer: d.Offer})
	return nil
}

// rename moves a server that has replaced its push key to the new key. The caller holds mu.
func (l *List) rename(key string, successions []pushwire.Succession) {
	for i := range successions {
		s := &successions[i]
		former := l.find(hex.EncodeToString(s.Former[:]))
		if former != nil && hex.EncodeToString(s.Next[:]) == key && l.find(key) == nil && s.Verify() == nil {
			former.PushKey = key
		}
	}
}

// giveWay drops the candidate with the oldest offer, of those that were not chosen and
// whose offer has expired or that never answered. The caller holds mu.
func (l *List) giveWay(now time.Time) bool {
	worst := -1
	for i, c := range l.held {
		over := uint64(now.Unix()) >= c.Offer.Expires
		if c.Chosen || c.Answered > 0 && !over {
			continue
		}
		if worst < 0 || c.Offer.Issued < l.held[worst].Offer.Issued {
			worst = i
		}
	}
	if worst >= 0 {
		l.held = slices.Delete(l.held, worst, worst+1)
	}
	return worst >= 0
}

// network returns the network that an enode URL leads to.
func (l *List) network(url string) (netip.Prefix, error) {
	n, err := enode.ParseV4(url)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("servers: the offer names no node: %w", err)
	}
	ip := n.IPAddr().Unmap()
	if !ip.IsValid() {
		return netip.Prefix{}, errors.New("servers: the offer names a node without an address")
	}
	if !l.Private && (!ip.IsGlobalUnicast() || ip.IsPrivate()) {
		return netip.Prefix{}, ErrPrivate
	}
	bits := 48
	if ip.Is4() {
		bits = 24
	}
	return ip.Prefix(bits)
}

func (l *List) find(key string) *Candidate {
	if i := slices.IndexFunc(l.held, func(c *Candidate) bool { return c.PushKey == key }); i >= 0 {
		return l.held[i]
	}
	return nil
}

// Choose notes that a server was chosen, or is no longer chosen.
func (l *List) Choose(pushKey string, chosen bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.find(pushKey); c != nil {
		c.Chosen = chosen
	}
}

// Asked notes that a server was asked, and how long its answer took; 0: there was no
// answer.
func (l *List) Asked(pushKey string, roundTrip time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.find(pushKey)
	if c == nil {
		return
	}
	c.Asked++
	if roundTrip > 0 {
		c.Answered++
		c.RoundTrip = roundTrip
	}
}

// Need is what an app requires of a server.
type Need struct {
	Providers []string // names, any of which is enough; empty: any server
	Channels  uint64   // topics that it registers
	Free      bool     // leaves out what costs something; otherwise that comes last
}

// Rank returns the servers that meet a need, the best first: free ones before the others,
// because a price is a sentence for people; then by how often they answer; then by how
// fast.
func (l *List) Rank(need Need, now time.Time) []Candidate {
	l.mu.Lock()
	defer l.mu.Unlock()
	var fit []Candidate
	for _, c := range l.held {
		usable := len(need.Providers) == 0 || slices.ContainsFunc(c.Offer.Providers, func(p pushwire.ProviderOffer) bool {
			return slices.Contains(need.Providers, p.Name)
		})
		room := c.Offer.Limits.Channels == 0 || c.Offer.Limits.Channels >= need.Channels
		if usable && room && uint64(now.Unix()) < c.Offer.Expires && (c.Offer.Price == "" || !need.Free) {
			fit = append(fit, *c)
		}
	}
	slices.SortStableFunc(fit, func(a, b Candidate) int {
		return cmp.Or(
			cmp.Compare(min(len(a.Offer.Price), 1), min(len(b.Offer.Price), 1)),
			cmp.Compare(b.rate(), a.rate()),
			cmp.Compare(a.trip(), b.trip()),
			cmp.Compare(a.PushKey, b.PushKey),
		)
	})
	return fit
}

// unmeasured stands for the round trip of a server that was never asked.
const unmeasured = time.Second

func (c *Candidate) trip() time.Duration { return cmp.Or(c.RoundTrip, unmeasured) }

// Measure asks a server something that costs it next to nothing, under a key without an
// account, and notes how long the answer took. Only the holder of the push key can answer.
// Call it for servers to choose from, not for all: an offer may name anybody's address.
func (l *List) Measure(ctx context.Context, c Candidate) (time.Duration, error) {
	d, err := client.Open(ctx, client.Config{Server: c.Offer.Enode, PushKey: c.PushKey})
	if err != nil {
		return 0, err
	}
	defer d.Close()
	trip, err := ask(ctx, d)
	l.Asked(c.PushKey, trip)
	return trip, err
}

// ask measures a round trip over a standing link.
func ask(ctx context.Context, d *client.Device) (time.Duration, error) {
	if err := d.Connect(ctx); err != nil {
		return 0, err
	}
	began := time.Now()
	_, err := d.Status(ctx)
	if err != nil && !client.IsRefused(err, pushwire.NotRegistered) && !client.IsRefused(err, pushwire.Unconfirmed) {
		return 0, err
	}
	return max(time.Since(began), 1), nil
}

// Save writes the list.
func (l *List) Save(ctx context.Context, store client.Store) error {
	l.mu.Lock()
	text, err := json.MarshalIndent(l.held, "", "\t")
	l.mu.Unlock()
	if err != nil {
		return fmt.Errorf("servers: %w", err)
	}
	return store.Save(ctx, text)
}

// Load reads what Save wrote. An empty store leaves the list as it is.
func (l *List) Load(ctx context.Context, store client.Store) error {
	text, err := store.Load(ctx)
	if err != nil || len(text) == 0 {
		return err
	}
	var held []*Candidate
	if err := json.Unmarshal(text, &held); err != nil {
		return fmt.Errorf("servers: the list is damaged, remove it to start anew: %w", err)
	}
	held = slices.DeleteFunc(held, func(c *Candidate) bool { return c == nil })
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = held[:min(len(held), maxListed)]
	return nil
}
