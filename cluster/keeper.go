package cluster

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"whisperpush/pushext/pushserver"
)

const (
	// openAtOnce is how many shards are read into memory at a time.
	openAtOnce = 4
	// reopenPause is the pause after a shard could not be opened.
	reopenPause = time.Second
	// stopTimeout is how long attempts in flight may take to finish when a shard moves.
	stopTimeout = 2 * time.Second
	// releaseTimeout bounds the attempt to give a shard back to the database.
	releaseTimeout = 2 * time.Second
)

// errEnded is why a core may not do anything any more.
var errEnded = errors.New("the shard is another node's, or about to be")

// core is the push server of one shard, while this node has it.
type core struct {
	shard  int
	server *pushserver.Server
	scope  *scope
	ended  chan struct{}   // closed when it must not do anything any more
	lost   <-chan struct{} // closed when another owner has its store
}

// keeper runs the core of a shard while the shard is this node's.
type keeper struct {
	s     *Server
	shard int
	wake  chan struct{} // holds one: look again
	retry time.Time     // not to be opened before; run's own
	told  bool          // Start knows what became of it; run's own

	mu   sync.Mutex // guards the following field
	core *core      // nil: it does not run
}

func (k *keeper) current() *core {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.core
}

func (k *keeper) set(c *core) {
	k.mu.Lock()
	k.core = c
	k.mu.Unlock()
	k.s.mu.Lock()
	k.s.wakeLocked()
	k.s.mu.Unlock()
	signal(k.s.moved)
}

// wanted reports whether the shard should be open here, and whether this node has its lease.
func (k *keeper) wanted() (wanted, leased bool) {
	l, _ := k.s.state()
	mine := l.Mine(k.s.shards.Node())
	at := slices.Index(mine, k.shard)
	return at >= 0 && at < l.Part, at >= 0
}

// run keeps the shard until ctx ends.
func (k *keeper) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		c := k.current()
		wanted, leased := k.wanted()
		var lost <-chan struct{}
		if c != nil {
			lost = c.lost
		}
		switch {
		case ctx.Err() != nil:
			if c != nil {
				k.stop(c)
			}
			return
		case c != nil && (!wanted || closed(lost)):
			k.stop(c)
			continue
		case c == nil && leased && !wanted:
			k.release()
		case c == nil && wanted && !time.Now().Before(k.retry):
			err := k.open(ctx)
			if err != nil {
				k.retry = time.Now().Add(reopenPause)
				timer.Reset(reopenPause)
				if ctx.Err() == nil && k.told {
					k.s.log.Error("a shard of the registrations cannot be opened; trying again", "shard", k.shard, "err", err)
				}
			}
			if !k.told {
				k.told = true
				k.s.opened <- err
			}
			if err == nil {
				continue
			}
		}
		select {
		case <-ctx.Done():
		case <-k.wake:
		case <-lost:
		case <-timer.C:
		}
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// open opens the store and starts the core.
func (k *keeper) open(ctx context.Context) error {
	select {
	case k.s.opening <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-k.s.opening }()
	k.s.resetting.RLock()
	defer k.s.resetting.RUnlock()
	store, err := k.s.shards.Open(ctx, k.shard)
	if err != nil {
		return err
	}
	c := &core{shard: k.shard, ended: make(chan struct{}), lost: store.Lost()}
	cfg := k.s.cfg.Push
	cfg.Dir, cfg.Store = "", store
	keys := k.s.Keys()
	cfg.PushKey, cfg.FormerKeys = keys.Current, keys.Former
	cfg.Shard = k.s.shardOf(c)
	cfg.Logger = k.s.log.With("shard", k.shard)
	if c.scope = newScope(cfg.Registerer, k.shard); c.scope != nil {
		cfg.Registerer = c.scope
	}
	if c.server, err = pushserver.New(cfg); err != nil {
		c.scope.drop()
		return err
	}
	if err := c.server.Start(ctx); err != nil {
		k.end(c)
		return err
	}
	k.set(c)
	k.s.giveKeys(c)
	k.s.holdHeld(c)
	signal(k.s.claimed) // claims that a former owner has not settled
	signal(k.s.seen)    // and Seens that it has not told
	return nil
}

// stop ends the core.
func (k *keeper) stop(c *core) {
	k.set(nil)
	k.end(c)
}

func (k *keeper) end(c *core) {
	close(c.ended)
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := c.server.Stop(ctx); err != nil {
		k.s.log.Warn("a shard of the registrations was not closed in peace", "shard", k.shard, "err", err)
	}
	c.scope.drop()
}

// release gives the shard up for a node that has fewer than its part.
func (k *keeper) release() {
	ctx, cancel := context.WithTimeout(context.Background(), releaseTimeout)
	defer cancel()
	if err := k.s.shards.Release(ctx, k.shard); err != nil {
		k.s.log.Warn("a shard of the registrations cannot be given to another node yet", "shard", k.shard, "err", err)
		return
	}
	signal(k.s.soon)
}

// hold returns nil once it is certain that a core's shard is this node's, or errEnded.
func (s *Server) hold(c *core) error {
	for {
		l, changed := s.state()
		left := time.Until(l.Until)
		switch {
		case closed(c.ended):
			return errEnded
		case left > 0 && l.Owners[c.shard].Node == s.shards.Node() && s.shards.Right():
			return nil
		}
		select {
		case <-c.ended:
			return errEnded
		case <-changed:
		}
	}
}
