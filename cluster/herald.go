package cluster

import (
	"context"
	"sync"
)

// herald is what this node has archived and the others are to hear of.
type herald struct {
	wake chan struct{} // holds one: there is something new

	mu           sync.Mutex // guards the following fields
	newest, part uint64
}

// archived notes what was archived here. It does not block.
func (h *herald) archived(newest, part uint64) {
	h.mu.Lock()
	h.newest, h.part = newest, part
	h.mu.Unlock()
	signal(h.wake)
}

func (h *herald) latest() (newest, part uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.newest, h.part
}

// tellArchived tells the other nodes of what this one archives, until ctx ends. Each of them is
// told by a goroutine of its own, the latest whenever it has taken what was told before, so that
// one which does not read keeps nobody waiting. Who cannot be told hears it by the database.
func (s *Server) tellArchived(ctx context.Context) {
	var telling sync.WaitGroup
	defer telling.Wait()
	told := map[string]chan struct{}{} // by address: wakes who tells it
	defer func() {
		for _, wake := range told {
			close(wake)
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.herald.wake:
		}
		there := map[string]bool{}
		leases, _ := s.state()
		for _, owner := range leases.Owners {
			if owner.Node != 0 && owner.Node != s.shards.Node() {
				there[owner.Address] = true
			}
		}
		for address, wake := range told {
			if !there[address] {
				close(wake)
				delete(told, address)
			}
		}
		for address := range there {
			wake := told[address]
			if wake == nil {
				wake = make(chan struct{}, 1)
				told[address] = wake
				telling.Go(func() { s.tellNode(ctx, address, wake) })
			}
			signal(wake)
		}
	}
}

// tellNode tells one node whenever it is woken, until wake is closed.
func (s *Server) tellNode(ctx context.Context, address string, wake <-chan struct{}) {
	for range wake {
		if to, err := s.peers.to(ctx, address); err == nil {
			to.archived(s.herald.latest()) // if it fails the connection has ended, and another one is made
		}
	}
}
