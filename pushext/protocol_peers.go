package pushext

import (
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/p2p/enode"
	"golang.org/x/time/rate"
)

// maxPeerLimits bounds the peers whose rate is remembered. One that was
// forgotten starts with a full burst.
const maxPeerLimits = 4096

// peerLimits holds back peers that send more requests than one device, or a
// relay for some, would.
type peerLimits struct {
	rate  rate.Limit // requests a second
	burst int

	// mu guards the following.
	mu    sync.Mutex
	peers map[enode.ID]*rate.Limiter
	ring  []enode.ID // the oldest at next once it is full
	next  int
}

func (l *peerLimits) allow(peer enode.ID, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	limiter := l.peers[peer]
	if limiter == nil {
		if l.peers == nil {
			l.peers = make(map[enode.ID]*rate.Limiter)
		}
		if len(l.ring) < maxPeerLimits {
			l.ring = append(l.ring, peer)
		} else {
			delete(l.peers, l.ring[l.next])
			l.ring[l.next] = peer
			l.next = (l.next + 1) % maxPeerLimits
		}
		limiter = rate.NewLimiter(l.rate, l.burst)
		l.peers[peer] = limiter
	}
	return limiter.AllowN(now, 1)
}
