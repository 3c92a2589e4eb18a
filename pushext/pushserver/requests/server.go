// Package requests answers the requests of devices. It opens a request, checks it, has the
// registry, the outbox or the archive do what it asks, and seals the reply. For everything
// that is to happen to a device it uses Errands. A request comes from a Caller, and nothing
// here can tell whether that is a peer of devp2p.
package requests

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/prometheus/client_golang/prometheus"

	"whisperpush/desk"
	"whisperpush/pushext/pushserver/outbox"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/registry"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

const (
	// sendTimeout limits the sending of a reply, or of one envelope, to a peer
	// that does not read.
	sendTimeout = 15 * time.Second
	// answerTimeout limits the answer to one request. The device asks again for what
	// a slow link has not taken of a Fetch by then.
	answerTimeout = 2 * time.Minute
	// lentTurns is how many requests may wait for peers to read, besides those
	// being worked on. Each holds a reply, or some envelopes of a Fetch.
	lentTurns = 64
	// workGrowth is how many times the work asked of a new registration
	// doubles while the queue of requests fills up.
	workGrowth = 8
)

// Server answers requests. Handle makes cheap checks at once, on the goroutine of the
// caller. What passes them waits at a desk for its turn to be decrypted, checked and
// answered. A change of a registration is on disk before the reply is sent.
type Server struct {
	keys      atomic.Pointer[keyring]
	logID     func() []byte // of the archive's log
	last      func() uint64 // the newest sequence of it
	limits    atomic.Pointer[registration.Limits]
	registry  *registry.Registry
	box       *outbox.Outbox
	disp      Errands
	envelopes Envelopes
	shard     *registration.Shard // nil: there are no others
	log       *slog.Logger
	m         *metrics

	topic    whisper.Topic
	desk     *desk.Desk[incoming]
	replays  replays
	notifies notifies

	cancel context.CancelFunc
	wg     sync.WaitGroup // of the desk and retryNotifies
}

// Options of a Server. All but LogID and Shard are required; a nil Registerer registers
// no metrics.
type Options struct {
	PushKeys   Keys
	LogID      func() []byte       // names the archive's log; nil: it has no name
	Last       func() uint64       // the newest sequence of the archive's log
	Limits     registration.Limits // complete
	Registry   *registry.Registry
	Outbox     *outbox.Outbox
	Errands    Errands
	Envelopes  Envelopes
	Shard      *registration.Shard // nil: the server holds all registrations
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Errands are what requests have the dispatcher do, and what they ask it.
type Errands interface {
	// Challenge sends a code to an address.
	Challenge(e *registration.Errand)
	// Dismiss makes a device remove the notifications of envelopes.
	Dismiss(id registration.ID, hashes []common.Hash)
	// Reach says that a device has come over a link of its own.
	Reach(id registration.ID)
	// Test sends a test push through every route in use, and reports whether it may.
	Test(reg registration.Registration) bool
	// Trials returns for each route how its latest test push went and what is left of
	// its budget, and how many test pushes may be asked for now.
	Trials(reg registration.Registration) (routes []registration.Trial, left int)
	// Doubts returns for each route since when its address is called dead; nil if none is.
	Doubts(reg registration.Registration) []registration.Doubt
}

// SetLimits sets the limits, which must be complete, for requests that come from now on. The limits on what
// waits, on rates and on what is remembered stay as they were.
func (p *Server) SetLimits(l registration.Limits) { p.limits.Store(&l) }

// SetKeys makes the server answer requests that come from now on with other push keys.
func (p *Server) SetKeys(k Keys) { p.keys.Store(newKeyring(k)) }

// New builds a server. It answers requests once Start is called.
func New(o Options) *Server {
	if o.LogID == nil {
		o.LogID = func() []byte { return nil }
	}
	limits, m := o.Limits, newMetrics(o.Registerer)
	p := &Server{
		logID: o.LogID, last: o.Last, registry: o.Registry,
		box: o.Outbox, disp: o.Errands, envelopes: o.Envelopes, shard: o.Shard, log: o.Logger, m: m,
		topic:   pushwire.Topic(),
		replays: replays{max: limits.Replays},
	}
	p.limits.Store(&limits)
	p.SetKeys(o.PushKeys)
	p.desk = desk.New(desk.Limits{
		Turns: limits.Workers, Lent: lentTurns, PerPeer: limits.PeerQueue, PerSource: limits.SourceQueue, Queue: limits.Queue,
		Rate: limits.PeerRate, Burst: limits.PeerBurst,
	}, desk.Server[incoming]{
		Serve: p.serve, Refuse: p.refuse, Panicked: p.panicked,
		Drop: func(in incoming, why *desk.Busy) {
			p.m.drop(dropReason(why))
			in.from.Answered()
		},
	})
	m.watch(p.desk)
	return p
}

// incoming is a request that passed the cheap checks.
type incoming struct {
	from   Caller
	source whisper.Source // of the caller, taken while it was connected
	env    *whisper.Envelope
	key    *ownKey // the key that it was opened with; nil: not opened yet
}

// Start begins to answer requests, until Stop.
func (p *Server) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	p.wg.Go(func() { p.desk.Run(ctx) })
	p.wg.Go(func() { p.retryNotifies(ctx) })
}

// Stop ends the answering. Requests that wait are dropped; their devices
// repeat them.
func (p *Server) Stop() {
	p.cancel()
	p.wg.Wait()
}

// Malformed counts a payload that came in place of a request and is no envelope.
func (p *Server) Malformed() { p.m.drop("malformed") }

// Handle takes the envelope of a request. It never blocks.
func (p *Server) Handle(from Caller, env *whisper.Envelope) {
	now := time.Now()
	why := ""
	switch {
	case env.Topic != p.topic:
		why = "topic"
	case len(env.Data) > pushwire.MaxData:
		why = "size"
	case env.PoW(now) < p.limits.Load().PoW:
		why = "work"
	default:
		source := from.Source()
		p.desk.Offer(from.ID(), source, incoming{from: from, source: source, env: env}, now)
		return
	}
	p.m.drop(why)
	from.Answered()
}

// dropReason is the metric label of a request that was dropped for lack of room.
func dropReason(why *desk.Busy) string {
	if why.Limit == desk.LimitRate {
		return "rate"
	}
	return "queue"
}

// answer is the outcome of a request.
type answer struct {
	code  pushwire.Code
	text  string
	rec   *registry.Record // of the device that asks, may be nil
	body  pushwire.ReplyBody
	after func(context.Context) // to be done once the reply is sent, may be nil
	// unread is set if the peer did not take what must come before the reply.
	unread bool
	ledger *pushwire.LedgerQuery // nil: it was not asked for
	path   []pushwire.Succession // to the current push key
}

// serve opens one request and answers it.
func (p *Server) serve(ctx context.Context, turn *desk.Turn, in incoming) {
	start := time.Now()
	defer in.from.Answered()
	defer func() { p.m.seconds.Observe(time.Since(start).Seconds()) }()
	within, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	keys := p.keys.Load()
	req, signer, at, err := keys.open(in.env)
	if signer == nil {
		p.m.drop("sealed") // nobody to answer
		return
	}
	key := &keys.own[at]
	if err == nil && Idle(req, in.from) {
		p.m.drop("gone")
		return
	}
	kind := "unknown"
	var a answer
	switch {
	case err != nil:
		a = answer{code: pushwire.CodeFor(err), text: err.Error()}
	case keys.refuses(at, start):
		kind = req.Body.Kind().String()
		a = answer{code: pushwire.Retired, text: retired}
	default:
		kind = req.Body.Kind().String()
		in.key = key
		a = p.judge(within, turn, in, req, [33]byte(crypto.CompressPubkey(signer)), start)
		a.ledger = req.Ledger
	}
	a.path = keys.path(at, start)
	p.m.requests.WithLabelValues(kind, a.code.String()).Inc()
	if a.rec != nil {
		registration.Trace(p.log, "registration", a.rec.ID, kind, slog.String("code", a.code.String()), slog.String("state", a.rec.State.Wire().String()))
	}
	p.vouch(turn, in.from, a)
	if a.unread {
		p.m.drop("reply")
	} else {
		p.reply(within, turn, in.from, key, signer, req.ID, a)
	}
	if a.after != nil {
		turn.Take()
		a.after(ctx)
	}
	p.heard(in.from, key, a.rec)
	p.moved(keys, at, a.rec)
}

// retired is the answer to a request with a push key that is no longer answered.
const retired = "this server has another push key, and is not asked with this one any more; use the one that it announces, or that who runs it gives you"

// moved notes that a registration was heard with the current push key, once per key.
func (p *Server) moved(keys *keyring, at int, rec *registry.Record) {
	if at > 0 || len(keys.Former) == 0 || rec == nil || !rec.Live() {
		return
	}
	if err := p.registry.HeardWith(rec, registry.KeyMarkOf(keys.own[0].public)); err != nil {
		p.log.Error("it cannot be noted that a registration goes on with the new push key", "registration", uint64(rec.ID), "err", err)
	}
}

// Idle reports whether answering a request is pointless, because it has no effect but its answer and its sender has
// left. When many devices come back at once, answers to those that gave up would keep the others waiting until they
// give up too.
func Idle(req pushwire.Request, from Caller) bool {
	_, fetch := req.Body.(*pushwire.Fetch)
	return fetch && !from.Up()
}

// vouch records what an answer shows about the caller: a registration that
// proved an address cost somebody an address, and a request that was granted
// is useful.
func (p *Server) vouch(turn *desk.Turn, from Caller, a answer) {
	if a.rec != nil && a.rec.Live() && a.rec.Proved {
		turn.Vouch(strconv.FormatUint(uint64(a.rec.ID), 10))
		from.Proved()
	} else if a.code == pushwire.OK && a.rec != nil {
		from.Useful()
	}
}

// reply seals the answer and sends it to the caller.
func (p *Server) reply(ctx context.Context, turn *desk.Turn, from Caller, key *ownKey, to *ecdsa.PublicKey, id [pushwire.IDSize]byte, a answer) {
	rep := pushwire.Reply{ID: id, Code: a.code, Text: a.text, Body: a.body, Successions: a.path}
	if a.rec != nil {
		rep.State, rep.Reason = a.rec.State.Wire(), a.rec.Reason
	}
	if a.rec != nil && a.ledger != nil {
		p.guard(func() { rep.Ledger = p.ledger(ctx, turn, key.private, a.rec, a.ledger) })
	}
	env, err := pushwire.SealReply(ctx, rep, key.private, to)
	if err != nil {
		p.log.Error("a reply cannot be sealed", "err", err)
		p.m.drop("reply")
		return
	}
	if err := p.hand(ctx, turn, from, env); err != nil {
		p.m.drop("reply") // the peer is gone, or does not read
	}
}

// hand sends an envelope to the caller whose turn it is.
func (p *Server) hand(ctx context.Context, turn *desk.Turn, from Caller, env *whisper.Envelope) error {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	return turn.Lend(ctx, func(ctx context.Context) error { return from.Send(ctx, env) })
}

// refuse tells a caller that there is no room for its request.
func (p *Server) refuse(ctx context.Context, _ desk.ID, in incoming, why *desk.Busy) error {
	defer in.from.Answered()
	keys := p.keys.Load()
	req, signer, at, err := keys.open(in.env)
	if signer == nil {
		p.m.drop("sealed")
		return nil
	}
	kind := "unknown"
	if err == nil {
		kind = req.Body.Kind().String()
	}
	p.m.requests.WithLabelValues(kind, pushwire.Busy.String()).Inc()
	env, err := pushwire.SealReply(ctx, pushwire.Reply{ID: req.ID, Code: pushwire.Busy, Text: why.Error()}, keys.own[at].private, signer)
	if err != nil {
		return err
	}
	return in.from.Send(ctx, env)
}

// panicked reports a bug in the handling of one request. Only that request is
// lost.
func (p *Server) panicked(cause any) {
	p.m.panics.Inc()
	// The value may quote the request; the stack does not.
	p.log.Error("a request panicked, please report", "type", fmt.Sprintf("%T", cause), "stack", string(debug.Stack()))
}

// guard runs do for one request, and reports whether it ended without a panic.
func (p *Server) guard(do func()) (ok bool) {
	defer func() {
		if cause := recover(); cause != nil {
			p.panicked(cause)
		}
	}()
	do()
	return true
}

// judge decides on a request that could be read. A panic below it is still answered.
func (p *Server) judge(ctx context.Context, turn *desk.Turn, in incoming, req pushwire.Request, key [33]byte, now time.Time) answer {
	a := internal()
	p.guard(func() { a = p.decide(ctx, turn, in, req, key, now) })
	return a
}

func (p *Server) decide(ctx context.Context, turn *desk.Turn, in incoming, req pushwire.Request, key [33]byte, now time.Time) answer {
	if off := now.Sub(time.UnixMilli(int64(min(req.Issued, math.MaxInt64)))); off.Abs() > p.limits.Load().Clock {
		return answer{code: pushwire.Clock, text: "the request's time is too far from the server's; use its time", body: &pushwire.ClockReply{Now: registration.Millis(now)}}
	}
	if !p.replays.first(key, req.ID) {
		return answer{code: pushwire.Replayed, text: "a request with this id came before"}
	}
	switch body := req.Body.(type) {
	case *pushwire.Register:
		return p.register(in, key, body, now)
	case *pushwire.Confirm:
		return p.confirm(key, body, now)
	case *pushwire.Channels:
		rec, err := p.registry.Update(key, body, now)
		return p.registered(rec, err)
	case *pushwire.Unregister:
		rec, err := p.registry.Unregister(key, body.Version, now)
		return p.registered(rec, err)
	case *pushwire.Status:
		return p.status(in, key, body.Detail)
	case *pushwire.Fetch:
		return p.fetch(ctx, turn, in.from, key, body)
	case *pushwire.Seen:
		return p.seen(ctx, turn, key, body)
	case *pushwire.Notify:
		return p.notify(in.source, body, now)
	}
	return answer{code: pushwire.Unsupported, text: "this server does not serve this kind of request"}
}

func internal() answer {
	return answer{code: pushwire.Internal, text: "the server could not do this now; repeat later"}
}

// failed is the answer to a request that ended with an error.
func (p *Server) failed(rec *registry.Record, err error) answer {
	var refused *registration.Refusal
	if errors.As(err, &refused) {
		return answer{code: refused.Code, text: refused.Text, rec: rec}
	}
	p.log.Error("a request failed", "err", err)
	a := internal()
	a.rec = rec
	return a
}

var errNotRegistered = registration.Refuse(pushwire.NotRegistered, "there is no registration under this key")

// known returns the registration that signed the request, provided that it
// once proved an address or is active over its link.
func (p *Server) known(key [33]byte) (*registry.Record, error) {
	rec, err := p.registry.Lookup(key)
	switch {
	case err != nil:
		return nil, err
	case rec == nil || !rec.Live():
		return rec, errNotRegistered
	case !rec.Proved && rec.State != registration.Active:
		return rec, registration.Refuse(pushwire.Unconfirmed, "confirm the registration first")
	}
	return rec, nil
}
