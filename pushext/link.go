package pushext

import (
	"context"
	"crypto/ecdsa"
	"fmt"
	"slices"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p/enode"

	"whisperpush/pushext/pushwire"
)

// Linked is implemented by a Provider that reaches devices over connections
// which they keep open themselves, with nobody in between. The address of its
// routes is the registration key (33 bytes, compressed), which the registry
// checks; it needs no challenge, for every request is signed by it.
type Linked interface {
	Provider

	// Heard says that a request signed by the key in addr has come through link
	// just now. It reports whether the device is newly there: its former link,
	// if any, was another one.
	Heard(addr Address, link Link) (fresh bool)
}

// Link is a connection through which a device has proved to be there. Two are
// equal (==) if they are the same connection to the same device. Today it is a
// devp2p link; whatever can carry a request and a ring may be one.
type Link interface {
	// Ring hands the body of a wake-up to the device, and returns when it is
	// written. The error says that the link is of no use any more, or is ctx's.
	Ring(ctx context.Context, body []byte) error
	// Up tells whether the connection stands, as far as is known without
	// sending anything.
	Up() bool
}

// Carried is implemented by a Link whose connection may carry those of other
// registrations too, which cost their owner nothing. What goes over one connection
// waits in one lane, so that one which takes nothing holds up only itself.
type Carried interface {
	Link
	// Connection names the connection. It is a map key only.
	Connection() string
}

// peerLink is the devp2p link to a device, on which a ring is a reply that
// nobody asked for.
type peerLink struct {
	sender Sender
	from   *ecdsa.PrivateKey // the push key
	peer   enode.ID
	key    [33]byte // of the registration
}

func (l peerLink) Up() bool { return l.sender.Connected(l.peer) }

func (l peerLink) Connection() string { return string(l.peer[:]) }

func (l peerLink) Ring(ctx context.Context, body []byte) error {
	to, err := crypto.DecompressPubkey(l.key[:])
	if err != nil {
		return fmt.Errorf("registration key: %w", err)
	}
	env, err := pushwire.SealReply(ctx, pushwire.Reply{State: pushwire.Active, Body: &pushwire.Ring{Body: body}}, l.from, to)
	if err != nil {
		return fmt.Errorf("seal a ring: %w", err)
	}
	return l.sender.SendDirect(ctx, l.peer, env)
}

// heard notes through which peer a device is there, if it wants to be rung so.
// What it has not fetched by then is rung at once: it was away, and nobody else
// may have told it.
func (p *protocol) heard(peer enode.ID, rec *record) {
	if rec == nil || rec.state != confirmed {
		return
	}
	fresh := false
	for i := range rec.routes {
		if linked, ok := p.registry.providers[rec.routes[i].provider].(Linked); ok {
			fresh = linked.Heard(rec.routes[i].address, peerLink{p.sender, p.key, peer, rec.key}) || fresh
		}
	}
	if !fresh {
		return
	}
	if err := p.box.arrived(rec.id); err != nil {
		p.log.Error("the outbox of a registration cannot be read", "registration", uint64(rec.id), "err", err)
		return
	}
	p.disp.reach(rec.id)
}

// unchallenged reports whether addresses at a provider are proven by the
// request that names them, or need no proof.
func (r *registry) unchallenged(provider string) bool { return r.skip[provider] || r.linked(provider) }

func (r *registry) linked(provider string) bool {
	_, linked := r.providers[provider].(Linked)
	return linked
}

// provenElsewhere reports whether an address other than the link itself is
// proven. Links cost nothing to make: a registration that has nothing else
// gives way before the others.
func (r *registry) provenElsewhere(rec *record) bool {
	return slices.ContainsFunc(rec.routes, func(route route) bool { return route.proven && !r.linked(route.provider) })
}
