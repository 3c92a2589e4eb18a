package requests

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/pushext/pushserver/outbox"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

const (
	// maxNotifies, maxSourceNotifies and maxReceiverNotifies bound the
	// notifications that wait for their envelope: in all, from one source, and for
	// one registration.
	maxNotifies         = 1024
	maxSourceNotifies   = 128
	maxReceiverNotifies = 64
	// notifyPatience is how long a notification waits: a sender may be
	// faster than the network that carries the envelope.
	notifyPatience = 30 * time.Second
	// notifyRetry is the interval at which the archive is asked for their envelopes.
	notifyRetry = time.Second
)

// notification asks to ring a registration for an envelope that may not be
// archived yet.
type notification struct {
	id     registration.ID
	key    [33]byte       // of the registration
	source whisper.Source // of the sender
	hash   common.Hash
	kind   pushwire.NotifyKind
	until  time.Time
}

// notifies are the notifications that wait, the oldest first. When there is no room
// left, the newest one of the source with the most gives way to one of a source with
// fewer.
type notifies struct {
	mu      sync.Mutex
	waiting []*notification
}

// add makes one wait. It returns the notification that no longer waits, or never
// did.
func (n *notifies) add(one *notification) (out *notification) {
	n.mu.Lock()
	defer n.mu.Unlock()
	all, receivers := make(map[whisper.Source]int), make(map[whisper.Source]int)
	received := 0
	for _, w := range n.waiting {
		all[w.source]++
		if w.id == one.id {
			receivers[w.source]++
			received++
		}
	}
	among, concerns := all, func(*notification) bool { return true }
	switch {
	case all[one.source] >= maxSourceNotifies:
		return one
	case received >= maxReceiverNotifies:
		among, concerns = receivers, func(w *notification) bool { return w.id == one.id }
	case len(n.waiting) < maxNotifies:
		n.waiting = append(n.waiting, one)
		return nil
	}
	greedy, most := whisper.Source(""), among[one.source]+1
	for source, count := range among {
		if count > most {
			greedy, most = source, count
		}
	}
	for i, w := range slices.Backward(n.waiting) {
		if w.source == greedy && most > among[one.source]+1 && concerns(w) {
			n.waiting = append(slices.Delete(n.waiting, i, i+1), one)
			return w
		}
	}
	return one
}

// all returns the notifications that wait.
func (n *notifies) all() []*notification {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.waiting)
}

// remove stops one from waiting, and reports whether it waited.
func (n *notifies) remove(one *notification) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	i := slices.Index(n.waiting, one)
	if i >= 0 {
		n.waiting = slices.Delete(n.waiting, i, i+1)
	}
	return i >= 0
}

// notify rings the devices that minted the capability. The reply is always the
// same and is sent first, so that neither its content nor its timing tells the
// sender whether the capability is revoked or muted, or whether anybody is
// there.
func (p *Server) notify(source whisper.Source, body *pushwire.Notify, now time.Time) answer {
	keys := p.keys.Load()
	return answer{after: func(ctx context.Context) {
		recs, err := p.registry.ByHandle(body.Handle[:])
		if err != nil {
			p.log.Error("a notification failed", "err", err)
			return
		}
		for _, rec := range recs {
			if !rec.Listens() || len(rec.Root) == 0 || !keys.any(func(server [33]byte) bool { return body.Verify(rec.Root, server) }) {
				continue
			}
			if slices.Contains(rec.Revoked, body.Holder) {
				p.m.notified("revoked")
				continue
			}
			n := &notification{rec.ID, rec.Key, source, body.Hash, body.Type, now.Add(notifyPatience)}
			if p.deliver(ctx, n) {
				continue
			}
			if out := p.notifies.add(n); out != nil {
				p.m.notified("overflow")
			}
		}
	}}
}

// deliver rings a registration if its channels allow it. It returns false if the
// envelope is not archived yet.
func (p *Server) deliver(ctx context.Context, n *notification) bool {
	now := time.Now()
	found, _, err := p.envelopes.ByHash(ctx, []common.Hash{n.hash})
	if err != nil || len(found) == 0 {
		return false
	}
	p.notifies.remove(n) // whatever the outcome
	rec, err := p.registry.Lookup(n.key)
	if err != nil || rec == nil || rec.ID != n.id || !rec.Listens() {
		p.m.notified("gone")
		return true
	}
	if !rec.Wants(found[0].Topic, n.kind, now) {
		p.m.notified("muted")
		return true
	}
	if err := p.box.Match(ctx, []outbox.Match{{ID: n.id, Hash: n.hash, At: now}}, 0, now); err != nil {
		p.log.Error("a notification failed", "err", err)
		return true
	}
	p.m.notified("rung")
	return true
}

// retryNotifies retries the notifications that wait, until ctx ends.
func (p *Server) retryNotifies(ctx context.Context) {
	tick := time.NewTicker(notifyRetry)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			for _, n := range p.notifies.all() {
				if !p.guard(func() { p.retry(ctx, n) }) {
					p.notifies.remove(n)
				}
			}
		}
	}
}

// retry looks for the envelope of a notification that waits, and drops it when its
// time is over.
func (p *Server) retry(ctx context.Context, n *notification) {
	late := time.Now().After(n.until)
	if !p.deliver(ctx, n) && late && p.notifies.remove(n) {
		p.m.notified("missing")
	}
}
