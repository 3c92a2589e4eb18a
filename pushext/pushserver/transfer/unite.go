package transfer

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"whisperpush/durable"
	"whisperpush/pushext/pushserver/outbox"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/registry"
	"whisperpush/pushext/pushserver/vault"
)

// uniter is one Unite.
type uniter struct {
	counter
	shards     []durable.Store // nil: it was never opened
	metas      []meta
	v          *vault.Vault
	challenged map[string][][]byte
	spent      map[string][]byte
	contests   map[string]*registry.Contest
}

// Unite reads the shards, which stay as they are, and calls put with the records that the one store is to have. The
// same shards give the same records each time, except for the nonces of what is sealed. The error wraps vault's or
// ErrUnknown.
func Unite(ctx context.Context, shards []durable.Store, diskKey []byte, begun time.Time, put Put) (r Report, err error) {
	if len(shards) != registration.UnionShards {
		return r, fmt.Errorf("registrations are in %d shards, and not in %d", registration.UnionShards, len(shards))
	}
	u := &uniter{
		counter: counter{&r, put}, shards: slices.Clone(shards), metas: make([]meta, len(shards)),
		challenged: map[string][][]byte{}, spent: map[string][]byte{}, contests: map[string]*registry.Contest{},
	}
	if err := u.open(diskKey); err != nil || u.v == nil {
		return r, err
	}
	for shard, s := range u.shards {
		if s == nil {
			continue
		}
		it := s.Scan(nil, nil)
		for it.Next() && err == nil {
			if err = ctx.Err(); err == nil {
				err = u.take(shard, it.Key(), it.Value())
			}
		}
		if err := errors.Join(err, it.Release()); err != nil {
			return r, fmt.Errorf("shard %d: %w", shard, err)
		}
	}
	return r, u.finish(ctx, begun)
}

// open reads the single records of the shards, and checks that all shards share one fingerprint key.
func (u *uniter) open(diskKey []byte) (err error) {
	var wrap []byte
	for shard, s := range u.shards {
		if u.metas[shard], err = metaOf(s); err != nil {
			return fmt.Errorf("shard %d: %w", shard, err)
		}
		if len(u.metas[shard]) == 0 {
			u.shards[shard] = nil
			continue
		}
		v, err := vault.Peek(s, diskKey)
		if err != nil {
			return fmt.Errorf("shard %d: %w", shard, err)
		}
		var own []byte
		if sealed := u.metas[shard].get(vault.KeyWrap); sealed != nil {
			if own, err = v.Open(vault.KeyWrap, sealed); err != nil {
				return fmt.Errorf("shard %d: %w", shard, err)
			}
		}
		if u.v != nil && !bytes.Equal(own, wrap) {
			return fmt.Errorf("shard %d: %w: it has fingerprints of its own", shard, vault.ErrDiskKey)
		}
		u.v, wrap = v, own
	}
	return nil
}

// take puts a record, or keeps it for finish if several shards may have one.
func (u *uniter) take(shard int, key, value []byte) error {
	if key[0] == vault.Meta {
		return nil
	}
	switch registry.KindOf(key) {
	case registry.Sealed:
		return u.own(shard, idBehind(key), key, value)
	case registry.Filed:
		return u.own(shard, filedUnder(key), key, value)
	case registry.Named:
		if len(value) != 8 {
			u.report.Damaged++
			return nil
		}
		return u.own(shard, registration.ID(binary.BigEndian.Uint64(value)), key, value)
	case registry.Challenged:
		u.challenged[string(key)] = append(u.challenged[string(key)], bytes.Clone(value))
		return nil
	case registry.Spent:
		if old := u.spent[string(key)]; old == nil || len(old) == len(value) && bytes.Compare(old, value) < 0 {
			u.spent[string(key)] = bytes.Clone(value) // of one payer the later end
		}
		return nil
	case registry.Claimed:
		c := u.contests[string(key)]
		if c == nil {
			c = new(registry.Contest)
			u.contests[string(key)] = c
		}
		return c.Add(shard, key, value)
	}
	switch outbox.KindOf(key) {
	case outbox.OfDevice, outbox.OfChain:
		return u.own(shard, idBehind(key), key, value)
	case outbox.OfTwin:
		return nil // finish does these
	case outbox.OfTelling:
		return u.add(0, outbox.TellingIn(shard, len(u.shards), key), value)
	}
	return fmt.Errorf("%w: its key begins with %x and has %d bytes", ErrUnknown, key[:1], len(key))
}

// own puts a record of a registration unchanged, as ids differ between shards. It leaves out a record that cannot be
// read.
func (u *uniter) own(shard int, id registration.ID, key, value []byte) error {
	if int(uint64(id)%uint64(len(u.shards))) != shard {
		return fmt.Errorf("%w: a registration is not in its shard", ErrUnknown)
	}
	if _, err := plainOf(u.v, key, value); err != nil {
		u.report.Damaged++
		return nil
	}
	return u.add(0, key, value)
}

// finish puts the records that are made of those of several shards.
func (u *uniter) finish(ctx context.Context, begun time.Time) error {
	for key, values := range u.challenged {
		if err := u.add(0, []byte(key), registry.Ease(values)); err != nil {
			return err
		}
	}
	for key, value := range u.spent {
		if err := u.add(0, []byte(key), value); err != nil {
			return err
		}
	}
	for key, c := range u.contests {
		if value, ok := c.Entry(); ok {
			if err := u.add(0, []byte(key), value); err != nil {
				return err
			}
		}
	}
	var b durable.Batch
	b.Put(vault.KeyFormat, []byte{vault.StoreFormat})
	b.Put(vault.KeyCheck, u.v.Seal(vault.KeyCheck, nil))
	outbox.EndLedgers(&b, begun)
	var next registration.ID = 1
	var runs [][]byte
	cursors := make([]uint64, len(u.shards))
	first, followed := uint64(0), false
	var moved []byte
	for shard, m := range u.metas {
		if u.shards[shard] == nil {
			continue
		}
		if value := m.get(registry.KeyNextID); len(value) == 8 {
			next = max(next, registration.ID(binary.BigEndian.Uint64(value)))
		}
		if value := m.get(vault.KeyWrap); value != nil {
			b.Put(vault.KeyWrap, value)
		}
		if value := m.get(outbox.KeyRun); value != nil {
			runs = append(runs, value)
		}
		at, ok, err := m.cursor()
		if err != nil {
			return fmt.Errorf("shard %d: %w", shard, err)
		}
		if !ok {
			continue
		}
		if cursors[shard] = at; !followed || at < first {
			first, moved = at, m.get(outbox.KeyMoved)
		}
		followed = true
	}
	b.Put(registry.KeyNextID, registry.NextIDs(next))
	if len(runs) > 0 {
		run, err := outbox.Runs(runs)
		if err != nil {
			return err
		}
		b.Put(outbox.KeyRun, run)
	}
	if followed {
		b.Put(outbox.KeyCursor, binary.BigEndian.AppendUint64(nil, first))
		u.report.Cursors = []uint64{first}
		if moved != nil {
			b.Put(outbox.KeyMoved, moved)
		}
		if slices.Max(cursors) > first {
			b.Put(outbox.KeyAhead, outbox.AheadValue(cursors))
		}
	}
	if err := u.unifyTwins(ctx, &b); err != nil {
		return err
	}
	return u.batch(0, &b)
}

// unifyTwins merges the fingerprints of messages. Each shard counts its own generations, of which the latest two count.
// They become generations 1 and 0.
func (u *uniter) unifyTwins(ctx context.Context, b *durable.Batch) error {
	var since, count uint64
	some := false
	var lists [2][]*twins // of the former generation and the current one
	defer func() {
		for _, list := range lists {
			for _, t := range list {
				t.it.Release()
			}
		}
	}()
	for shard, m := range u.metas {
		value := m.get(outbox.KeyTwins)
		if value == nil {
			continue
		}
		generation, at, _, err := outbox.Generation(value)
		if err != nil {
			return fmt.Errorf("shard %d: %w", shard, err)
		}
		some, since = true, max(since, at)
		for back := range min(generation, 1) + 1 {
			lists[1-back] = append(lists[1-back], &twins{it: u.shards[shard].Scan(durable.Prefix(outbox.TwinsOf(generation - back)))})
		}
	}
	for generation, list := range lists {
		n, err := u.merge(ctx, uint32(generation), list)
		if err != nil {
			return err
		}
		count = n
	}
	if some {
		b.Put(outbox.KeyTwins, outbox.GenerationValue(1, since, count))
	}
	return nil
}

// twins iterates over the fingerprints of one generation in one shard.
type twins struct {
	it   durable.Iterator
	id   [16]byte
	seq  uint64
	over bool
}

func (t *twins) next() (err error) {
	if t.over = !t.it.Next(); t.over {
		return t.it.Release()
	}
	_, t.id, t.seq, err = outbox.Twin(t.it.Key(), t.it.Value())
	return err
}

// merge puts everything in any of the lists, once each, with the first sequence if several have it. It returns how many
// that are.
func (u *uniter) merge(ctx context.Context, generation uint32, list []*twins) (n uint64, err error) {
	for _, t := range list {
		if err := t.next(); err != nil {
			return 0, err
		}
	}
	for {
		var least *twins
		for _, t := range list {
			if !t.over && (least == nil || bytes.Compare(t.id[:], least.id[:]) < 0) {
				least = t
			}
		}
		if least == nil || ctx.Err() != nil {
			return n, ctx.Err()
		}
		id, seq := least.id, least.seq
		for _, t := range list {
			if t.over || t.id != id {
				continue
			}
			seq = min(seq, t.seq)
			if err := t.next(); err != nil {
				return 0, err
			}
		}
		if err := u.add(0, outbox.TwinKey(generation, id), binary.BigEndian.AppendUint64(nil, seq)); err != nil {
			return 0, err
		}
		n++
	}
}
