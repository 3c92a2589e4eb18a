package whisper

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/prometheus/client_golang/prometheus"
)

// Archiver stores envelopes durably.
//
// Archive may block while its queue is full, which holds up the peer that sent the
// envelopes, and returns early when ctx ends. It may store them in another order.
// It does not keep the slice envs, but may keep the envelopes. It calls done
// exactly once, from any goroutine, after all of envs are fsynced (nil) or have
// failed (err). On err the node forgets the hashes, so that it accepts another
// peer's copy.
type Archiver interface {
	Archive(ctx context.Context, envs []*Envelope, done func(error))
}

// RequestHandler gets the RLP payload of each packet 126 and owns it. It is called on
// the peer's read goroutine, so it passes the payload to a bounded queue and does not
// block. When a request is finished, Node.Answered must be called for it.
type RequestHandler interface {
	HandleRequest(peer enode.ID, payload []byte)
}

// DirectHandler gets packets 127, from trusted peers only, and the content of
// packets 125, on the peer's read goroutine. Only the form and size of direct
// envelopes were checked: not their expiry, work, topic or receiver.
type DirectHandler interface {
	HandleDirect(peer enode.ID, env *Envelope)
	HandleRequestComplete(peer enode.ID, payload []byte)
}

// SyncHandler is a DirectHandler that also gets the RLP payload of each packet 124 from a
// trusted peer, and owns it, on the peer's read goroutine. A node without a SyncHandler ignores
// these packets like any unknown ones.
type SyncHandler interface {
	DirectHandler
	HandleSyncResponse(peer enode.ID, payload []byte)
}

// Config of a Node. The zero value is a full node that accepts any work and
// keeps the default bounds.
type Config struct {
	MaxMessageSize uint32  // largest Envelope.Size in bytes; 0: DefaultMaxMessageSize, at most MaxMessageSizeLimit
	MinPoW         float64 // least proof of work; 0: any
	Bloom          *Bloom  // filter of the topics wanted; nil: every topic
	LightNode      bool    // pass on only envelopes posted here
	RestrictLight  bool    // as a light node, refuse links to light nodes

	PoolEnvelopes int   // most envelopes remembered; 0: DefaultPoolEnvelopes
	PoolBytes     int64 // most memory of the pool, bytes; 0: DefaultPoolBytes
	PeerBytes     int   // budget of a peer, payload bytes a second; 0: no limit. See DefaultPeerBytes
	PeerMessages  int   // budget of a peer, envelopes a second except duplicates; 0: no limit. See DefaultPeerMessages
	MaxInbound    int   // most links opened by others; 0: as many as p2p.Server lets in. See inbound.go

	Archiver Archiver       // nil: nothing is archived
	Requests RequestHandler // nil: mail requests are ignored and counted
	Direct   DirectHandler  // nil: direct messages reach subscriptions only

	// Source returns the source that limits on strangers count by; nil: SourceOf.
	// Tests set another, as all their peers come from this computer.
	Source func(netip.Addr, enode.ID) Source

	Logger     *slog.Logger          // nil: nothing is logged
	Registerer prometheus.Registerer // nil: metrics are kept but not registered
}

// Node is one end of shh/6. Run is called for each link: by package devp2p for
// the links of a p2p.Server, by package uplink for one that a program dials.
// Node is safe for concurrent use.
//
// Each peer has one goroutine that reads and one that writes, each subscription
// has one that opens envelopes, and the node has one that expires envelopes. Stop
// waits for all of them.
type Node struct {
	light         atomic.Bool
	restrictLight bool
	peerBytes     int
	peerMessages  int
	archiver      Archiver
	requests      RequestHandler
	direct        DirectHandler
	source        func(netip.Addr, enode.ID) Source
	log           *slog.Logger
	metrics       *metrics

	settings      atomic.Pointer[settings]
	pool          *pool
	subscriptions *subscriptions
	handlers      map[uint64]handler

	ctx     context.Context // ends with Stop
	cancel  context.CancelFunc
	started atomic.Bool
	running sync.WaitGroup

	links atomic.Pointer[[]*peer] // the values of peers, replaced with each change

	mu      sync.Mutex // guards the following fields
	stopped bool
	peers   map[enode.ID]*peer
	linked  map[*seat]struct{} // every link, also before its handshake is complete
	inbound seats
	trusted map[enode.ID]struct{}
	changed chan struct{} // closed and replaced when peers changes
}

// NewNode returns a node that is not started yet.
func NewNode(cfg Config) (*Node, error) {
	if cfg.MaxMessageSize == 0 {
		cfg.MaxMessageSize = DefaultMaxMessageSize
	}
	if err := checkMaxMessageSize(cfg.MaxMessageSize); err != nil {
		return nil, err
	}
	if err := checkPoW(cfg.MinPoW); err != nil {
		return nil, err
	}
	if cfg.PoolEnvelopes == 0 {
		cfg.PoolEnvelopes = DefaultPoolEnvelopes
	}
	if cfg.PoolBytes == 0 {
		cfg.PoolBytes = DefaultPoolBytes
	}
	if cfg.PoolEnvelopes < 0 || cfg.PoolBytes < 0 || cfg.PeerBytes < 0 || cfg.PeerMessages < 0 || cfg.MaxInbound < 0 {
		return nil, fmt.Errorf("whisper: a bound is negative: pool %d envelopes, %d bytes, peer %d bytes/s, %d messages/s, %d inbound links",
			cfg.PoolEnvelopes, cfg.PoolBytes, cfg.PeerBytes, cfg.PeerMessages, cfg.MaxInbound)
	}
	bloom := FullBloom()
	if cfg.Bloom != nil {
		bloom = *cfg.Bloom
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Source == nil {
		cfg.Source = SourceOf
	}
	n := &Node{
		restrictLight: cfg.RestrictLight,
		peerBytes:     cfg.PeerBytes,
		peerMessages:  cfg.PeerMessages,
		archiver:      cfg.Archiver,
		requests:      cfg.Requests,
		direct:        cfg.Direct,
		source:        cfg.Source,
		log:           cfg.Logger,
		pool:          newPool(cfg.PoolEnvelopes, cfg.PoolBytes, uint32(time.Now().Unix())),
		peers:         make(map[enode.ID]*peer),
		linked:        make(map[*seat]struct{}),
		inbound:       newSeats(cfg.MaxInbound),
		trusted:       make(map[enode.ID]struct{}),
		changed:       make(chan struct{}),
	}
	n.light.Store(cfg.LightNode)
	n.ctx, n.cancel = context.WithCancel(context.Background())
	n.links.Store(new([]*peer))
	n.settings.Store(&settings{maxMessageSize: cfg.MaxMessageSize, minPoW: cfg.MinPoW, bloom: bloom})
	n.metrics = newMetrics(cfg.Registerer, n)
	n.subscriptions = newSubscriptions(n.metrics.undelivered.Inc)
	n.handlers = n.packetHandlers()
	return n, nil
}

// Start starts the expiry of envelopes. It is called once, before the first
// link.
func (n *Node) Start() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stopped || n.started.Swap(true) {
		return fmt.Errorf("%w: it can be started once", ErrNotRunning)
	}
	n.running.Go(n.tick)
	return nil
}

// Stop ends every link and subscription, and waits for all goroutines. It may be
// called before Start and more than once.
func (n *Node) Stop() {
	n.mu.Lock()
	n.stopped = true
	links := slices.Collect(maps.Keys(n.linked))
	n.mu.Unlock()
	n.cancel()
	for _, at := range links {
		at.link.Disconnect(ErrNotRunning)
	}
	n.running.Wait()
	n.subscriptions.close()
}

func (n *Node) tick() {
	ticker := time.NewTicker(expireEvery)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			n.pool.expire(uint32(now.Unix()))
			for _, p := range *n.links.Load() {
				p.tick(now)
			}
		case <-n.ctx.Done():
			return
		}
	}
}

// NodeInfo describes the node to an operator.
type NodeInfo struct {
	MinPoW         float64 `json:"minPow"`
	MaxMessageSize uint32  `json:"maxMessageSize"`
	Light          bool    `json:"light"`
}

// Info describes the node.
func (n *Node) Info() NodeInfo {
	s := n.settings.Load()
	return NodeInfo{MinPoW: s.minPoW, MaxMessageSize: s.maxMessageSize, Light: n.light.Load()}
}

// Run speaks shh/6 on a link until it ends, and returns the reason: ErrNotRunning
// before Start and after Stop, ErrConnected if there is another link to that peer,
// ErrFull if there is no room for it, an error that wraps ErrHandshake, or what the
// link's own methods return.
func (n *Node) Run(link Link) error {
	at, err := n.enter(link)
	if err != nil {
		return err
	}
	defer n.leave(at)

	s := n.settings.Load()
	ours := status{minPoW: s.minPoW, bloom: s.bloom, light: n.light.Load()}
	theirs, err := handshake(n.ctx, link, ours)
	if err == nil && ours.light && n.restrictLight && theirs.light {
		err = fmt.Errorf("%w: both nodes are light", ErrHandshake)
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(n.ctx)
	p := newPeer(n, ctx, at, theirs)
	if err := n.addPeer(p, s); err != nil {
		cancel()
		return err
	}
	var writing sync.WaitGroup
	writing.Go(p.writeLoop)
	err = p.readLoop()
	n.removePeer(p)
	cancel()
	writing.Wait()
	return err
}

// enter registers a link, so that Stop ends it and waits for it. To make room, it
// may close another link or this one.
func (n *Node) enter(link Link) (*seat, error) {
	now := time.Now()
	at := n.newSeat(link, now)
	n.mu.Lock()
	if n.stopped || !n.started.Load() {
		n.mu.Unlock()
		return nil, ErrNotRunning
	}
	_, at.trusted = n.trusted[at.id]
	gone := n.admit(at, now)
	if gone != at {
		n.linked[at] = struct{}{}
		n.running.Add(1)
	}
	n.mu.Unlock()
	switch gone {
	case nil:
	case at:
		return nil, ErrFull
	default:
		gone.link.Disconnect(ErrFull)
	}
	return at, nil
}

func (n *Node) leave(at *seat) {
	n.mu.Lock()
	delete(n.linked, at)
	n.inbound.remove(at)
	n.mu.Unlock()
	n.running.Done()
}

// addPeer adds a peer. said are the settings it was told in the handshake.
func (n *Node) addPeer(p *peer, said *settings) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.peers[p.id] != nil {
		return ErrConnected
	}
	if _, ok := n.trusted[p.id]; ok {
		p.trusted.Store(true)
	}
	if n.settings.Load() != said {
		p.tell(tellPoW | tellBloom)
	}
	n.peers[p.id] = p
	n.peersChanged()
	n.log.Debug("peer connected", "light", p.light, "peers", len(n.peers))
	return nil
}

func (n *Node) removePeer(p *peer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.peers, p.id)
	n.peersChanged()
	n.log.Debug("peer disconnected", "peers", len(n.peers))
}

func (n *Node) peersChanged() {
	links := slices.Collect(maps.Values(n.peers))
	n.links.Store(&links)
	close(n.changed)
	n.changed = make(chan struct{})
}

// peer returns the peer with that ID, or nil if its handshake is not complete.
func (n *Node) peer(id enode.ID) *peer {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.peers[id]
}

// Connected reports whether the handshake with a peer is complete and its
// link is up.
func (n *Node) Connected(id enode.ID) bool { return n.peer(id) != nil }

// WaitPeer waits until the handshake with a peer is complete. It does not
// connect to the peer.
func (n *Node) WaitPeer(ctx context.Context, id enode.ID) error {
	if err := n.waitPeer(ctx, id, true); err != nil {
		return fmt.Errorf("%w: %w", ErrNotConnected, err)
	}
	return nil
}

// WaitGone waits until there is no link to a peer.
func (n *Node) WaitGone(ctx context.Context, id enode.ID) error { return n.waitPeer(ctx, id, false) }

func (n *Node) waitPeer(ctx context.Context, id enode.ID, wanted bool) error {
	for {
		n.mu.Lock()
		_, connected := n.peers[id]
		changed := n.changed
		n.mu.Unlock()
		if connected == wanted {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-n.ctx.Done():
			return ErrNotRunning
		}
	}
}

// Peer describes one connected peer.
func (n *Node) Peer(id enode.ID) (info PeerInfo, ok bool) {
	if p := n.peer(id); p != nil {
		return p.info(), true
	}
	return PeerInfo{}, false
}

// Peers describes the connected peers.
func (n *Node) Peers() []PeerInfo {
	links := *n.links.Load()
	infos := make([]PeerInfo, len(links))
	for i, p := range links {
		infos[i] = p.info()
	}
	return infos
}

// Pool describes what the pool holds.
func (n *Node) Pool() PoolInfo { return n.pool.info() }

// Trust makes the node accept direct messages from a peer and exempts the peer
// from its budget, now and whenever it connects.
func (n *Node) Trust(id enode.ID) { n.trust(id, true) }

// Distrust undoes Trust.
func (n *Node) Distrust(id enode.ID) { n.trust(id, false) }

func (n *Node) trust(id enode.ID, trusted bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if trusted {
		n.trusted[id] = struct{}{}
	} else {
		delete(n.trusted, id)
	}
	for at := range n.linked {
		if at.id == id {
			at.trusted = trusted
		}
	}
	if p := n.peers[id]; p != nil {
		p.trusted.Store(trusted)
	}
}
