package requests

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"time"

	"whisperpush/desk"
	"whisperpush/pushext/pushserver/outbox"
	"whisperpush/pushext/pushserver/registry"
	"whisperpush/pushext/pushwire"
)

// ledger returns the signed head of what a registration was matched for, or nil if there
// is none now. If its ledger is over, the registration is given another one, and the
// answer to its next request has it. key is the push key that the device asks with.
func (p *Server) ledger(ctx context.Context, turn *desk.Turn, key *ecdsa.PrivateKey, rec *registry.Record, q *pushwire.LedgerQuery) *pushwire.Ledger {
	own, begun, ok, err := p.box.Ledger(rec.ID, q)
	if err != nil {
		p.log.Error("the ledger of a registration cannot be read", "registration", uint64(rec.ID), "err", err)
		return nil
	}
	// The index follows the disk, so everything up to the head was matched by what is on
	// disk now, provided the ledger was begun for that.
	now := time.Now()
	held, err := p.registry.Lookup(rec.Key)
	if err != nil || held == nil || held.ID != rec.ID || len(held.Duties()) == 0 || !held.Expires.After(now) {
		return nil
	}
	log := p.logID()
	if !begun || own.Duty != held.Duty || !bytes.Equal(own.Log, log) {
		if err := p.beginLedger(ctx, turn, held, log, now); err != nil && ctx.Err() == nil {
			p.log.Error("a registration cannot be given a ledger; with its next request it can", "registration", uint64(rec.ID), "err", err)
		}
		return nil
	}
	if !ok {
		return nil
	}
	l := &pushwire.Ledger{Secret: own.Secret, Told: own.Told, Head: pushwire.Head{
		Log: log, Since: own.Since, Begun: uint64(own.Begun.UnixMilli()), Topics: own.Topics,
		Through: own.Through, At: uint64(now.UnixMilli()), Count: own.Count, Chain: own.Chain,
	}}
	if err := l.Sign(key); err != nil {
		p.log.Error("the head of a ledger cannot be signed", "err", err)
		return nil
	}
	return l
}

// beginLedger gives a registration a ledger that begins at the end of the log.
func (p *Server) beginLedger(ctx context.Context, turn *desk.Turn, held *registry.Record, log []byte, now time.Time) error {
	t := outbox.Terms{Secret: pushwire.NewLedgerSecret(), Log: bytes.Clone(log), Breaks: p.box.Breaks(), Duty: held.Duty, Begun: now}
	err := turn.Lend(ctx, p.registry.Indexed)
	turn.Take()
	if err != nil {
		return err
	}
	t.Since = p.last() // later entries are matched by what is held, or by what replaces it
	t.Topics = pushwire.LedgerTopics(pushwire.TopicLeaves(t.Secret, held.Duties()))
	return p.box.BeginLedger(held.ID, t)
}
