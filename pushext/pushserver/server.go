package pushserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p/enode"

	"whisperpush/durable"
	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/vault"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// Server is the push server of a mailserver: it takes registrations, and
// wakes devices for what the archive takes. Create it with New, then Start and
// Stop it once.
type Server struct {
	log        *slog.Logger
	store      *vault.Vault
	registry   *registry
	outbox     *outbox
	dispatcher *dispatcher
	follower   *follower
	protocol   *protocol
	ttl        time.Duration
	fresh      bool // the log was never followed

	cancel context.CancelFunc // of the goroutines below; nil before Start
	wg     sync.WaitGroup     // of follower and sweeper
	writer sync.WaitGroup     // of the outbox's writer, which goes last
	halt   context.CancelFunc // of the writer
	once   sync.Once
}

// New opens the push database and builds the server; nothing runs, and neither
// log, envelopes nor sender are asked for anything before Start. The error wraps
// ErrDiskKey, ErrFormat, or durable's errors, and says what to do.
func New(cfg Config) (*Server, error) {
	cfg, err := cfg.check()
	if err != nil {
		return nil, err
	}
	s, err := vault.Open(cfg.Dir, cfg.DiskKey, durable.Options{
		Storage: cfg.storage, Logger: cfg.Logger, Metrics: durable.NewMetrics(cfg.Registerer),
	})
	if err != nil {
		return nil, err
	}
	x, err := build(cfg, s)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return x, nil
}

func build(cfg Config, s *vault.Vault) (*Server, error) {
	box, started, err := newOutbox(s, outboxOptions{
		TTL: cfg.Delivery.TTL, SilentAfter: cfg.Delivery.SilentAfter, Logger: cfg.Logger, Registerer: cfg.Registerer,
	})
	if err != nil {
		return nil, err
	}
	over := &endings{box: box, log: cfg.Logger}
	reg, err := openRegistry(s, registryOptions{
		Limits: cfg.Limits, Providers: cfg.Providers, SkipChallenge: cfg.SkipChallenge, Ends: over,
		Logger: cfg.Logger, Registerer: cfg.Registerer,
	})
	if err != nil {
		return nil, err
	}
	d, err := newDispatcher(dispatchOptions{
		Delivery: cfg.Delivery, Providers: cfg.Providers, Server: [33]byte(crypto.CompressPubkey(&cfg.PushKey.PublicKey)),
		Directory: reg, Outbox: box, Logger: cfg.Logger, Registerer: cfg.Registerer,
	})
	if err != nil {
		return nil, err
	}
	over.dispatcher = d
	asked := protocolOptions{
		PushKey: cfg.PushKey, Limits: cfg.Limits, Registry: reg, Outbox: box, Errands: d, Envelopes: cfg.Envelopes, Sender: cfg.Sender,
		Logger: cfg.Logger, Registerer: cfg.Registerer,
	}
	if log, ok := cfg.Log.(pushext.Identified); ok {
		asked.LogID = log.LogID
	}
	return &Server{
		log: cfg.Logger, store: s, registry: reg, outbox: box, dispatcher: d, ttl: cfg.Delivery.TTL, fresh: !started,
		follower: newFollower(followerOptions{
			Log: cfg.Log, Matcher: reg, Outbox: box, FanOut: cfg.Delivery.FanOut, Logger: cfg.Logger, Registerer: cfg.Registerer,
		}),
		protocol: newProtocol(asked),
	}, nil
}

// endings ends everywhere what ended in the registry.
type endings struct {
	box        *outbox
	dispatcher *dispatcher
	log        *slog.Logger
}

func (e *endings) record(id registration.ID) []byte { return deviceKey(id) }

func (e *endings) died(id registration.ID, reason string) {
	e.dispatcher.forget(id)
	if err := e.box.drop(id, outcomeDead, reason); err != nil {
		e.log.Error("cannot drop the wake-ups of a dead registration", "err", err)
	}
}

func (e *endings) gone(id registration.ID, reason string) {
	e.dispatcher.forget(id)
	if err := e.box.forget(id, outcomeGone, reason); err != nil {
		e.log.Error("cannot drop the wake-ups of a registration that ended", "err", err)
	}
}

// Limits are what the server tells clients that it allows.
func (x *Server) Limits() pushwire.Limits { return x.protocol.limits.wire() }

// Start begins to follow the archive, to wake devices and to answer requests.
// ctx bounds the start alone.
func (x *Server) Start(ctx context.Context) error {
	if x.cancel != nil {
		return errors.New("push server was started before")
	}
	if x.fresh {
		if err := x.follower.begin(); err != nil {
			return fmt.Errorf("start push: %w", err)
		}
	}
	if err := x.outbox.begin(ctx, x.dispatcher); err != nil {
		return fmt.Errorf("start push: %w", err)
	}
	var write, run context.Context
	write, x.halt = context.WithCancel(context.Background())
	run, x.cancel = context.WithCancel(context.Background())
	x.writer.Go(func() { x.outbox.run(write) })
	x.protocol.start()
	goal := x.follower.end()
	x.wg.Go(func() { x.follower.run(run) })
	x.wg.Go(func() {
		if x.follower.catchUp(run, goal) {
			x.dispatcher.start()
		}
	})
	x.wg.Go(func() { x.sweep(run) })
	return nil
}

// Stop ends everything and closes the database: it takes no more requests,
// lets attempts in flight end, records what they brought and the index for the next
// start, and returns within ten seconds, or soon after ctx ends. What was not sent
// is sent after the next Start. Further calls do nothing.
func (x *Server) Stop(ctx context.Context) (err error) {
	x.once.Do(func() {
		if x.cancel != nil {
			ctx, cancel := context.WithTimeout(ctx, landTimeout)
			defer cancel()
			x.protocol.stop()
			x.cancel()
			x.wg.Wait()
			x.dispatcher.stop(ctx)
			x.halt()
			x.writer.Wait()
		} else {
			x.dispatcher.cancel()
		}
		saving, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
		defer cancel()
		err = errors.Join(x.registry.save(saving), x.store.Close())
	})
	return err
}

// HandleRequest takes the payload of a packet 126 that a peer sent; see
// whisper.RequestHandler. It does not block.
func (x *Server) HandleRequest(peer enode.ID, payload []byte) {
	env, err := whisper.DecodeEnvelope(payload)
	if err != nil {
		x.protocol.m.drop("malformed")
		return
	}
	x.HandleEnvelope(peer, env)
}

// HandleEnvelope is HandleRequest for a payload that was decoded.
func (x *Server) HandleEnvelope(peer enode.ID, env *whisper.Envelope) {
	x.protocol.handle(peer, env)
}

const (
	// registrySweep is how often registrations are looked through for those that ended.
	registrySweep = time.Minute
	// outboxSweeps is how often in a TTL the outbox is looked through.
	outboxSweeps = 8
)

// sweep ends what is too old, from time to time.
func (x *Server) sweep(ctx context.Context) {
	registrations := time.NewTicker(registrySweep)
	defer registrations.Stop()
	entries := time.NewTicker(min(max(x.ttl/outboxSweeps, time.Minute), time.Hour))
	defer entries.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case now := <-registrations.C:
			x.dispatcher.expireSealers(now)
			err = x.registry.sweep(now)
		case now := <-entries.C:
			err = x.outbox.sweep(ctx, now, x.registry.absent)
		}
		if err != nil && ctx.Err() == nil {
			x.log.Error("cannot look for what expired; trying again later", "err", err)
		}
	}
}
