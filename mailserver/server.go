package mailserver

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/prometheus/client_golang/prometheus"

	"whisperpush/desk"
	"whisperpush/mailserver/archive"
	"whisperpush/mailserver/mailwire"
	"whisperpush/whisper"
)

// Store is what a Server reads. An archive.Archive is one. Its methods are called
// concurrently and return soon after their context ends.
type Store interface {
	// Query returns a page of what matches.
	Query(ctx context.Context, q archive.Query) (archive.Page, error)
	// ByHash returns the named envelopes in that order, without the missing ones.
	ByHash(ctx context.Context, hashes []common.Hash) (found []archive.Record, missing []common.Hash, err error)
	// Last returns the newest receive sequence, 0 if there is none.
	Last() uint64
	// HashAt returns the hash of the envelope with that sequence; false if there is
	// none, or it cannot be read.
	HashAt(seq uint64) (common.Hash, bool)
	// ID returns the identity of the log that the sequences belong to.
	ID() [mailwire.LogIDSize]byte
}

// Sender is how a Server answers peers of devp2p. A whisper.Node is one. Its Send methods block
// until the peer's connection has taken the packets, and fail if the peer is gone or the context
// ends.
type Sender interface {
	SendDirect(ctx context.Context, peer enode.ID, envs ...*whisper.Envelope) error
	SendDirectBatch(ctx context.Context, peer enode.ID, envs []*whisper.Envelope) error
	SendRequestComplete(ctx context.Context, peer enode.ID, payload []byte) error
	// Useful is called for each peer whose request was answered, and Proved for
	// each that knows a password that is not public.
	Useful(peer enode.ID)
	Proved(peer enode.ID)
	// Answered is called for each request when nothing more will be sent for it.
	Answered(peer enode.ID)
	// Source is the unit that a limit on strangers counts for a connected peer.
	Source(peer enode.ID) whisper.Source
}

// ServerConfig configures a Server. At least one of Key, Identity and Plain is
// needed for it to answer anything.
type ServerConfig struct {
	Store  Store  // not nil
	Sender Sender // not nil

	// Key opens requests made with the mailserver's password: 32 bytes, from
	// whisper.KeyFromPassword. nil: there is no password.
	Key []byte
	// KeyIsSecret says that the password is not public, so that whoever knows it is
	// not a stranger: strangers cannot take all the places.
	KeyIsSecret bool
	// Identity opens requests made for the mailserver's public key. nil: there is
	// none. Clients know no other key than the node's, so it is the one that
	// handshakes are encrypted to. What it decrypts is disclosed to nobody unless
	// it is a signed request.
	Identity *ecdsa.PrivateKey
	// Plain answers requests that are not in an envelope. It lets in everybody,
	// including those who do not know the password.
	Plain bool
	// Sign signs the statement of a Proof: r ‖ s ‖ v, or r ‖ s. nil: there are no
	// proofs.
	Sign func(digest []byte) ([]byte, error)
	// MinPoW is the least proof of work of the envelope of a request; 0: none.
	MinPoW float64

	Limits     Limits
	Logger     *slog.Logger          // nil: nothing is logged
	Registerer prometheus.Registerer // nil: metrics are not registered
}

// Server answers mail requests. It implements whisper.RequestHandler.
type Server struct {
	cfg     ServerConfig
	limits  atomic.Pointer[Limits]
	log     *slog.Logger
	metrics *serverMetrics
	desk    *desk.Desk[packet]

	mu      sync.Mutex // guards the following fields
	running bool
	cancel  context.CancelFunc
	done    sync.WaitGroup
}

// packet is the content of a packet 126, or of a request that came over another transport.
type packet struct {
	from  Caller
	env   *whisper.Envelope
	plain []byte // if it is no envelope
}

// NewServer checks the configuration. The server is idle until Start.
func NewServer(cfg ServerConfig) (*Server, error) {
	if cfg.Store == nil || cfg.Sender == nil {
		return nil, errors.New("mailserver: a server needs a store and a sender")
	}
	if cfg.Key == nil && cfg.Identity == nil && !cfg.Plain {
		return nil, errors.New("mailserver: a server needs a password, a private key or leave to answer plain requests")
	}
	if cfg.Key != nil && len(cfg.Key) != whisper.SymmetricKeySize {
		return nil, fmt.Errorf("mailserver: password key of %d bytes, not %d", len(cfg.Key), whisper.SymmetricKeySize)
	}
	limits, err := cfg.Limits.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, log: cfg.Logger}
	s.limits.Store(&limits)
	s.desk = desk.New(limits.desk(), desk.Server[packet]{
		Serve:  s.serve,
		Refuse: s.refuse,
		Drop: func(p packet, _ *desk.Busy) {
			s.count(question{}, busy)
			p.from.Answered()
		},
		Panicked: s.panicked,
	})
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.metrics, err = newServerMetrics(cfg.Registerer, s.desk)
	if err != nil {
		return nil, fmt.Errorf("mailserver: metrics: %w", err)
	}
	return s, nil
}

// CanReset returns an error if limits make no sense.
func (s *Server) CanReset(l Limits) error {
	_, err := l.withDefaults()
	return err
}

// Reset sets other limits for requests that are answered from now on. CanReset must have accepted them. Workers
// and the lengths of queues stay as they were.
func (s *Server) Reset(l Limits) {
	l, err := l.withDefaults()
	if err != nil {
		return
	}
	s.limits.Store(&l)
	of := l.desk()
	s.desk.SetRate(of.Rate, of.Burst)
}

// Start begins to answer. A server is started only once.
func (s *Server) Start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cancel != nil {
		return
	}
	var ctx context.Context
	ctx, s.cancel = context.WithCancel(context.Background())
	s.running = true
	s.done.Go(func() { s.desk.Run(ctx) })
}

// Stop ends the answers under way, drops the requests that wait, and returns
// when no goroutine of the server is left. It may be called more than once, and
// without Start.
func (s *Server) Stop() {
	s.mu.Lock()
	s.running = false
	if s.cancel != nil {
		s.cancel()
	}
	s.mu.Unlock()
	s.done.Wait()
}

// HandleRequest takes the payload of a packet 126 and keeps it. It does not
// block.
func (s *Server) HandleRequest(id enode.ID, payload []byte) {
	if env, err := whisper.DecodeEnvelope(payload); err == nil {
		s.HandleEnvelope(id, env)
	} else {
		s.HandlePlain(id, payload)
	}
}

// HandleEnvelope is HandleRequest for a payload that is an envelope.
func (s *Server) HandleEnvelope(id enode.ID, env *whisper.Envelope) {
	s.Handle(s.peer(id), env)
}

// Handle takes the envelope of a request, whatever transport it came over. It does not block.
func (s *Server) Handle(from Caller, env *whisper.Envelope) {
	s.offer(packet{from: from, env: env}, len(env.Raw()))
}

// HandlePlain is HandleRequest for a payload that is not an envelope.
func (s *Server) HandlePlain(id enode.ID, payload []byte) {
	s.offer(packet{from: s.peer(id), plain: payload}, len(payload))
}

func (s *Server) peer(id enode.ID) Caller { return peer{s.cfg.Sender, id} }

func (s *Server) offer(p packet, size int) {
	s.mu.Lock()
	running := s.running
	s.mu.Unlock()
	switch {
	case !running:
		s.count(question{}, stopped)
	case size > mailwire.MaxPacket:
		s.count(question{}, malformed)
	default:
		s.desk.Offer(p.from.ID(), p.from.Source(), p, time.Now())
		return
	}
	p.from.Answered()
}

// refuse tells a peer that there is no room for its request, if the form of the
// request allows a refusal.
func (s *Server) refuse(ctx context.Context, _ desk.ID, p packet, why *desk.Busy) error {
	defer p.from.Answered()
	q, _ := s.open(p, time.Now())
	s.count(q, busy)
	return s.tell(ctx, p.from, q, mailwire.RefuseBusy(why.After, why.Text()))
}

// tell sends a refusal if the form of the request can carry one. It does
// not repeat it.
func (s *Server) tell(ctx context.Context, to Caller, q question, text mailwire.Refusal) error {
	if !q.refusable() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, refusalTimeout)
	defer cancel()
	err := s.end(ctx, to, mailwire.Complete{ID: q.id, Refusal: text})
	if err != nil {
		s.log.Debug("mail request refused, but the client does not know", "err", err)
	}
	return err
}

// panicked reports a bug in the handling of one request.
func (s *Server) panicked(cause any) {
	s.count(question{}, panicked)
	// The value may quote the request; the stack does not.
	s.log.Error("mailserver: panic, please report", "type", fmt.Sprintf("%T", cause), "stack", string(debug.Stack()))
}

// serve answers one packet.
func (s *Server) serve(ctx context.Context, turn *desk.Turn, p packet) {
	defer p.from.Answered()
	start := time.Now()
	q, err := s.open(p, start)
	if rejected := (*rejection)(nil); errors.As(err, &rejected) {
		s.count(q, rejected.outcome)
		s.log.Debug("mail request rejected", "form", q.form(), "outcome", rejected.outcome)
		turn.Lend(ctx, func(ctx context.Context) error { return s.tell(ctx, p.from, q, rejected.refusal) })
		return
	}
	if q.proves {
		turn.Vouch("") // everybody has the same password
		p.from.Proved()
	}
	within, cancel := context.WithTimeout(ctx, s.limits.Load().Timeout)
	defer cancel()
	result, err := s.answer(within, way{turn, p.from}, q)
	switch {
	case errors.Is(err, errUndelivered):
		result = undelivered
	case err != nil && ctx.Err() != nil:
		result = stopped
	case err != nil:
		result = failed
		s.log.Warn("mail request failed", "form", q.form(), "err", err)
		text := mailwire.Refuse(mailwire.RefusedFailed, "the archive could not be read, ask again later")
		turn.Lend(ctx, func(ctx context.Context) error { return s.tell(ctx, p.from, q, text) })
	}
	if result == answered || result == truncated {
		p.from.Useful()
	}
	s.count(q, result)
	took := time.Since(start)
	s.metrics.seconds.WithLabelValues(q.form()).Observe(took.Seconds())
	s.log.Debug("mail request", "form", q.form(), "outcome", result, "took", took)
}

func (s *Server) count(q question, o outcome) {
	s.metrics.requests.WithLabelValues(q.form(), string(o)).Inc()
}
