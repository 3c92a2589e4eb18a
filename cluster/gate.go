package cluster

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"whisperpush/desk"
	"whisperpush/pushext/pushserver"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

const (
	// gateLent is how many requests may wait for the owner of their shard, in addition to those
	// being opened.
	gateLent = 256
	// ownerPatience is how long a request waits while its shard moves.
	ownerPatience = 6 * time.Second
	// ownerLook is the longest pause between two attempts to reach the owner.
	ownerLook = 200 * time.Millisecond
	// refuseTimeout is how long a refusal may take to be sent.
	refuseTimeout = 5 * time.Second
	// maxHandleEntries bounds the entries read of each shard to find those that a Notify is for.
	maxHandleEntries = 1
)

// asking is a request that passed the cheap checks.
type asking struct {
	from   pushserver.Caller
	source whisper.Source
	env    *whisper.Envelope
}

// newDesk makes the desk at which requests wait to be opened.
func (s *Server) newDesk() *desk.Desk[asking] {
	l := s.limits.Load()
	return desk.New(desk.Limits{
		Turns: l.Workers, Lent: gateLent, PerPeer: l.PeerQueue, PerSource: l.SourceQueue, Queue: l.Queue, Rate: l.PeerRate, Burst: l.PeerBurst,
	}, desk.Server[asking]{
		Serve: s.serve,
		Refuse: func(ctx context.Context, _ desk.ID, in asking, why *desk.Busy) error {
			defer in.from.Answered()
			req, signer, key, _ := s.Keys().Open(in.env)
			if signer == nil {
				return nil
			}
			env, err := pushwire.SealReply(ctx, pushwire.Reply{ID: req.ID, Code: pushwire.Busy, Text: why.Error()}, key, signer)
			if err != nil {
				return err
			}
			return in.from.Send(ctx, env)
		},
		Drop:     func(in asking, _ *desk.Busy) { in.from.Answered() },
		Panicked: func(any) { s.log.Error("a request panicked, please report") },
	})
}

// HandleCall takes a request on the push topic from any carrier of envelopes in both directions.
// It does not block.
func (s *Server) HandleCall(from pushserver.Caller, env *whisper.Envelope) {
	now := time.Now()
	if env.Topic != s.topic || len(env.Data) > pushwire.MaxData || env.PoW(now) < s.limits.Load().PoW {
		from.Answered()
		return
	}
	source := from.Source()
	s.desk.Offer(from.ID(), source, asking{from, source, env}, now)
}

// serve opens a request and hands it to the owner of its signer's shard.
func (s *Server) serve(ctx context.Context, turn *desk.Turn, in asking) {
	req, signer, pushKey, err := s.Keys().Open(in.env)
	if signer == nil {
		in.from.Answered() // nobody to answer
		return
	}
	if err == nil && pushserver.Idle(req, in.from) {
		in.from.Answered()
		return
	}
	key := [33]byte(crypto.CompressPubkey(signer))
	shard := ShardOf(key)
	notify, _ := req.Body.(*pushwire.Notify)
	if err != nil {
		notify = nil
	}
	from := in.from
	if !from.Stays() {
		// A connection may carry several requests at a time, and each answer goes to its own
		// caller.
		one := brief{Caller: from}
		rand.Read(one.id[:])
		from = one
	}
	err = turn.Lend(ctx, func(ctx context.Context) error {
		return s.deliver(ctx, shard, call{from: from, source: in.source, env: in.env, key: key, pushKey: [33]byte(crypto.CompressPubkey(&pushKey.PublicKey))})
	})
	if notify != nil {
		// The signer is answered by their own shard, as for any request. The receivers of the
		// Notify may be in any shard.
		turn.Lend(ctx, func(ctx context.Context) error {
			s.spread(ctx, shard, in, notify)
			return nil
		})
	}
	if err == nil {
		return
	}
	defer in.from.Answered()
	if ctx.Err() != nil {
		return
	}
	s.m.requests.WithLabelValues("nowhere").Inc()
	ctx, cancel := context.WithTimeout(ctx, refuseTimeout)
	defer cancel()
	env, err := pushwire.SealReply(ctx, pushwire.Reply{ID: req.ID, Code: pushwire.Busy, Text: "this registration moves to another node; repeat in a few seconds"}, pushKey, signer)
	if err == nil {
		turn.Lend(ctx, func(ctx context.Context) error { return in.from.Send(ctx, env) })
	}
}

// spread hands a Notify to all shards that have registrations with its handle, except the shard
// but. Their answers are dropped.
func (s *Server) spread(ctx context.Context, but int, in asking, body *pushwire.Notify) {
	ctx, cancel := context.WithTimeout(ctx, ownerPatience)
	defer cancel()
	wrap, err := s.wrapped(ctx)
	if err != nil {
		s.log.Error("a notification failed", "err", err)
		return
	}
	prefix, err := pushserver.HandleKey(s.cfg.Push.DiskKey, wrap, body.Handle[:])
	if err != nil {
		return // the disk key was checked
	}
	found, err := s.shards.Others(ctx, but, prefix, maxHandleEntries)
	if err != nil {
		s.log.Error("a notification failed", "err", err)
		return
	}
	for _, e := range found {
		one := call{from: mute{in.from.ID(), in.source}, source: in.source, env: in.env, mute: true}
		if err := s.deliver(ctx, e.Shard, one); err != nil && ctx.Err() == nil {
			s.log.Warn("a notification found nobody who has the shard of its receiver", "shard", e.Shard, "err", err)
		}
	}
}

// wrapped returns the record at pushserver.KeyWrap of any shard, nil if there is none. It is read
// once. It names the key of fingerprints, which stays as long as there are registrations. Whether
// the record exists changes only when the disk key is exchanged. Nodes that share registrations
// refuse that exchange, and a move, which copies the record, is made while no node runs.
func (s *Server) wrapped(ctx context.Context) ([]byte, error) {
	if wrap := s.wrap.Load(); wrap != nil {
		return *wrap, nil
	}
	wraps, err := s.shards.Others(ctx, -1, pushserver.KeyWrap, 1)
	if err != nil {
		return nil, err
	}
	var wrap []byte
	if len(wraps) > 0 {
		wrap = wraps[0].Value
	}
	s.wrap.Store(&wrap)
	return wrap, nil
}

// call is a request on its way to the owner of its shard.
type call struct {
	from   pushserver.Caller
	source whisper.Source
	env    *whisper.Envelope
	key    [33]byte // the signer
	// pushKey is the key that it is encrypted to, compressed.
	pushKey [33]byte
	mute    bool // it gets no answer
}

// errNoOwner says that no node had the shard in time.
var errNoOwner = errors.New("no node has the shard")

// deliver hands a call to the owner of its shard, whichever node that is by then.
func (s *Server) deliver(ctx context.Context, shard int, one call) error {
	ctx, cancel := context.WithTimeout(ctx, ownerPatience)
	defer cancel()
	for {
		l, changed := s.state()
		if core := s.keepers[shard].current(); core != nil {
			core.server.HandleCall(one.from, one.env)
			s.m.requests.WithLabelValues("own").Inc()
			if !one.mute {
				s.present.add(device{one.key, one.pushKey, one.from, shard, core})
			}
			return nil
		}
		if owner := l.Owners[shard]; owner.Node != 0 && owner.Node != s.shards.Node() {
			if !one.mute {
				s.present.add(device{one.key, one.pushKey, one.from, shard, nil}) // the answer may come before we return
			}
			to, err := s.peers.to(ctx, owner.Address)
			if err == nil {
				err = to.call(ctx, shard, one)
			}
			if err == nil {
				s.m.requests.WithLabelValues("other").Inc()
				if !one.mute {
					s.present.add(device{one.key, one.pushKey, one.from, shard, to})
				}
				return nil
			}
		}
		look := time.NewTimer(ownerLook)
		select {
		case <-ctx.Done():
			look.Stop()
			return errNoOwner
		case <-changed:
			look.Stop()
		case <-look.C:
		}
	}
}

// brief is a Caller whose connection ends with its answer, under an id of its own.
type brief struct {
	pushserver.Caller
	id desk.ID
}

func (b brief) ID() desk.ID { return b.id }

// mute is a Caller that takes no answer.
type mute struct {
	id     desk.ID
	source whisper.Source
}

func (m mute) ID() desk.ID                                    { return m.id }
func (m mute) Source() whisper.Source                         { return m.source }
func (mute) Up() bool                                         { return false }
func (mute) Stays() bool                                      { return false }
func (mute) Answered()                                        {}
func (mute) Send(context.Context, ...*whisper.Envelope) error { return nil }
func (mute) Useful()                                          {}
func (mute) Proved()                                          {}
