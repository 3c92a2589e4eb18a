package pushext

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

const (
	// maxNotifies bounds the notifications that wait for their envelope.
	maxNotifies = 1024
	// notifyPatience is how long one waits: a sender may be faster than the
	// network that carries his envelope.
	notifyPatience = 30 * time.Second
	// notifyRetry is how often the archive is asked for those that wait.
	notifyRetry = time.Second
)

// notification asks to ring a registration for an envelope that may not be
// archived yet.
type notification struct {
	id    registrationID
	key   [33]byte // of the registration
	hash  common.Hash
	kind  pushwire.NotifyKind
	until time.Time
}

// notifies are the notifications that wait.
type notifies struct {
	mu      sync.Mutex
	waiting []notification
}

// add makes one wait; it says false if too many do.
func (n *notifies) add(one notification) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.waiting) >= maxNotifies {
		return false
	}
	n.waiting = append(n.waiting, one)
	return true
}

// take returns those that wait.
func (n *notifies) take() []notification {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := n.waiting
	n.waiting = nil
	return all
}

// notify rings whoever minted the capability. The reply is the same and comes
// first, so that neither its content nor its time tells the sender whether he
// was revoked or muted, or anybody is there.
func (p *protocol) notify(ctx context.Context, key [33]byte, body *pushwire.Notify, now time.Time) answer {
	return answer{after: func() {
		recs, err := p.registry.byHandle(body.Handle[:])
		if err != nil {
			p.log.Error("a notification failed", "err", err)
			return
		}
		for _, rec := range recs {
			if !rec.listens() || len(rec.root) == 0 || !body.Verify(rec.root, p.server) {
				continue
			}
			if slices.Contains(rec.revoked, body.Holder) {
				p.m.notified("revoked")
				continue
			}
			p.deliver(ctx, notification{rec.id, rec.key, body.Hash, body.Type, now.Add(notifyPatience)})
		}
	}}
}

// deliver rings a registration if its channels allow it, or lets the
// notification wait for its envelope.
func (p *protocol) deliver(ctx context.Context, n notification) {
	now := time.Now()
	found, _, err := p.envelopes.ByHash(ctx, []common.Hash{n.hash})
	switch {
	case err == nil && len(found) == 1:
	case now.After(n.until):
		p.m.notified("missing")
		return
	case !p.notifies.add(n):
		p.m.notified("overflow")
		return
	default:
		return
	}
	rec, err := p.registry.lookup(n.key)
	if err != nil || rec == nil || rec.id != n.id || !rec.listens() {
		p.m.notified("gone")
		return
	}
	if !rec.wants(found[0].Topic, n.kind, now) {
		p.m.notified("muted")
		return
	}
	if err := p.box.match(ctx, []match{{id: n.id, hash: n.hash, at: now}}, 0, now); err != nil {
		p.log.Error("a notification failed", "err", err)
		return
	}
	p.m.notified("rung")
}

// wants reports whether a notification for an envelope on a topic may ring.
func (r *record) wants(t whisper.Topic, kind pushwire.NotifyKind, now time.Time) bool {
	at, known := r.find(t)
	if !known {
		return true // a shared topic, which the holder was told to ring for
	}
	c := &r.channels[at]
	switch {
	case c.muted > seconds(now), c.mode == pushwire.Muted:
		return false
	case c.mode == pushwire.Mentions:
		return kind == pushwire.NotifyMention
	}
	return true
}

// retryNotifies looks for the envelopes of those that wait, until ctx ends.
func (p *protocol) retryNotifies(ctx context.Context) {
	tick := time.NewTicker(notifyRetry)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			for _, n := range p.notifies.take() {
				p.deliver(ctx, n)
			}
		}
	}
}
