package whisper

import (
	"context"
	"time"
)

// ingest takes a batch that a peer sent. New and valid envelopes go into the
// pool, to the peers, to the subscriptions and into the archive. A duplicate
// costs only a look into the pool; the rest is charged to the peer. The
// envelopes may alias a packet. Those that are kept get bytes of their own, so
// that a long-lived one does not hold on to a packet.
//
// While the archive is full, ingest blocks and thereby stops reading from the
// peer: that is the backpressure on the link.
func (n *Node) ingest(p *peer, envelopes []*Envelope) {
	now := time.Now()
	p.known.add(envelopes, now)
	received := len(envelopes)
	envelopes = n.pool.unknown(envelopes)
	n.metrics.refuse(ErrKnown, received-len(envelopes))
	p.throttle(&p.messageBudget, len(envelopes))
	workAll(envelopes)

	now = time.Now()
	s := n.settings.Load()
	batch := p.scratch[:0]
	for _, e := range envelopes {
		pow, err := s.check(e, now, false)
		if err != nil {
			n.metrics.refuse(err, 1)
			continue
		}
		e.detach()
		batch = append(batch, weighed{e, pow})
	}
	added, known, full := n.pool.add(batch, false)
	n.metrics.refuse(ErrKnown, known)
	n.metrics.refuse(ErrPoolFull, full)
	if len(added) > 0 {
		p.seat.useful.Store(now.UnixNano())
	}
	n.publish(n.ctx, added, p, now, func(error) {})
	clear(batch)
	p.scratch = batch[:0]
}

// publish passes on the envelopes that are new in the pool. source is nil for
// an envelope posted here; archived is called with the archive's result.
func (n *Node) publish(ctx context.Context, batch []weighed, source *peer, now time.Time, archived func(error)) {
	if len(batch) == 0 {
		archived(nil)
		return
	}
	n.metrics.accepted.Add(float64(len(batch)))
	if source == nil || !n.light.Load() {
		n.relay(batch, source, now)
	}
	if n.subscriptions.any() {
		for _, w := range batch {
			n.subscriptions.match(w.Envelope, w.pow, false, now)
		}
	}
	if n.archiver == nil {
		archived(nil)
		return
	}
	envelopes := make([]*Envelope, len(batch))
	for i, w := range batch {
		envelopes[i] = w.Envelope
	}
	n.archiver.Archive(ctx, envelopes, func(err error) {
		if err != nil {
			n.pool.forget(envelopes)
			n.metrics.archiveFailed.Add(float64(len(envelopes)))
			n.log.Debug("envelopes were not archived; another copy of each will be taken", "envelopes", len(envelopes), "err", err)
		}
		archived(err)
	})
}

// relay queues a batch for each peer that wants it.
func (n *Node) relay(batch []weighed, source *peer, now time.Time) {
	for _, p := range *n.links.Load() {
		if p == source {
			continue
		}
		added, dropped := p.relay.add(batch, p.wants.Load(), now)
		if added > 0 {
			p.signal()
		}
		n.metrics.relayDropped.Add(float64(dropped))
	}
}

// Post gives an envelope of the caller to the network. The envelope is checked
// as if a peer had sent it, except that it may lie outside the node's bloom
// filter. Then it is pooled and relayed and, if this node has an archive,
// archived before Post returns. An error wraps one of ErrKnown, ErrExpired,
// ErrFuture, ErrLifetime, ErrTooLarge, ErrLowPoW, ErrPoolFull, ErrNotRunning, or
// is the archive's or the context's. After the last two the envelope may have
// been sent nevertheless. The envelope is shared from then on.
func (n *Node) Post(ctx context.Context, e *Envelope) error {
	if n.ctx.Err() != nil || !n.started.Load() {
		return ErrNotRunning
	}
	if len(e.raw) == 0 {
		return malformed("envelope that was neither sealed nor decoded")
	}
	now := time.Now()
	s := n.settings.Load()
	pow, err := s.check(e, now, true)
	if err != nil {
		n.metrics.refuse(err, 1)
		return s.explain(err, e, pow, now)
	}
	added, known, full := n.pool.add([]weighed{{e, pow}}, true)
	switch {
	case known > 0:
		n.metrics.refuse(ErrKnown, 1)
		return ErrKnown
	case full > 0:
		n.metrics.refuse(ErrPoolFull, 1)
		return ErrPoolFull
	}
	archived := make(chan error, 1)
	n.publish(ctx, added, nil, now, func(err error) { archived <- err })
	select {
	case err := <-archived:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
