package pushserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/p2p/enode"

	"whisperpush/durable"
	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/dispatch"
	"whisperpush/pushext/pushserver/follow"
	"whisperpush/pushext/pushserver/outbox"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/registry"
	"whisperpush/pushext/pushserver/requests"
	"whisperpush/pushext/pushserver/vault"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// Server is the push server of a mailserver: it takes registrations and wakes
// devices for what the archive takes. Create it with New, then call Start once
// and Stop once.
type Server struct {
	sender     Sender
	log        *slog.Logger
	store      *vault.Vault
	registry   *registry.Registry
	outbox     *outbox.Outbox
	dispatcher *dispatch.Dispatcher
	follower   *follow.Follower
	protocol   *requests.Server
	terms      atomic.Pointer[terms]
	retimed    chan struct{} // capacity 1: terms has another TTL
	rotated    chan struct{} // capacity 1: the disk key was exchanged
	fresh      bool          // the log was never followed
	whole      bool          // it holds all registrations, and may have been made of shards

	cancel context.CancelFunc // of the goroutines below; nil before Start
	wg     sync.WaitGroup     // of all goroutines but the outbox's writer
	writer sync.WaitGroup     // of the outbox's writer, which stops last
	halt   context.CancelFunc // of the writer
	once   sync.Once
}

// New opens the push database and builds the server. Nothing runs, and log,
// envelopes and sender are not used, before Start. The error wraps ErrDiskKey,
// ErrFormat or one of durable's errors, and says what to do.
func New(cfg Config) (*Server, error) {
	cfg, err := cfg.check()
	if err != nil {
		if cfg.Store != nil {
			err = errors.Join(err, cfg.Store.Close())
		}
		return nil, err
	}
	s, err := openVault(cfg)
	if err != nil {
		return nil, err
	}
	x, err := build(cfg, s)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return x, nil
}

func openVault(cfg Config) (*vault.Vault, error) {
	if cfg.Store != nil {
		return vault.On(cfg.Store, cfg.DiskKey)
	}
	return vault.Open(cfg.Dir, cfg.DiskKey, durable.Options{
		Storage: cfg.storage, Logger: cfg.Logger, Metrics: durable.NewMetrics(cfg.Registerer),
	})
}

func build(cfg Config, s *vault.Vault) (*Server, error) {
	box, started, err := outbox.New(s, outbox.Options{
		TTL: cfg.Delivery.TTL, SilentAfter: cfg.Delivery.SilentAfter, Logger: cfg.Logger, Registerer: cfg.Registerer,
	})
	if err != nil {
		return nil, err
	}
	over := &endings{box: box, log: cfg.Logger}
	reg, err := registry.Open(s, registry.Options{
		Limits: cfg.Limits, Providers: cfg.Providers, SkipChallenge: cfg.SkipChallenge, Admission: cfg.Admission, Ends: over,
		Shard: cfg.Shard, Logger: cfg.Logger, Registerer: cfg.Registerer,
	})
	if err != nil {
		return nil, err
	}
	d, err := dispatch.New(dispatch.Options{
		Delivery: cfg.Delivery, Providers: cfg.Providers,
		Directory: reg, Outbox: box, Hold: cfg.hold(), Logger: cfg.Logger, Registerer: cfg.Registerer,
	})
	if err != nil {
		return nil, err
	}
	over.dispatcher = d
	asked := requests.Options{
		PushKeys: Keys{Current: cfg.PushKey, Former: cfg.FormerKeys}, Last: cfg.Log.Last, Limits: cfg.Limits, Registry: reg, Outbox: box, Errands: d, Envelopes: cfg.Envelopes,
		Shard: cfg.Shard, Logger: cfg.Logger, Registerer: cfg.Registerer,
	}
	if log, ok := cfg.Log.(pushext.Identified); ok {
		asked.LogID = log.LogID
	}
	x := &Server{
		log: cfg.Logger, sender: cfg.Sender, store: s, registry: reg, outbox: box, dispatcher: d, retimed: make(chan struct{}, 1), rotated: make(chan struct{}, 1), fresh: !started, whole: cfg.Shard == nil,
		follower: follow.New(follow.Options{
			Log: cfg.Log, Matcher: reg, Outbox: box, FanOut: cfg.Delivery.FanOut, Logger: cfg.Logger, Registerer: cfg.Registerer,
		}),
		protocol: requests.New(asked),
	}
	x.terms.Store(&terms{cfg.Limits.Wire(), cfg.Delivery.TTL})
	return x, nil
}

// endings passes each end of a registration on to the outbox and the dispatcher.
type endings struct {
	box        *outbox.Outbox
	dispatcher *dispatch.Dispatcher
	log        *slog.Logger
}

func (e *endings) Record(id registration.ID) []byte { return outbox.Key(id) }

func (e *endings) Started(id registration.ID, version uint64, start registration.Start) {
	e.box.Started(id, version, start)
}

func (e *endings) Died(id registration.ID, reason string) {
	e.dispatcher.Forget(id)
	if err := e.box.Drop(id, outbox.OutcomeDead, reason); err != nil {
		e.log.Error("cannot drop the wake-ups of a dead registration", "err", err)
	}
}

func (e *endings) Gone(id registration.ID, reason string) {
	e.dispatcher.Forget(id)
	if err := e.box.Forget(id, outbox.OutcomeGone, reason); err != nil {
		e.log.Error("cannot drop the wake-ups of a registration that ended", "err", err)
	}
}

// Limits are the limits that the server states to clients.
func (x *Server) Limits() pushwire.Limits { return x.terms.Load().limits }

// Start begins to follow the archive, to wake devices and to answer requests.
// ctx bounds only the start itself.
func (x *Server) Start(ctx context.Context) error {
	if x.cancel != nil {
		return errors.New("push server was started before")
	}
	if x.fresh {
		if err := x.follower.Begin(); err != nil {
			return fmt.Errorf("start push: %w", err)
		}
	}
	if err := x.outbox.Begin(ctx, x.dispatcher); err != nil {
		return fmt.Errorf("start push: %w", err)
	}
	var write, run context.Context
	write, x.halt = context.WithCancel(context.Background())
	run, x.cancel = context.WithCancel(context.Background())
	x.writer.Go(func() { x.outbox.Run(write) })
	if x.whole {
		if err := x.settleUnion(ctx); err != nil {
			return fmt.Errorf("start push: settle what shards had to tell each other: %w", err)
		}
	}
	x.protocol.Start()
	goal := x.follower.End()
	x.wg.Go(func() { x.follower.Run(run) })
	x.wg.Go(func() {
		if x.follower.CatchUp(run, goal) {
			x.dispatcher.Start()
		}
	})
	x.wg.Go(func() {
		if err := x.outbox.Recall(run); err != nil && run.Err() == nil {
			x.log.Error("cannot read which messages devices were woken for; each is looked up instead", "err", err)
		}
	})
	x.wg.Go(func() { x.sweep(run) })
	x.wg.Go(func() { x.reseal(run) })
	return nil
}

// Stop ends everything and closes the database. It takes no more requests, lets
// attempts in flight end, and records their results and the index for the next
// start. It returns within ten seconds, or soon after ctx ends. What was not sent
// is sent after the next Start. Further calls do nothing.
func (x *Server) Stop(ctx context.Context) (err error) {
	x.once.Do(func() {
		if x.cancel != nil {
			ctx, cancel := context.WithTimeout(ctx, landTimeout)
			defer cancel()
			x.protocol.Stop()
			x.cancel()
			x.wg.Wait()
			x.dispatcher.Stop(ctx)
			x.halt()
			x.writer.Wait()
		} else {
			x.dispatcher.Stop(ctx)
		}
		saving, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
		defer cancel()
		err = errors.Join(x.registry.Save(saving), x.store.Close())
	})
	return err
}

// HandleRequest takes the payload of a packet 126 from a peer; see
// whisper.RequestHandler. It does not block.
func (x *Server) HandleRequest(peer enode.ID, payload []byte) {
	env, err := whisper.DecodeEnvelope(payload)
	if err != nil {
		x.protocol.Malformed()
		x.sender.Answered(peer)
		return
	}
	x.HandleEnvelope(peer, env)
}

// HandleEnvelope is HandleRequest for a decoded payload.
func (x *Server) HandleEnvelope(peer enode.ID, env *whisper.Envelope) {
	x.protocol.Handle(requests.Peer{Sender: x.sender, Node: peer}, env)
}

const (
	// registrySweep is the interval between two searches for registrations that ended.
	registrySweep = time.Minute
	// outboxSweeps is how many times per TTL the outbox is swept.
	outboxSweeps = 8
)

// sweep periodically ends what is too old.
func (x *Server) sweep(ctx context.Context) {
	registrations := time.NewTicker(registrySweep)
	defer registrations.Stop()
	entries := time.NewTicker(x.terms.Load().sweepEvery())
	defer entries.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-x.retimed:
			entries.Reset(x.terms.Load().sweepEvery())
		case now := <-registrations.C:
			x.dispatcher.ExpireSealers(now)
			err = x.registry.Sweep(now)
		case now := <-entries.C:
			err = x.outbox.Sweep(ctx, now, x.registry.Absent)
		}
		if err != nil && ctx.Err() == nil {
			x.log.Error("cannot look for what expired; trying again later", "err", err)
		}
	}
}

// saveTimeout is how long Stop writes a snapshot before it gives up: enough for
// some ten million channels. After that the next start reads all registrations.
const saveTimeout = 1500 * time.Millisecond
