package requests

import (
	"context"
	"crypto/ecdsa"
	"fmt"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p/enode"

	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/registry"
	"whisperpush/pushext/pushwire"
)

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
func (p *Server) heard(peer enode.ID, rec *registry.Record) {
	if rec == nil || rec.State != registration.Active {
		return
	}
	fresh := false
	for i := range rec.Routes {
		if linked, ok := p.registry.Link(rec.Routes[i].Provider); ok {
			fresh = linked.Heard(rec.Routes[i].Address, peerLink{p.sender, p.key, peer, rec.Key}) || fresh
		}
	}
	if !fresh {
		return
	}
	if err := p.box.Arrived(rec.ID); err != nil {
		p.log.Error("the outbox of a registration cannot be read", "registration", uint64(rec.ID), "err", err)
		return
	}
	p.disp.Reach(rec.ID)
}
