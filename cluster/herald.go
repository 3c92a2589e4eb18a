package cluster

import (
	"context"
	"slices"
	"sync"
)

// herald holds what this node has archived and the other nodes are to hear of.
type herald struct {
	wake chan struct{} // holds one: there is something new

	mu           sync.Mutex // guards the following fields
	newest, part uint64
}

// archived notes the newest envelope archived here. It does not block.
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

// tellArchived tells the other nodes what this one archives, until ctx ends. Each node is told by
// a goroutine of its own, which sends the latest position once the one before is written, so a
// node that does not read holds up nobody. A node that cannot be told learns it from the
// database.
func (s *Server) tellArchived(ctx context.Context) {
	var telling sync.WaitGroup
	defer telling.Wait()
	told := map[string]chan struct{}{} // by address: wakes the goroutine that tells it
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
		there := s.neighbours()
		for address, wake := range told {
			if !slices.Contains(there, address) {
				close(wake)
				delete(told, address)
			}
		}
		for _, address := range there {
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
			to.archived(s.herald.latest()) // a failure ends the connection, and another one is made
		}
	}
}
