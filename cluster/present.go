package cluster

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"whisperpush/desk"
	"whisperpush/pushext/pushserver"
	"whisperpush/whisper"
)

const (
	// maxPresent bounds the registrations and the callers' connections that a node remembers: as
	// many as there may be links to devices.
	maxPresent = 65_536
	// tidyEvery is how often callers that left and shards with new owners are looked for.
	tidyEvery = 500 * time.Millisecond
	// announceAtOnce is how many devices a new owner is told of at a time.
	announceAtOnce = 16
	// announceTimeout bounds how long that may take for one.
	announceTimeout = 2 * time.Second
)

// present holds the devices that sent a request over a connection to this node that is still up.
// The owners of their shards know of them, and new owners are told.
type present struct {
	mu      sync.Mutex                    // guards the following fields
	devices map[[33]byte]*device          // by registration key
	callers map[desk.ID]pushserver.Caller // the callers of these devices, and of requests under way
}

// device is one that is connected.
type device struct {
	key     [33]byte
	pushKey [33]byte // the one it used, compressed
	from    pushserver.Caller
	shard   int
	// knows is the owner that was told: its *core or *peer, nil if none.
	knows any
}

// add notes that a device is connected through a caller, and that the owner of its shard knows.
// Without room for it, it is not remembered, and is not rung over its link.
func (p *present) add(d device) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.devices == nil {
		p.devices, p.callers = map[[33]byte]*device{}, map[desk.ID]pushserver.Caller{}
	}
	if _, known := p.callers[d.from.ID()]; !known && len(p.callers) >= maxPresent {
		return
	}
	p.callers[d.from.ID()] = d.from
	if !d.from.Stays() {
		return
	}
	if p.devices[d.key] == nil && len(p.devices) >= maxPresent {
		return
	}
	p.devices[d.key] = &d
}

// caller returns the connected caller with an id.
func (p *present) caller(id desk.ID) pushserver.Caller {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.callers[id]
}

// leave forgets the callers that have gone, and returns which peers knew of them.
func (p *present) leave() map[*peer]map[desk.ID]struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	gone := map[desk.ID]struct{}{}
	for id, from := range p.callers {
		if !from.Up() {
			gone[id] = struct{}{}
			delete(p.callers, id)
		}
	}
	told := map[*peer]map[desk.ID]struct{}{}
	for key, d := range p.devices {
		id := d.from.ID()
		if _, left := gone[id]; !left {
			continue
		}
		delete(p.devices, key)
		if to, ok := d.knows.(*peer); ok {
			if told[to] == nil {
				told[to] = map[desk.ID]struct{}{}
			}
			told[to][id] = struct{}{}
		}
	}
	return told
}

// stale returns the devices of a shard that its present owner does not know of.
func (p *present) stale(shard int, owner any) (list []device) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range p.devices {
		if d.shard == shard && d.knows != owner {
			list = append(list, *d)
		}
	}
	return list
}

// told notes that an owner knows of a device.
func (p *present) told(d device, owner any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := p.devices[d.key]; now != nil && now.from == d.from {
		now.knows = owner
	}
}

// has reports whether a device of the shard is connected.
func (p *present) has(shard int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range p.devices {
		if d.shard == shard {
			return true
		}
	}
	return false
}

// tidy forgets callers that left, and tells new owners who is connected, until ctx ends.
func (s *Server) tidy(ctx context.Context) {
	tick := time.NewTicker(tidyEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-s.moved:
		}
		s.peers.dismiss(s.ring.Load(), time.Now())
		for to, ids := range s.present.leave() {
			for id := range ids {
				to.gone(ctx, id)
			}
		}
		l, _ := s.state()
		var telling errgroup.Group
		telling.SetLimit(announceAtOnce)
		for shard, owner := range l.Owners {
			if owner.Node == 0 || !s.present.has(shard) {
				continue
			}
			if core := s.keepers[shard].current(); core != nil {
				for _, d := range s.present.stale(shard, core) {
					telling.Go(func() error {
						if core.server.Heard(d.from, d.key, d.pushKey) == nil {
							s.present.told(d, core)
						}
						return nil
					})
				}
				continue
			}
			if owner.Node == s.shards.Node() {
				continue // not open yet
			}
			to, err := s.peers.to(ctx, owner.Address)
			if err != nil {
				continue
			}
			for _, d := range s.present.stale(shard, to) {
				telling.Go(func() error {
					ctx, cancel := context.WithTimeout(ctx, announceTimeout)
					defer cancel()
					if to.present(ctx, d) == nil {
						s.present.told(d, to)
					}
					return nil
				})
			}
		}
		telling.Wait()
	}
}

// remote is a Caller that is connected to another node.
type remote struct {
	peer   *peer
	id     desk.ID
	source whisper.Source
	stays  bool
}

func (r remote) ID() desk.ID            { return r.id }
func (r remote) Source() whisper.Source { return r.source }

// Up implements pushserver.Caller. Whether a connection that ends with its answer is up, only the
// node that has it knows.
func (r remote) Up() bool { return !r.stays || r.peer.holds(r.id) }

func (r remote) Send(ctx context.Context, envs ...*whisper.Envelope) error {
	return r.peer.send(ctx, r.id, envs)
}
func (r remote) Stays() bool { return r.stays }
func (r remote) Answered()   { r.peer.answered(r.id) }
func (r remote) Useful()     { r.peer.vouch(r.id, false) }
func (r remote) Proved()     { r.peer.vouch(r.id, true) }
