package requests

import (
	"context"
	"crypto/ecdsa"
	"fmt"

	"github.com/ethereum/go-ethereum/crypto"

	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/registry"
	"whisperpush/pushext/pushwire"
)

// callerLink is the connection of a device that has sent a request. A ring on it is a
// reply without a request.
type callerLink struct {
	to   Caller
	from *ecdsa.PrivateKey // the push key that the device asks with
	key  [33]byte          // of the registration
}

func (l callerLink) Up() bool { return l.to.Up() }

func (l callerLink) Connection() string {
	id := l.to.ID()
	return string(id[:])
}

func (l callerLink) Ring(ctx context.Context, body []byte) error {
	to, err := crypto.DecompressPubkey(l.key[:])
	if err != nil {
		return fmt.Errorf("registration key: %w", err)
	}
	env, err := pushwire.SealReply(ctx, pushwire.Reply{State: pushwire.Active, Body: &pushwire.Ring{Body: body}}, l.from, to)
	if err != nil {
		return fmt.Errorf("seal a ring: %w", err)
	}
	return l.to.Send(ctx, env)
}

// heard notes the connection through which a device can be reached, if one of its
// routes is such a link. What it has not fetched by then is rung at once: the device
// was away, and nobody else may have told it.
func (p *Server) heard(from Caller, key *ownKey, rec *registry.Record) {
	if rec == nil || rec.State != registration.Active || !from.Stays() {
		return
	}
	fresh := false
	for i := range rec.Routes {
		if linked, ok := p.registry.Link(rec.Routes[i].Provider); ok {
			fresh = linked.Heard(rec.Routes[i].Address, callerLink{from, key.private, rec.Key}) || fresh
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
