package requests

import (
	"context"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/pushext/pushserver/registration"
)

// SeenElsewhere handles a Seen from a device in another shard, for the devices of its
// group here. When it returns nil, what the server owes them is on disk.
func (p *Server) SeenElsewhere(ctx context.Context, group []byte, hashes []common.Hash) error {
	here, err := p.registry.Grouped(group)
	if err != nil {
		return err
	}
	return p.SeenBy(ctx, here, hashes)
}

// SeenBy is SeenElsewhere for the given registrations of the group.
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

// Heard says that the device of a registration can be reached through a caller, which asked
// another server of the same cluster, with a push key of this server (compressed).
func (p *Server) Heard(from Caller, key, pushKey [33]byte) error {
	rec, err := p.registry.Lookup(key)
	if err == nil && rec != nil {
		p.heard(from, p.keys.Load().of(pushKey), rec)
	}
	return err
}
