package requests

import (
	"context"
	"slices"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/desk"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/registry"
	"whisperpush/pushext/pushwire"
)

// fetchAtOnce is how many envelopes of a Fetch are held in memory at a time.
const fetchAtOnce = 8

func (p *Server) fetch(ctx context.Context, turn *desk.Turn, from Caller, key [33]byte, body *pushwire.Fetch) answer {
	rec, err := p.known(key)
	if err != nil {
		return p.failed(rec, err)
	}
	most := max(len(body.Hashes), len(body.Received))
	if body.Owed != nil {
		most = max(most, len(body.Owed.Dismissed))
	}
	if most > p.limits.Load().Fetch {
		return p.failed(rec, registration.Refuse(pushwire.Limit, "%d hashes, at most %d", most, p.limits.Load().Fetch))
	}
	f := pickup{p: p, turn: turn, from: from, room: p.limits.Load().FetchBytes}
	for hashes := range slices.Chunk(unique(body.Hashes), fetchAtOnce) {
		f.send(ctx, hashes)
	}
	turn.Take()
	p.m.fetched.Add(float64(len(f.Sent)))
	// What is missing will not come back, so it needs no more wake-ups either.
	if err := p.box.Fetched(rec.ID, slices.Concat(f.Sent, f.Missing), len(rec.Group) > 0, unique(body.Received)...); err != nil {
		return p.failed(rec, err)
	}
	if body.Owed != nil {
		if f.Owed, err = p.owed(rec, body.Owed); err != nil {
			return p.failed(rec, err)
		}
	}
	if f.failed != nil && f.unsent == nil {
		return p.failed(rec, f.failed)
	}
	return answer{rec: rec, body: &f.FetchReply, unread: f.unsent != nil}
}

// owed returns what the server owes a device besides envelopes.
func (p *Server) owed(rec *registry.Record, q *pushwire.OwedQuery) (*pushwire.Owed, error) {
	owed, err := p.box.Owed(rec.ID, unique(q.Dismissed))
	if err != nil {
		return nil, err
	}
	return &pushwire.Owed{Dismissed: owed.Dismissed}, nil
}

// pickup is a Fetch that is being answered.
type pickup struct {
	pushwire.FetchReply
	p      *Server
	turn   *desk.Turn
	from   Caller
	room   int   // bytes
	failed error // the archive could not be read
	unsent error // the peer did not take one
}

// send sends those of the envelopes that are archived, and notes what became of
// each.
func (f *pickup) send(ctx context.Context, hashes []common.Hash) {
	if f.failed != nil || f.unsent != nil || f.room <= 0 {
		f.Later = append(f.Later, hashes...) // it may be missing; the next Fetch will show
		return
	}
	found, missing, err := f.p.envelopes.ByHash(ctx, hashes)
	if err != nil {
		f.failed, f.Later = err, append(f.Later, hashes...)
		return
	}
	f.Missing = append(f.Missing, missing...)
	for _, env := range found {
		size := len(env.Raw())
		// The first one is sent whatever its size, or it could never be fetched.
		if fits := size <= f.room || len(f.Sent) == 0; fits && f.unsent == nil {
			if f.unsent = f.p.hand(ctx, f.turn, f.from, env); f.unsent == nil {
				f.room -= size
				f.Sent = append(f.Sent, env.Hash())
				continue
			}
		}
		f.Later = append(f.Later, env.Hash())
	}
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

func (p *Server) seen(ctx context.Context, turn *desk.Turn, key [33]byte, body *pushwire.Seen) answer {
	rec, err := p.known(key)
	if err != nil {
		return p.failed(rec, err)
	}
	if len(body.Hashes) > p.limits.Load().Fetch {
		return p.failed(rec, registration.Refuse(pushwire.Limit, "%d hashes, at most %d", len(body.Hashes), p.limits.Load().Fetch))
	}
	others, err := p.registry.GroupOf(rec)
	if err != nil {
		return p.failed(rec, err)
	}
	if p.shard != nil && len(rec.Group) > 0 {
		p.box.Tell(p.registry.GroupKey(rec), unique(body.Hashes))
		p.shard.Others.Seen()
	}
	shown, err := p.box.Seen(rec.ID, others, unique(body.Hashes))
	for id, hashes := range shown {
		p.disp.Dismiss(id, hashes)
	}
	if err == nil && (len(others) > 0 || p.shard != nil && len(rec.Group) > 0) { // what the server owes them must outlive a crash
		err = turn.Lend(ctx, p.box.Synced)
		turn.Take()
	}
	if err != nil {
		return p.failed(rec, err)
	}
	return answer{rec: rec}
}
