// Package shh is the JSON-RPC namespace shh: the 24 methods and the subscription of geth v1.9.20, with its
// names and JSON shapes, over a whisper.Node. Programs written for geth, among them its own client package, work.
//
// A caller keeps keys here (keys.go) and names them by their id when posting a message (post.go) or listens, by
// polling a filter or by a subscription (filter.go). What it receives is a Message (message.go). The settings of
// the node are in settings.go.
//
// Keys live in memory only and belong to every caller: whoever may call, may read them.
package shh

import (
	"context"
	"log/slog"
	"sync"

	"github.com/ethereum/go-ethereum/p2p/enode"

	"whisperpush/whisper"
)

// Namespace is the name the methods are served under: shh_post.
const Namespace = "shh"

// Node is what the methods need of a *whisper.Node.
type Node interface {
	Post(ctx context.Context, env *whisper.Envelope) error
	SendDirect(ctx context.Context, peer enode.ID, envs ...*whisper.Envelope) error
	Subscribe(f whisper.Filter, buffer int) (*whisper.Subscription, error)
	Connected(peer enode.ID) bool
	Trust(peer enode.ID)
	Pool() whisper.PoolInfo
	MinPoW() float64
	SetMinPoW(pow float64) error
	MaxMessageSize() uint32
	SetMaxMessageSize(size uint32) error
	SetBloom(b whisper.Bloom)
	LightNode() bool
	SetLightNode(light bool)
}

// API has the methods of the namespace as methods of its own; the rpc package makes shh_newKeyPair of NewKeyPair.
type API struct {
	node   Node
	logger *slog.Logger
	keys   keys

	mu            sync.Mutex         // guards the following fields
	filters       map[string]*filter // by id
	subscriptions int
	closed        bool

	feeds sync.WaitGroup // goroutines that feed subscriptions
	quit  chan struct{}  // closed by close
}

// New serves node. stop ends every filter and subscription and waits for their goroutines; calls after it find no filter.
// It is no method, for the exported ones are served: anybody could call shh_close. logger may be nil.
func New(node Node, logger *slog.Logger) (_ *API, stop func()) {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	a := &API{
		node:    node,
		logger:  logger,
		keys:    newKeys(),
		filters: map[string]*filter{},
		quit:    make(chan struct{}),
	}
	return a, a.close
}

func (a *API) close() {
	a.mu.Lock()
	if !a.closed {
		a.closed = true
		close(a.quit)
	}
	for id, f := range a.filters {
		f.close()
		delete(a.filters, id)
	}
	a.mu.Unlock()
	a.feeds.Wait()
}
