package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/prometheus/client_golang/prometheus"

	"whisperpush/desk"
	"whisperpush/postgres"
	"whisperpush/pushext/pushserver"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// Config of a Server.
type Config struct {
	// DB holds the registrations. It is not closed.
	DB *postgres.DB
	// Archive is the archive behind Push.Log, through which nodes tell each other about new
	// envelopes. If it is nil, they learn of them from the database alone, some ten milliseconds
	// later.
	Archive *postgres.Archive
	// Listen is this node's address, as host:port: it listens there for the other nodes, and
	// they connect to it. Port 0 is any free one.
	Listen string
	// Push configures each shard; its limits are those of all nodes together. Dir, Store and
	// Shard are not used.
	Push pushserver.Config
	// Taken is told of push keys that were exchanged, from one goroutine. The keys that count
	// are those in the database. nil: nobody is told.
	Taken func(pushserver.Keys)
}

// Server is one node's part in a push server that nodes share. Create it with New, then
// Start and Stop it once. Its methods may be called concurrently.
type Server struct {
	cfg      Config
	limits   atomic.Pointer[pushserver.Limits] // complete, of all nodes together
	log      *slog.Logger
	m        *metrics
	ring     atomic.Pointer[keyring]
	tail     *tail
	shards   *postgres.Shards
	listener net.Listener
	desk     *desk.Desk[asking]
	keepers  [postgres.ShardCount]*keeper
	opening  chan struct{} // holds one for each shard that is being opened
	opened   chan error    // the result of opening each shard of the first beat
	soon     chan struct{} // holds one: beat now
	moved    chan struct{} // holds one: a shard has a new owner
	claimed  chan struct{} // holds one: there is a claim to settle
	seen     chan struct{} // holds one: there is something to tell other shards
	rekeyed  chan struct{} // holds one: the node is to be told of push keys
	herald   herald
	wrap     atomic.Pointer[[]byte] // see wrapped
	present  present
	peers    peers
	topic    whisper.Topic

	cancel context.CancelFunc // nil before Start
	wg     sync.WaitGroup     // of all goroutines except the beat
	beats  sync.WaitGroup     // of the beat, which ends last
	halt   context.CancelFunc // of the beat
	once   sync.Once

	rotating sync.Mutex // held during an exchange of the push key
	taking   sync.Mutex // guards changes of ring, and of the cores' keys

	// resetting guards what Prepare changes of cfg.Push. Opening a shard holds it for reading
	// until the core is known.
	resetting sync.RWMutex

	mu      sync.Mutex // guards the following fields
	leases  postgres.Leases
	wrong   *postgres.ClockError // why this node must have no shards; nil: the clock is right
	held    map[string]bool      // providers that the operator allows no attempt through
	changed chan struct{}        // closed and replaced when leases or cores have changed
}

// New builds a server and listens. It asks nothing of the database before Start.
func New(cfg Config) (*Server, error) {
	if cfg.DB == nil || cfg.Push.PushKey == nil || cfg.Push.Log == nil || cfg.Push.Envelopes == nil || cfg.Push.Sender == nil {
		return nil, errors.New("a cluster's node needs a database, a push key, an archive and a sender")
	}
	if cfg.Push.Logger == nil {
		cfg.Push.Logger = slog.New(slog.DiscardHandler)
	}
	limits := cfg.Push.Limits.WithDefaults()
	delivery, err := divideDelivery(cfg.Push.Delivery, cfg.Push.Providers)
	if err != nil {
		return nil, err
	}
	cfg.Push.Delivery, cfg.Push.Limits = delivery, divideLimits(cfg.Push.Limits)
	ring, err := firstKeyring(pushserver.Keys{Current: cfg.Push.PushKey, Former: cfg.Push.FormerKeys}, cfg.Push.DiskKey)
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, log: cfg.Push.Logger, tail: newTail(cfg.Push.Log, cfg.Push.Logger),
		opening: make(chan struct{}, openAtOnce), opened: make(chan error, postgres.ShardCount),
		soon: make(chan struct{}, 1), claimed: make(chan struct{}, 1), seen: make(chan struct{}, 1), moved: make(chan struct{}, 1), changed: make(chan struct{}), rekeyed: make(chan struct{}, 1), topic: pushwire.Topic(),
		herald: herald{wake: make(chan struct{}, 1)},
	}
	s.limits.Store(&limits)
	s.ring.Store(ring)
	s.peers.s = s
	s.cfg.Push.Log = s.tail
	for n := range s.keepers {
		s.keepers[n] = &keeper{s: s, shard: n, wake: make(chan struct{}, 1)}
	}
	s.desk = s.newDesk()
	if s.listener, err = net.Listen("tcp", cfg.Listen); err != nil {
		return nil, fmt.Errorf("listen for the other nodes at %s: %w", cfg.Listen, err)
	}
	s.m = newMetrics(cfg.Push.Registerer)
	s.shards = cfg.DB.Shards(s.listener.Addr().String(), ring.mark)
	return s, nil
}

// Start joins the other nodes, opens this node's shards, and begins to answer. ctx bounds only
// the start. The error wraps postgres.ErrOtherKeys or one of pushserver's errors.
func (s *Server) Start(ctx context.Context) error {
	if err := s.shards.Check(ctx); err != nil {
		return fmt.Errorf("start push: %w", err)
	}
	if err := s.refresh(ctx); err != nil {
		return fmt.Errorf("start push: %w", err)
	}
	leases, err := s.beatOnce(ctx)
	if !s.aside(err) && err != nil {
		return fmt.Errorf("start push: %w", err)
	}
	var run, beat context.Context
	run, s.cancel = context.WithCancel(context.Background())
	beat, s.halt = context.WithCancel(context.Background())
	s.wg.Go(func() { s.tail.run(run) })
	s.wg.Go(func() { s.accept(run) })
	s.wg.Go(func() { s.settleClaims(run) })
	s.wg.Go(func() { s.tellSeen(run) })
	s.wg.Go(func() { s.tellKeys(run) })
	if s.cfg.Archive != nil {
		s.wg.Go(func() { s.tellArchived(run) })
		s.cfg.Archive.Tell(s.herald.archived)
	}
	for _, k := range s.keepers {
		s.wg.Go(func() { k.run(run) })
	}
	s.learn(leases)
	s.beats.Go(func() { s.beat(beat) })
	for range leases.Mine(s.shards.Node()) {
		select {
		case err := <-s.opened:
			if err != nil {
				return fmt.Errorf("start push: %w", err)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.wg.Go(func() { s.desk.Run(run) })
	s.wg.Go(func() { s.tidy(run) })
	return nil
}

// Stop ends the cores, gives the shards to the other nodes, and returns when nothing runs any
// more. The other nodes send what was not sent. Further calls do nothing.
func (s *Server) Stop(ctx context.Context) (err error) {
	s.once.Do(func() {
		s.listener.Close()
		if s.cancel != nil {
			s.cancel()
			s.peers.close()
			s.wg.Wait()
			s.halt()
			s.beats.Wait()
			err = s.shards.Leave(ctx)
		}
		s.m.unregister(s.cfg.Push.Registerer)
	})
	return err
}

// Limits are the limits that the server tells clients.
func (s *Server) Limits() pushwire.Limits { return s.limits.Load().Wire() }

// Addr is where other nodes reach this one.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// beat renews the leases until ctx ends.
func (s *Server) beat(ctx context.Context) {
	tick := time.NewTicker(postgres.BeatEvery)
	defer tick.Stop()
	failing, left, off := false, false, false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-s.soon:
		}
		leases, err := s.beatOnce(ctx)
		aside := s.aside(err)
		switch {
		case ctx.Err() != nil:
			return
		case aside:
			s.learn(leases)
			if !left && len(s.cores()) == 0 {
				left = s.shards.Leave(ctx) == nil // otherwise its leases end by themselves
			}
		case err == nil:
			left = false
			if before := off; leases.Ahead.Abs() > postgres.MostSkew != before {
				off = !before
				s.log.Warn("the clocks of this computer and of the database server are apart, or agree again; it was the database server's that was set, or nobody is there to tell which is right, so this node goes on",
					"ahead", leases.Ahead.Round(time.Second), "apart", off)
			}
			if failing {
				s.log.Info("this node's leases of shards are renewed again")
			}
			failing = false
			s.learn(leases)
		case !failing:
			failing = true
			s.log.Warn("this node's leases of shards cannot be renewed; it wakes no devices when they have ended", "err", err)
		}
	}
}

// aside notes whether the clock allows this node to have shards, and returns true if it does
// not.
func (s *Server) aside(err error) bool {
	var wrong *postgres.ClockError
	errors.As(err, &wrong)
	s.mu.Lock()
	before := s.wrong
	if err == nil || wrong != nil { // otherwise nothing is known of the clock
		s.wrong = wrong
	}
	s.mu.Unlock()
	switch {
	case wrong != nil && before == nil:
		s.log.Error("this node gives its shards up", "err", wrong)
	case err == nil && before != nil:
		s.log.Info("this computer's clock is right again; this node takes shards")
	}
	return wrong != nil
}

// learn notes which node has which shard.
func (s *Server) learn(l postgres.Leases) {
	s.mu.Lock()
	moved := l.Owners != s.leases.Owners
	s.leases = l
	s.wakeLocked()
	s.mu.Unlock()
	s.m.ahead.Set(l.Ahead.Seconds())
	if moved {
		mine := l.Mine(s.shards.Node())
		s.log.Info("shards of the registrations", "own", len(mine), "part", l.Part)
		s.m.owned.Set(float64(len(mine)))
		signal(s.moved)
	}
	for _, k := range s.keepers {
		signal(k.wake)
	}
}

// wakeLocked wakes everything that waits for a change. The caller holds mu.
func (s *Server) wakeLocked() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// state returns what is known of the leases, and a channel that is closed when that changes.
func (s *Server) state() (postgres.Leases, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leases, s.changed
}

// neighbours returns the addresses of the other nodes that have shards, each once.
func (s *Server) neighbours() (addresses []string) {
	l, _ := s.state()
	for _, owner := range l.Owners {
		if owner.Node != 0 && owner.Node != s.shards.Node() && !slices.Contains(addresses, owner.Address) {
			addresses = append(addresses, owner.Address)
		}
	}
	return addresses
}

// signal sends to a channel that holds one, if it is empty.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// cores returns the cores that run.
func (s *Server) cores() (list []*core) {
	for _, k := range s.keepers {
		if c := k.current(); c != nil {
			list = append(list, c)
		}
	}
	return list
}

// Probe returns nil if the stores of this node's shards take writes. The error is a
// *postgres.ClockError if the node must have no shards.
func (s *Server) Probe() error {
	s.mu.Lock()
	wrong := s.wrong
	s.mu.Unlock()
	if wrong != nil {
		return wrong
	}
	for _, c := range s.cores() {
		if err := c.server.Probe(); err != nil {
			return fmt.Errorf("shard %d: %w", c.shard, err)
		}
	}
	return nil
}

// Position is the receive sequence up to which the archive was matched for all of this node's
// shards.
func (s *Server) Position() uint64 {
	cores := s.cores()
	if len(cores) == 0 {
		return s.tail.Last()
	}
	position := cores[0].server.Position()
	for _, c := range cores[1:] {
		position = min(position, c.server.Position())
	}
	return position
}

// Providers returns the states of all providers at now, by name. A provider is failing or paused
// if it is so for any shard.
func (s *Server) Providers(now time.Time) []pushserver.ProviderState {
	all := map[string]*pushserver.ProviderState{}
	for _, c := range s.cores() {
		for _, p := range c.server.Providers(now) {
			sum := all[p.Name]
			if sum == nil {
				all[p.Name] = &p
				continue
			}
			sum.Cause = cmp.Or(sum.Cause, p.Cause)
			sum.Failing, sum.Paused, sum.Queued = sum.Failing || p.Failing, sum.Paused || p.Paused, sum.Queued+p.Queued
		}
	}
	list := make([]pushserver.ProviderState, 0, len(all))
	for _, p := range all {
		list = append(list, *p)
	}
	slices.SortFunc(list, func(a, b pushserver.ProviderState) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// HandleEnvelope takes the envelope of a packet 126 on the push topic. It does not block.
func (s *Server) HandleEnvelope(peer enode.ID, env *whisper.Envelope) {
	s.HandleCall(pushserver.Peer{Sender: s.cfg.Push.Sender, Node: peer}, env)
}

// metrics of a Server.
type metrics struct {
	owned    prometheus.Gauge
	ahead    prometheus.Gauge
	requests *prometheus.CounterVec // by where: own, other, nowhere
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		owned: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "whisperpush_cluster_shards", Help: "Shards of the registrations that this node has.",
		}),
		ahead: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "whisperpush_cluster_clock_ahead_seconds",
			Help: "By how much this computer's clock is ahead of the database server's, at least. Beyond 30 s either way a node whose clock was set has no shards.",
		}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "whisperpush_cluster_requests_total",
			Help: "Requests of devices by where they were answered: own, other, or nowhere as nobody had the shard in time.",
		}, []string{"where"}),
	}
	for _, where := range []string{"own", "other", "nowhere"} {
		m.requests.WithLabelValues(where)
	}
	if r != nil {
		r.MustRegister(m.owned, m.ahead, m.requests)
	}
	return m
}

func (m *metrics) unregister(r prometheus.Registerer) {
	if r != nil {
		r.Unregister(m.owned)
		r.Unregister(m.ahead)
		r.Unregister(m.requests)
	}
}

// Shards lists the shards whose devices this node wakes now, ascending.
func (s *Server) Shards() (list []int) {
	for _, c := range s.cores() {
		list = append(list, c.shard)
	}
	return list
}
