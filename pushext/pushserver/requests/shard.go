package requests

import (
	"context"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/pushext/pushserver/registration"
)

// SeenElsewhere is a Seen of a device of a group that is in another shard. When it returns
// nil, what is owed for it is on disk.
func (p *Server) SeenElsewhere(ctx context.Context, group []byte, hashes []common.Hash) error {
	here, err := p.registry.Grouped(group)
	if err != nil {
		return err
	}
	return p.SeenBy(ctx, here, hashes)
}

// SeenBy is SeenElsewhere for the registrations of the group that are named.
func (p *Server) SeenBy(ctx context.Context, here []registration.ID, hashes []common.Hash) error {
	shown, err := p.box.SeenElsewhere(here, hashes)
	for id, hashes := range shown {
		p.disp.Dismiss(id, hashes)
	}
	if err != nil {
		return err
	}
	return p.box.Synced(ctx)
}

// Heard says that the device of a registration is there through a caller, which asked
// another server of the same cluster for something, with a push key of this one, compressed.
func (p *Server) Heard(from Caller, key, pushKey [33]byte) error {
	rec, err := p.registry.Lookup(key)
	if err == nil && rec != nil {
		p.heard(from, p.keys.Load().of(pushKey), rec)
	}
	return err
}
