package pushext

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"errors"
	"log/slog"
	"math"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"golang.org/x/time/rate"

	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

const (
	// sendTimeout ends a reply to a peer that does not read.
	sendTimeout = 15 * time.Second
	// workGrowth is how many times the work asked of a new registration is
	// doubled while the queue of requests fills up.
	workGrowth = 8
)

// protocol answers requests. Cheap checks are made at once (handle), on the
// read loop of the peer; what is left waits in a bounded queue for a few
// workers, which decrypt, judge and answer. What changes a registration is on
// disk before its reply is sent.
type protocol struct {
	key       *ecdsa.PrivateKey
	server    [33]byte      // the public half of key, compressed
	logID     func() []byte // of the archive's log
	limits    Limits
	registry  *registry
	box       *outbox
	disp      *dispatcher
	envelopes Envelopes
	sender    Sender
	log       *slog.Logger
	m         *protocolMetrics

	topic    whisper.Topic
	queue    chan incoming
	replays  replays
	peers    peerLimits
	notifies notifies

	cancel context.CancelFunc
	wg     sync.WaitGroup // of workers
}

func newProtocol(key *ecdsa.PrivateKey, limits Limits, r *registry, box *outbox, disp *dispatcher, envelopes Envelopes, sender Sender, log *slog.Logger, m *protocolMetrics) *protocol {
	return &protocol{
		key: key, server: [33]byte(crypto.CompressPubkey(&key.PublicKey)), logID: func() []byte { return nil }, limits: limits, registry: r, box: box, disp: disp, envelopes: envelopes, sender: sender, log: log, m: m,
		topic:   pushwire.Topic(),
		queue:   make(chan incoming, limits.Queue),
		replays: replays{max: limits.Replays},
		peers:   peerLimits{rate: rate.Limit(limits.PeerRate), burst: limits.PeerBurst},
	}
}

// incoming is a request that passed the cheap checks.
type incoming struct {
	peer   enode.ID
	source whisper.Source // of the peer while it was connected
	env    *whisper.Envelope
}

// start starts the workers. They end with stop.
func (p *protocol) start() {
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	for range p.limits.Workers {
		p.wg.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case in := <-p.queue:
					p.m.queued.Set(float64(len(p.queue)))
					p.serve(ctx, in)
				}
			}
		})
	}
	p.wg.Go(func() { p.retryNotifies(ctx) })
}

// stop ends the workers; requests that wait are dropped, and their devices
// repeat them.
func (p *protocol) stop() {
	p.cancel()
	p.wg.Wait()
}

// handle takes the envelope of a packet 126. It never blocks.
func (p *protocol) handle(peer enode.ID, env *whisper.Envelope) {
	now := time.Now()
	if !p.peers.allow(peer, now) {
		p.m.drop("rate")
		return
	}
	switch {
	case env.Topic != p.topic:
		p.m.drop("topic")
	case len(env.Data) > pushwire.MaxData:
		p.m.drop("size")
	case env.PoW(now) < p.limits.PoW:
		p.m.drop("work")
	default:
		select {
		case p.queue <- incoming{peer, p.sender.Source(peer), env}:
		default:
			p.m.drop("queue")
		}
	}
}

// answer is what a request ends with.
type answer struct {
	code  pushwire.Code
	text  string
	rec   *record // of the asker, may be nil
	body  pushwire.ReplyBody
	after func() // to be done once the reply is sent, may be nil
}

// serve opens one request and answers it.
func (p *protocol) serve(ctx context.Context, in incoming) {
	start := time.Now()
	req, signer, err := pushwire.OpenRequest(in.env, p.key)
	if signer == nil {
		p.m.drop("sealed") // nobody to answer
		return
	}
	kind := "unknown"
	var a answer
	if err != nil {
		a = answer{code: pushwire.CodeFor(err), text: err.Error()}
	} else {
		kind = req.Body.Kind().String()
		a = p.judge(ctx, in, req, [33]byte(crypto.CompressPubkey(signer)), start)
	}
	p.m.requests.WithLabelValues(kind, a.code.String()).Inc()
	p.reply(ctx, in.peer, signer, req.ID, a)
	if a.after != nil {
		a.after()
	}
	p.heard(in.peer, a.rec)
	p.m.seconds.Observe(time.Since(start).Seconds())
}

// reply sends the answer to the peer that sent the request.
func (p *protocol) reply(ctx context.Context, peer enode.ID, to *ecdsa.PublicKey, id [pushwire.IDSize]byte, a answer) {
	rep := pushwire.Reply{ID: id, Code: a.code, Text: a.text, Body: a.body}
	if a.rec != nil {
		rep.State, rep.Reason = a.rec.state.wire(), a.rec.reason
	}
	env, err := pushwire.SealReply(ctx, rep, p.key, to)
	if err != nil {
		p.log.Error("a reply cannot be sealed", "err", err)
		p.m.drop("reply")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	if err := p.sender.SendDirect(ctx, peer, env); err != nil {
		p.m.drop("reply") // the peer is gone
	}
}

// judge decides on a request that could be read. A panic below it costs this
// request only.
func (p *protocol) judge(ctx context.Context, in incoming, req pushwire.Request, key [33]byte, now time.Time) (a answer) {
	defer func() {
		if cause := recover(); cause != nil {
			p.m.panics.Inc()
			p.log.Error("a request panicked", "kind", req.Body.Kind().String(), "cause", cause, "stack", string(debug.Stack()))
			a = internal()
		}
	}()
	if off := now.Sub(time.UnixMilli(int64(min(req.Issued, math.MaxInt64)))); off.Abs() > p.limits.Clock {
		return answer{code: pushwire.Clock, text: "the request's time is too far from the server's; use its time", body: &pushwire.ClockReply{Now: millis(now)}}
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
		rec, err := p.registry.update(key, body, now)
		return p.registered(rec, err)
	case *pushwire.Unregister:
		rec, err := p.registry.unregister(key, body.Version, now)
		return p.registered(rec, err)
	case *pushwire.Status:
		return p.status(key)
	case *pushwire.Fetch:
		return p.fetch(ctx, in.peer, key, body)
	case *pushwire.Seen:
		return p.seen(key, body)
	case *pushwire.Notify:
		return p.notify(ctx, key, body, now)
	}
	return answer{code: pushwire.Unsupported, text: "this server does not serve this kind of request"}
}

func internal() answer {
	return answer{code: pushwire.Internal, text: "the server could not do this now; repeat later"}
}

// failed is the answer to what ended with an error.
func (p *protocol) failed(rec *record, err error) answer {
	var refused *refusal
	if errors.As(err, &refused) {
		return answer{code: refused.code, text: refused.text, rec: rec}
	}
	p.log.Error("a request failed", "err", err)
	a := internal()
	a.rec = rec
	return a
}

// standing is what tells a device where it and the server are.
func (p *protocol) standing(rec *record) pushwire.Standing {
	s := pushwire.Standing{Now: millis(time.Now()), Log: p.logID()}
	if rec != nil && rec.live() {
		s.Epoch = p.registry.epoch(rec)
	}
	return s
}

// registered is the answer to what changes a registration, or does not.
func (p *protocol) registered(rec *record, err error) answer {
	a := answer{rec: rec}
	if err != nil {
		a = p.failed(rec, err)
	}
	body := &pushwire.RegisterReply{Limits: p.limits.wire(), Standing: p.standing(rec)}
	if rec != nil {
		body.Version, body.Expires = rec.version, uint64(rec.expires.Unix())
	}
	a.body = body
	return a
}

func (p *protocol) register(in incoming, key [33]byte, body *pushwire.Register, now time.Time) answer {
	if need := p.work(); in.env.PoW(now) < need {
		rec, err := p.registry.lookup(key)
		if err != nil {
			return p.failed(nil, err)
		}
		if rec == nil { // who is registered already may go on as always
			a := p.registered(nil, refuse(pushwire.Work, "the server is busy and asks new devices for more proof of work"))
			a.body.(*pushwire.RegisterReply).Limits.PoW = need
			return a
		}
	}
	rec, errands, err := p.registry.register(key, in.source, body, now)
	a := p.registered(rec, err)
	if err != nil {
		return a
	}
	for _, e := range errands {
		p.disp.challenge(e)
	}
	a.body.(*pushwire.RegisterReply).Challenged = len(errands) > 0
	if rec.state == confirmed {
		p.wake(rec.id)
	}
	return a
}

// work is the proof of work asked of a new registration: it grows with the
// queue, so that a flood pays for it and not those who are registered.
func (p *protocol) work() float64 {
	return p.limits.PoW * math.Exp2(workGrowth*float64(len(p.queue))/float64(cap(p.queue)))
}

func (p *protocol) confirm(key [33]byte, body *pushwire.Confirm, now time.Time) answer {
	rec, err := p.registry.confirm(key, func(code [pushwire.CodeSize]byte) bool {
		return body.Proves(code, p.server, key)
	}, now)
	if err == nil {
		p.wake(rec.id)
	}
	return p.registered(rec, err)
}

// wake says that a device has shown itself and can be reached: what waits for
// it is sent.
func (p *protocol) wake(id registrationID) {
	if err := p.box.renewed(id); err != nil {
		p.log.Error("the outbox of a registration cannot be read", "registration", uint64(id), "err", err)
	}
}

func (p *protocol) status(key [33]byte) answer {
	rec, err := p.registry.lookup(key)
	if err != nil {
		return p.failed(nil, err)
	}
	if rec == nil {
		a := p.failed(nil, errNotRegistered)
		a.body = &pushwire.StatusReply{Limits: p.limits.wire(), Standing: p.standing(nil)}
		return a
	}
	body := &pushwire.StatusReply{
		Version: rec.version, Expires: uint64(rec.expires.Unix()), Plain: rec.plain,
		Revoked: rec.revoked, Limits: p.limits.wire(), Standing: p.standing(rec),
	}
	for i := range rec.routes {
		s := pushwire.RouteStatus{Provider: rec.routes[i].provider, State: pushwire.Waiting}
		if rec.routes[i].proven {
			s.State = pushwire.Active
		}
		body.Routes = append(body.Routes, s)
	}
	for i := range rec.channels {
		c := &rec.channels[i]
		body.Channels = append(body.Channels, pushwire.Channel{Topic: c.topic, Mode: c.mode, MutedUntil: uint64(c.muted)})
	}
	told := *rec
	if rec.live() {
		box, err := p.box.status(rec.id)
		if err != nil {
			return p.failed(rec, err)
		}
		body.Seq = box.seq
		switch {
		case told.reason != "":
		case box.silenced:
			told.reason = "silent after too many wake-ups without a fetch; fetch to be woken again"
		case box.reason != "":
			told.reason = "a wake-up failed: " + box.reason
		}
	}
	return answer{rec: &told, body: body}
}

var errNotRegistered = refuse(pushwire.NotRegistered, "there is no registration under this key")

// known returns the registration that asks, if it ever proved an address or is
// there over its link.
func (p *protocol) known(key [33]byte) (*record, error) {
	rec, err := p.registry.lookup(key)
	switch {
	case err != nil:
		return nil, err
	case rec == nil || !rec.live():
		return rec, errNotRegistered
	case !rec.proved && rec.state != confirmed:
		return rec, refuse(pushwire.Unconfirmed, "confirm the registration first")
	}
	return rec, nil
}

func (p *protocol) fetch(ctx context.Context, peer enode.ID, key [33]byte, body *pushwire.Fetch) answer {
	rec, err := p.known(key)
	if err != nil {
		return p.failed(rec, err)
	}
	if most := max(len(body.Hashes), len(body.Received)); most > p.limits.Fetch {
		return p.failed(rec, refuse(pushwire.Limit, "%d hashes, at most %d", most, p.limits.Fetch))
	}
	found, missing, err := p.envelopes.ByHash(ctx, unique(body.Hashes))
	if err != nil {
		return p.failed(rec, err)
	}
	result := &pushwire.FetchReply{Missing: missing}
	room := p.limits.FetchBytes
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	for _, env := range found {
		size := len(env.Raw())
		// The first one goes whatever its size, else it could never be fetched.
		if err != nil || size > room && len(result.Sent) > 0 {
			result.Later = append(result.Later, env.Hash())
			continue
		}
		if err = p.sender.SendDirect(ctx, peer, env); err != nil {
			result.Later = append(result.Later, env.Hash())
			continue
		}
		room -= size
		result.Sent = append(result.Sent, env.Hash())
	}
	p.m.fetched.Add(float64(len(result.Sent)))
	// What is missing will not come back: no more wake-ups for it either.
	if err := p.box.fetched(rec.id, slices.Concat(result.Sent, missing), len(rec.group) > 0, unique(body.Received)...); err != nil {
		return p.failed(rec, err)
	}
	return answer{rec: rec, body: result}
}

func unique(hashes []common.Hash) []common.Hash {
	seen := make(map[common.Hash]bool, len(hashes))
	all := hashes[:0:0]
	for _, h := range hashes {
		if !seen[h] {
			seen[h] = true
			all = append(all, h)
		}
	}
	return all
}

func (p *protocol) seen(key [33]byte, body *pushwire.Seen) answer {
	rec, err := p.known(key)
	if err != nil {
		return p.failed(rec, err)
	}
	if len(body.Hashes) > p.limits.Fetch {
		return p.failed(rec, refuse(pushwire.Limit, "%d hashes, at most %d", len(body.Hashes), p.limits.Fetch))
	}
	others, err := p.registry.groupOf(rec)
	if err != nil {
		return p.failed(rec, err)
	}
	shown, err := p.box.seen(rec.id, others, unique(body.Hashes))
	for id, hashes := range shown {
		p.disp.dismiss(id, hashes)
	}
	if err != nil {
		return p.failed(rec, err)
	}
	return answer{rec: rec}
}

// wire is a state as a device is told.
func (s state) wire() pushwire.State {
	switch s {
	case unconfirmed:
		return pushwire.Waiting
	case confirmed:
		return pushwire.Active
	case dead:
		return pushwire.Dead
	case expired:
		return pushwire.Expired
	}
	return pushwire.Terminated
}

// replays remembers the latest requests. When it is full the oldest one is
// forgotten: a request that changes something is then still refused for its
// version, and any other does no harm when it is repeated.
type replays struct {
	mu   sync.Mutex
	max  int
	seen map[replay]struct{}
	ring []replay
	next int
}

type replay [16]byte

// first reports whether a request was not seen before, and remembers it.
func (r *replays) first(key [33]byte, id [pushwire.IDSize]byte) bool {
	sum := sha256.Sum256(append(key[:], id[:]...))
	it := replay(sum[:16])
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.seen[it]; known {
		return false
	}
	if r.seen == nil {
		r.seen = make(map[replay]struct{})
	}
	if len(r.ring) < r.max {
		r.ring = append(r.ring, it)
	} else {
		delete(r.seen, r.ring[r.next])
		r.ring[r.next] = it
		r.next = (r.next + 1) % r.max
	}
	r.seen[it] = struct{}{}
	return true
}
