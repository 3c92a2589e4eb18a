// Package direct wakes devices with no third party at all: over the connection that they
// keep to the mailserver.
//
// A device on devp2p signs every request with its registration key, which proves that it
// is at the other end of the link. The push server says so (Heard), and a wake-up then
// goes to that link as a ring: a packet 127 of the push protocol with the same body as
// any push. Its fetch shows that the device has taken notice, as with every provider. If
// the device is not there, or does not fetch within Delivery.LinkDelay, its next route is
// tried.
//
// The package knows links only by their interface, so that a WebSocket or a long HTTPS
// request can be one as well.
package direct

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"whisperpush/pushext"
)

const (
	// DefaultMaxLinks bounds the devices whose link is remembered; about 200
	// bytes each.
	DefaultMaxLinks = 65_536
	// DefaultTimeout is how long a link may take to accept a ring; then it
	// counts as broken, and the next route has most of the 15 seconds left.
	DefaultTimeout = 2 * time.Second

	keySize = 33
	// sweepEvery bounds how often a full table is searched for links that ended.
	sweepEvery = 10 * time.Second
)

// Config of a Provider. Zero fields mean the default.
type Config struct {
	Name     string        // "direct"
	MaxLinks int           // DefaultMaxLinks
	Timeout  time.Duration // DefaultTimeout
}

// Provider rings devices over their own links. It is a pushext.Linked.
type Provider struct {
	name    string
	max     int
	timeout time.Duration

	mu    sync.Mutex // guards the following
	links map[string]pushext.Link
	swept time.Time
}

var (
	_ pushext.Linked = (*Provider)(nil)
	_ pushext.Laner  = (*Provider)(nil)
)

// New returns a provider that knows no device yet. The error says which setting
// is wrong.
func New(cfg Config) (*Provider, error) {
	if cfg.MaxLinks < 0 || cfg.Timeout < 0 {
		return nil, fmt.Errorf("direct: MaxLinks %d or Timeout %v is negative", cfg.MaxLinks, cfg.Timeout)
	}
	p := &Provider{name: cfg.Name, max: cfg.MaxLinks, timeout: cfg.Timeout, links: make(map[string]pushext.Link)}
	if p.name == "" {
		p.name = "direct"
	}
	if p.max == 0 {
		p.max = DefaultMaxLinks
	}
	if p.timeout == 0 {
		p.timeout = DefaultTimeout
	}
	return p, nil
}

// Name implements pushext.Provider.
func (p *Provider) Name() string { return p.name }

var errAddress = errors.New("the address is the registration key, 33 bytes compressed, and has no keys beside it")

// Check implements pushext.Provider.
func (p *Provider) Check(addr pushext.Address) error {
	if len(addr.Token) != keySize || len(addr.Keys) != 0 {
		return errAddress
	}
	if _, err := crypto.DecompressPubkey([]byte(addr.Token)); err != nil {
		return errAddress
	}
	return nil
}

// Lane implements pushext.Laner: a connection that takes nothing holds up only itself,
// however many registrations are reached over it.
func (p *Provider) Lane(addr pushext.Address) string {
	p.mu.Lock()
	link := p.links[addr.Token]
	p.mu.Unlock()
	if carried, ok := link.(pushext.Carried); ok {
		return carried.Connection()
	}
	return addr.Token
}

// Heard implements pushext.Linked. When there is no room for another device, it
// is not rung over its link.
func (p *Provider) Heard(addr pushext.Address, link pushext.Link) (fresh bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	former, known := p.links[addr.Token]
	if former == link {
		return false
	}
	if !known && len(p.links) >= p.max && !p.sweep() {
		return false
	}
	p.links[addr.Token] = link
	return true
}

// sweep forgets links that ended, and tells whether there is room. The caller
// holds mu.
func (p *Provider) sweep() bool {
	now := time.Now()
	if now.Sub(p.swept) < sweepEvery {
		return false
	}
	p.swept = now
	for token, link := range p.links {
		if !link.Up() {
			delete(p.links, token)
		}
	}
	return len(p.links) < p.max
}

// Push implements pushext.Provider. The verdict is Delivered when the ring was
// written to the link, and Absent if there is none.
func (p *Provider) Push(ctx context.Context, n pushext.Notification) pushext.Verdict {
	if ctx.Err() != nil {
		return pushext.Verdict{Class: pushext.Retry, Reason: "direct cancelled"}
	}
	token := n.Address.Token
	p.mu.Lock()
	link := p.links[token]
	p.mu.Unlock()
	if link == nil {
		return pushext.Verdict{Class: pushext.Absent, Reason: "direct not connected"}
	}
	if !link.Up() {
		p.forget(token, link)
		return pushext.Verdict{Class: pushext.Absent, Reason: "direct not connected"}
	}
	ring, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	switch err := link.Ring(ring, n.Body); {
	case err == nil:
		return pushext.Verdict{Class: pushext.Delivered}
	case ctx.Err() != nil:
		return pushext.Verdict{Class: pushext.Retry, Reason: "direct timeout"}
	}
	p.forget(token, link)
	return pushext.Verdict{Class: pushext.Absent, Reason: "direct link broke"}
}

// forget drops a link, unless the device has another one by now.
func (p *Provider) forget(token string, link pushext.Link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.links[token] == link {
		delete(p.links, token)
	}
}
