package transfer

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"whisperpush/durable"
	"whisperpush/pushext/pushserver/outbox"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/registry"
	"whisperpush/pushext/pushserver/vault"
	"whisperpush/whisper"
)

// Plan says how Divide divides.
type Plan struct {
	Shards int                                    // unused: Divide makes UnionShards
	Of     func(key [33]byte) int                 // the shard of a registration key
	Begun  time.Time                              // the same for each attempt at one transfer
	Topic  func(seq uint64) (whisper.Topic, bool) // of the envelope with a sequence; false: it is not archived
}

// place is the new place of a registration.
type place struct {
	shard int
	id    registration.ID
}

// divider is one Divide.
type divider struct {
	counter
	plan   Plan
	v      *vault.Vault
	meta   meta
	places map[registration.ID]place
	next   []registration.ID // the next id of each shard
	payers map[[16]byte]int  // shards of registrations that may have paid
	hear   map[whisper.Topic]uint16
	twins  []uint64 // fingerprints of the current generation in each shard
}

// Divide reads src, which stays as it is, and calls put with the records that the shards are to have. The same src gives
// the same records each time, except for the nonces of what is sealed. The error wraps vault's, ErrUnknown or ErrUnsettled.
func Divide(ctx context.Context, src durable.Store, diskKey []byte, plan Plan, put Put) (r Report, err error) {
	d := &divider{
		counter: counter{&r, put}, plan: plan, places: map[registration.ID]place{}, payers: map[[16]byte]int{},
		hear: map[whisper.Topic]uint16{}, next: make([]registration.ID, registration.UnionShards), twins: make([]uint64, registration.UnionShards),
	}
	if d.v, err = vault.Peek(src, diskKey); err != nil {
		return r, err
	}
	if d.meta, err = metaOf(src); err != nil {
		return r, err
	}
	if err := d.lay(ctx); err != nil {
		return r, err
	}
	it := src.Scan(nil, nil)
	defer it.Release()
	for it.Next() {
		if err := ctx.Err(); err != nil {
			return r, err
		}
		if err := d.take(it.Key(), it.Value()); err != nil {
			return r, err
		}
	}
	if err := it.Release(); err != nil {
		return r, fmt.Errorf("read the push database: %w", err)
	}
	return r, d.finish()
}

// lay gives each registration its place. New ids are given out in the order of the old ones.
func (d *divider) lay(ctx context.Context) error {
	for shard := range d.next {
		if d.next[shard] = registration.ID(shard); shard == 0 {
			d.next[shard] = registration.ID(registration.UnionShards) // none is 0
		}
	}
	it := d.v.Scan(registry.PrefixRecord)
	defer it.Release()
	for it.Next() && ctx.Err() == nil {
		if registry.KindOf(it.Key()) != registry.Sealed {
			return fmt.Errorf("%w: its key has %d bytes", ErrUnknown, len(it.Key()))
		}
		key, err := registry.KeyOf(d.v, it.Key(), it.Value())
		if err != nil {
			d.report.Damaged++
			continue
		}
		shard := d.plan.Of(key)
		d.places[idBehind(it.Key())] = place{shard, d.next[shard]}
		d.next[shard] += registration.ID(registration.UnionShards)
		d.payers[registry.PayerOf(d.v, key)] = shard
	}
	if err := it.Release(); err != nil {
		return fmt.Errorf("read registrations: %w", err)
	}
	return ctx.Err()
}

// take puts a record into its shard.
func (d *divider) take(key, value []byte) error {
	if key[0] == vault.Meta {
		return nil // metaOf reads these
	}
	switch registry.KindOf(key) {
	case registry.Sealed:
		return d.sealed(key, value)
	case registry.Filed:
		to, ok := d.places[filedUnder(key)]
		if !ok {
			return nil // the registration is damaged
		}
		return d.add(to.shard, binary.BigEndian.AppendUint64(bytes.Clone(key[:len(key)-8]), uint64(to.id)), value)
	case registry.Named:
		if len(value) != 8 {
			d.report.Damaged++
			return nil
		}
		to, ok := d.places[registration.ID(binary.BigEndian.Uint64(value))]
		if !ok {
			return nil
		}
		return d.add(to.shard, key, binary.BigEndian.AppendUint64(nil, uint64(to.id)))
	case registry.Challenged:
		return d.add(int(key[1])%registration.UnionShards, key, value) // challenges are counted over all shards
	case registry.Spent:
		if len(value) >= 16 {
			if shard, ok := d.payers[[16]byte(value)]; ok {
				return d.add(shard, key, value)
			}
		}
		return d.all(key, value) // a former payer's, whose key is not known
	case registry.Claimed:
		return ErrUnsettled
	}
	switch outbox.KindOf(key) {
	case outbox.OfDevice:
		to, ok := d.places[idBehind(key)]
		if !ok {
			return nil
		}
		renamed, err := outbox.Rename(d.v, idBehind(key), to.id, value)
		if err != nil {
			d.report.Damaged++
			return nil
		}
		return d.add(to.shard, outbox.Key(to.id), renamed)
	case outbox.OfChain:
		return d.sealed(key, value)
	case outbox.OfTwin:
		return d.twin(key, value)
	case outbox.OfTelling:
		return ErrUnsettled
	}
	return fmt.Errorf("%w: its key begins with %x and has %d bytes", ErrUnknown, key[:1], len(key))
}

// sealed puts a record that is sealed under its key. In that key the id follows the prefix.
func (d *divider) sealed(key, value []byte) error {
	to, ok := d.places[idBehind(key)]
	if !ok {
		return nil
	}
	plain, err := d.v.Open(key, value)
	if err != nil {
		d.report.Damaged++
		return nil
	}
	if key[0] == registry.PrefixListening {
		topics, err := registry.TopicsOf(d.v, key, value)
		if err != nil {
			d.report.Damaged++
			return nil
		}
		for _, t := range topics {
			d.hear[t] |= 1 << to.shard
		}
	}
	key = append(binary.BigEndian.AppendUint64([]byte{key[0]}, uint64(to.id)), key[9:]...)
	return d.add(to.shard, key, d.v.Seal(key, plain))
}

// all puts a record into every shard.
func (d *divider) all(key, value []byte) error {
	for shard := range registration.UnionShards {
		if err := d.add(shard, key, value); err != nil {
			return err
		}
	}
	return nil
}

// twin puts the fingerprint of a message into the shards with a listener of its topic, or into all if the topic is not
// known. A shard wakes nobody for a message that it knows.
func (d *divider) twin(key, value []byte) error {
	generation, _, seq, err := outbox.Twin(key, value)
	if err != nil {
		return err
	}
	now, _, _, err := d.generation()
	if err != nil || generation+1 < now {
		return err // earlier generations are never looked up
	}
	shards := ^uint16(0)
	if topic, ok := d.plan.Topic(seq); ok {
		shards = d.hear[topic]
	}
	for shard := range registration.UnionShards {
		if shards>>shard&1 == 0 {
			continue
		}
		if generation == now {
			d.twins[shard]++
		}
		if err := d.add(shard, key, value); err != nil {
			return err
		}
	}
	return nil
}

func (d *divider) generation() (generation uint32, since, count uint64, err error) {
	if value := d.meta.get(outbox.KeyTwins); value != nil {
		return outbox.Generation(value)
	}
	return 0, 0, 0, nil
}

// finish puts the single records of each shard.
func (d *divider) finish() error {
	cursor, followed, err := d.meta.cursor()
	if err != nil {
		return err
	}
	ahead := make([]uint64, registration.UnionShards)
	if value := d.meta.get(outbox.KeyAhead); value != nil {
		if ahead, err = outbox.ParseAhead(value); err != nil {
			return err
		}
		if len(ahead) != registration.UnionShards {
			return fmt.Errorf("what was matched ahead of the cursor is of %d shards, and there are %d", len(ahead), registration.UnionShards)
		}
	}
	generation, since, _, err := d.generation()
	if err != nil {
		return err
	}
	for shard := range registration.UnionShards {
		var b durable.Batch
		b.Put(vault.KeyFormat, []byte{vault.StoreFormat})
		b.Put(vault.KeyCheck, d.v.Seal(vault.KeyCheck, nil))
		b.Put(registry.KeyNextID, registry.NextIDs(d.next[shard]))
		outbox.EndLedgers(&b, d.plan.Begun)
		for _, key := range [][]byte{vault.KeyWrap, outbox.KeyRun, outbox.KeyMoved} {
			if value := d.meta.get(key); value != nil {
				b.Put(key, value)
			}
		}
		if followed {
			at := max(cursor, ahead[shard])
			d.report.Cursors = append(d.report.Cursors, at)
			b.Put(outbox.KeyCursor, binary.BigEndian.AppendUint64(nil, at))
		}
		if d.meta.get(outbox.KeyTwins) != nil {
			b.Put(outbox.KeyTwins, outbox.GenerationValue(generation, since, d.twins[shard]))
		}
		if err := d.batch(shard, &b); err != nil {
			return err
		}
	}
	return nil
}

// batch puts the records of a batch.
func (c counter) batch(shard int, b *durable.Batch) (err error) {
	b.Replay(func(key, value []byte) {
		if err == nil {
			err = c.add(shard, key, value)
		}
	}, func([]byte) {})
	return err
}
