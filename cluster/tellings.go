package cluster

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"golang.org/x/sync/errgroup"

	"whisperpush/pushext/pushserver"
)

const (
	// seenTimeout bounds how long telling other shards of one Seen may take.
	seenTimeout = 6 * time.Second
	// seenAtOnce is how many Seens are told at a time.
	seenAtOnce = 16
	// seenAgain is the pause before tellings that failed are tried again. seenEvery is how often
	// tellings are looked for that a former owner of a shard left behind.
	seenAgain = time.Second
	seenEvery = 10 * time.Second
)

// tellSeen tells other shards what devices of this node's cores have seen, until ctx ends.
func (s *Server) tellSeen(ctx context.Context) {
	timer := time.NewTimer(seenEvery)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.seen:
		case <-timer.C:
		}
		var failed atomic.Bool
		var telling errgroup.Group
		telling.SetLimit(seenAtOnce)
		for _, c := range s.cores() {
			for _, t := range c.server.Tellings() {
				telling.Go(func() error {
					if err := s.tellOthers(ctx, c.shard, t); err == nil {
						c.server.Told(t.Number)
					} else if ctx.Err() == nil && !closed(c.ended) {
						s.log.Debug("other devices of a group are not told yet what was seen; trying again", "shard", c.shard, "err", err)
						failed.Store(true)
					}
					return nil
				})
			}
		}
		_ = telling.Wait() // which returns no error
		if failed.Load() {
			timer.Reset(seenAgain)
		} else {
			timer.Reset(seenEvery)
		}
	}
}

// tellOthers tells all shards that have devices of a group, except the shard but.
func (s *Server) tellOthers(ctx context.Context, but int, t pushserver.Telling) error {
	ctx, cancel := context.WithTimeout(ctx, seenTimeout)
	defer cancel()
	found, err := s.shards.Others(ctx, but, t.Group, 1)
	if err != nil {
		return err
	}
	for _, e := range found {
		err := s.seenHere(ctx, e.Shard, t.Group, t.Hashes)
		if errors.Is(err, errNoOwner) {
			var to *peer
			if to, err = s.ownerOf(ctx, e.Shard); err == nil {
				err = to.seen(ctx, e.Shard, t.Group, t.Hashes)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// seenHere tells the core of a shard, if that core runs here.
func (s *Server) seenHere(ctx context.Context, shard int, group []byte, hashes []common.Hash) error {
	core := s.keepers[shard].current()
	if core == nil {
		return errNoOwner
	}
	return core.server.SeenElsewhere(ctx, group, hashes)
}
