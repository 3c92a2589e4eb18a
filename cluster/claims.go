package cluster

import (
	"context"
	"errors"
	"time"

	"whisperpush/postgres"
	"whisperpush/pushext/pushserver"
)

const (
	// claimsAtOnce is how many claims of a shard are read at a time.
	claimsAtOnce = 256
	// claimsEvery is how often claims are looked for that were not signalled.
	claimsEvery = 10 * time.Second
	// claimsAgain is the pause before claims that could not be settled are tried again.
	claimsAgain = time.Second
	// claimOwners bounds the entries read of each shard for an address: all its claimants.
	claimOwners = 64
)

// shardOf is what a core is told about the other shards.
func (s *Server) shardOf(c *core) *pushserver.Shard {
	return &pushserver.Shard{
		Number: c.shard, Count: postgres.ShardCount,
		Others: &others{s: s, shard: c.shard},
		Hold:   func() error { return s.hold(c) },
	}
}

// others implements pushserver.Others for one core.
type others struct {
	s     *Server
	shard int
}

// Values implements pushserver.Others.
func (o *others) Values(prefix []byte, most int) ([][]byte, error) {
	found, err := o.s.shards.Others(context.Background(), o.shard, prefix, most)
	values := make([][]byte, 0, len(found))
	for _, e := range found {
		values = append(values, e.Value)
	}
	return values, err
}

// Claimed implements pushserver.Others.
func (o *others) Claimed() { signal(o.s.claimed) }

// Seen implements pushserver.Others.
func (o *others) Seen() { signal(o.s.seen) }

// ownerOf connects to the node that has a shard, as far as this one knows.
func (s *Server) ownerOf(ctx context.Context, shard int) (*peer, error) {
	l, _ := s.state()
	return s.peers.to(ctx, l.Owners[shard].Address)
}

// yieldHere makes the core of a shard give up an address, if that core runs here.
func (s *Server) yieldHere(shard int, c pushserver.Claim) (later *pushserver.Claim, err error) {
	core := s.keepers[shard].current()
	if core == nil {
		return nil, errNoOwner
	}
	return core.server.Yield(c)
}

// settleClaims settles the claims of this node's cores until ctx ends.
func (s *Server) settleClaims(ctx context.Context) {
	timer := time.NewTimer(claimsEvery)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.claimed:
		case <-timer.C:
		}
		failed := false
		for _, c := range s.cores() {
			if err := s.settleOf(ctx, c); err != nil && ctx.Err() == nil && !closed(c.ended) {
				s.log.Debug("claims of a shard cannot be settled yet; trying again", "shard", c.shard, "err", err)
				failed = true
			}
		}
		if failed {
			timer.Reset(claimsAgain)
		} else {
			timer.Reset(claimsEvery)
		}
	}
}

// settleOf settles the claims of one core.
func (s *Server) settleOf(ctx context.Context, c *core) error {
	claims, err := c.server.Claims(claimsAtOnce)
	if err != nil {
		return err
	}
	for _, claim := range claims {
		if err := s.settle(ctx, c, claim); err != nil {
			return err
		}
	}
	return nil
}

// settle makes every other shard that holds an address yield it.
func (s *Server) settle(ctx context.Context, c *core, claim pushserver.Claim) error {
	found, err := s.shards.Others(ctx, c.shard, pushserver.AddressKey(claim), claimOwners)
	if err != nil {
		return err
	}
	asked := map[int]bool{}
	for _, e := range found {
		if len(e.Value) != 1 || e.Value[0] != 1 || asked[e.Shard] {
			continue
		}
		asked[e.Shard] = true
		later, err := s.yieldHere(e.Shard, claim)
		if errors.Is(err, errNoOwner) {
			var to *peer
			if to, err = s.ownerOf(ctx, e.Shard); err == nil {
				later, err = to.yield(ctx, e.Shard, claim)
			}
		}
		if err == nil && later != nil {
			_, err = c.server.Yield(*later)
			return err
		}
		if err != nil {
			return err
		}
	}
	return c.server.Settled(claim)
}
