package pushserver

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"whisperpush/durable"
	"whisperpush/pushext/pushserver/outbox"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/registry"
	"whisperpush/pushext/pushserver/vault"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// shardIn is a shard of a registration key, in these tests.
func shardIn(key [33]byte) int { return int(key[7]) % UnionShards }

// stores are push databases, to be closed at the end: before the time of the test ends.
type stores struct {
	t   testing.TB
	all []durable.Store
}

func (s *stores) close() {
	for _, one := range s.all {
		require.NoError(s.t, one.Close())
	}
}

// open opens so many that are empty.
func (s *stores) open(n int) []durable.Store {
	for i := range n {
		one, err := OpenEmpty(filepath.Join(s.t.TempDir(), fmt.Sprint(i)))
		require.NoError(s.t, err)
		s.all = append(s.all, one)
	}
	return s.all[len(s.all)-n:]
}

// asIs opens one for reading.
func (s *stores) asIs(dir string) durable.Store {
	one, err := OpenAsIs(dir)
	require.NoError(s.t, err)
	s.all = append(s.all, one)
	return one
}

// into writes what a transfer puts.
func into(stores []durable.Store) func(shard int, key, value []byte) error {
	return func(shard int, key, value []byte) error {
		var b durable.Batch
		b.Put(key, value)
		return stores[shard].Write(&b)
	}
}

// saying is all that stores say, without the ids of registrations: these are named by their keys.
func saying(t testing.TB, stores ...durable.Store) map[string]string {
	all := map[string]string{}
	for shard, s := range stores {
		if _, err := s.Get(vault.KeyFormat); err != nil {
			continue
		}
		v, err := vault.Peek(s, bedKey)
		require.NoError(t, err)
		names := map[uint64]string{}
		it := v.Scan(registry.PrefixRecord)
		for it.Next() {
			key, err := registry.KeyOf(v, it.Key(), it.Value())
			require.NoError(t, err)
			id := binary.BigEndian.Uint64(it.Key()[1:])
			names[id] = hex.EncodeToString(key[:])
			if len(stores) > 1 {
				require.Equal(t, shard, shardIn(key), "each is in its shard")
				require.EqualValues(t, shard, id%UnionShards, "and has an id of it")
			}
		}
		require.NoError(t, it.Release())
		note := func(key, value string) {
			old, there := all[key]
			require.True(t, !there || old == value, "%s is there twice and differs", key)
			all[key] = value
		}
		it = s.Scan(nil, nil)
		for it.Next() {
			key, value := it.Key(), it.Value()
			text, who := fmt.Sprintf("%c", key[0]), ""
			switch registry.KindOf(key) {
			case registry.Sealed:
				who = names[binary.BigEndian.Uint64(key[1:])]
				value, err = v.Open(key, value)
				require.NoError(t, err)
			case registry.Filed:
				who, text = names[binary.BigEndian.Uint64(key[len(key)-8:])], string(key[:len(key)-8])
			case registry.Named:
				who, text, value = names[binary.BigEndian.Uint64(value)], string(key), nil
			case registry.Challenged, registry.Spent:
				who, text = "-", string(key)
			}
			switch outbox.KindOf(key) {
			case outbox.OfDevice:
				id := registration.ID(binary.BigEndian.Uint64(key[1:]))
				who = names[uint64(id)]
				value, err = outbox.Plain(v, id, value)
				require.NoError(t, err)
			case outbox.OfChain:
				who, text = names[binary.BigEndian.Uint64(key[1:])], text+string(key[9:])
				value, err = v.Open(key, value)
				require.NoError(t, err)
			case outbox.OfTwin:
				who, text = "-", text+string(key[5:])
			}
			if key[0] == vault.Meta {
				if key[1] == outbox.KeyCursor[1] || key[1] == outbox.KeyRun[1] {
					note(string(key), string(value))
				}
				continue
			}
			require.NotEmpty(t, who, "a record %q is of nobody", key[0])
			note(text+" "+who, string(value))
		}
		require.NoError(t, it.Release())
	}
	return all
}

// Registrations of every kind, what waits for their devices and what they have in common are divided into shards and brought
// together, and say the same.
func TestDivideAndUnite(t *testing.T) {
	bedTest(t, Limits{}, func(b *bed) {
		disks := &stores{t: t}
		defer disks.close()
		b.cfg.Delivery.SilentAfter = 2
		b.stop()
		b.cfg.storage, b.cfg.Registerer = nil, prometheus.NewRegistry()
		b.start()
		group := []byte("0123456789abcdef")
		var phones []*phone
		for i := range 23 {
			p := b.phone(fmt.Sprint("token", i))
			g := p.registration(topicA, whisper.Topic{byte(i)})
			if i < 3 {
				g.Group = group
			}
			if i == 4 {
				g.Channels = append(g.Channels, pushwire.Channel{Topic: topicB, Mode: pushwire.Muted})
			}
			if i == 5 {
				g.Chain = nil
			}
			p.join(g)
			phones = append(phones, p)
		}
		require.Equal(t, pushwire.OK, phones[7].ask(&pushwire.Unregister{Version: phones[7].version + 1}).Code) // a tombstone
		first := b.envelope(topicA)
		time.Sleep(time.Minute)
		for _, p := range phones[:12] { // the others have not fetched it
			p.ask(&pushwire.Fetch{Hashes: hashesOf(first)})
		}
		for range 3 { // and are left alone after a while
			b.envelope(topicA)
			time.Sleep(2 * time.Hour)
		}
		b.post.mu.Lock()
		b.post.dead["token9"] = true
		b.post.mu.Unlock()
		b.envelope(whisper.Topic{9})
		time.Sleep(time.Minute)
		late := b.phone("late") // it waits for its code
		require.Equal(t, pushwire.OK, late.ask(late.registration(topicB)).Code)
		seqs := map[uint64]whisper.Topic{} // all but the last
		for n := range b.archive.Last() - 1 {
			seqs[n+1] = topicA
		}
		b.stop()

		from := disks.asIs(b.cfg.Dir)
		want := saying(t, from)
		require.Greater(t, len(want), 24*5)
		topic := func(seq uint64) (whisper.Topic, bool) { tp, ok := seqs[seq]; return tp, ok }
		transfer := NewTransfer(bedKey, time.Now())
		shards := disks.open(UnionShards)
		r, err := transfer.Divide(b.t.Context(), from, shardIn, topic, into(shards))
		require.NoError(t, err)
		require.Equal(t, 24, r.Registrations)
		require.Zero(t, r.Damaged)
		require.Positive(t, r.Waiting)
		require.Equal(t, want, saying(t, shards...))
		for n, s := range shards {
			require.NoError(t, transfer.Verify(b.t.Context(), n, s, func() {}))
		}
		united := disks.open(1)
		back := NewTransfer(bedKey, time.Now())
		again, err := back.Unite(b.t.Context(), shards, func(key, value []byte) error { return into(united)(0, key, value) })
		require.NoError(t, err)
		require.Equal(t, want, saying(t, united[0]))
		require.NoError(t, back.Verify(b.t.Context(), 0, united[0], func() {}))
		r.Cursors, again.Cursors, r.Records, again.Records = nil, nil, 0, 0
		require.Equal(t, r, again)

		// Whatever is changed, or missing, is found.
		for _, spoil := range []func(b *durable.Batch, key, value []byte){
			func(b *durable.Batch, key, _ []byte) { b.Delete(key) },
			func(b *durable.Batch, key, value []byte) {
				value = slices.Clone(value)
				value[len(value)-1] ^= 1
				b.Put(key, value)
			},
			func(b *durable.Batch, key, value []byte) { b.Put(append(slices.Clone(key), 0), value) },
		} {
			for _, prefix := range "rldkaew" {
				it := united[0].Scan(durable.Prefix([]byte{byte(prefix)}))
				require.True(t, it.Next(), "%c", prefix)
				key, value := slices.Clone(it.Key()), slices.Clone(it.Value())
				require.NoError(t, it.Release())
				var change, undo durable.Batch
				if len(value) == 0 {
					value = []byte{0}
				}
				spoil(&change, key, value)
				undo.Delete(append(slices.Clone(key), 0))
				undo.Put(key, value)
				require.NoError(t, united[0].Write(&change))
				require.ErrorIs(t, back.Verify(b.t.Context(), 0, united[0], func() {}), ErrCopyDiffers, "%c", prefix)
				require.NoError(t, united[0].Write(&undo))
			}
		}
		require.NoError(t, back.Verify(b.t.Context(), 0, united[0], func() {}))

		_, err = transfer.Divide(b.t.Context(), from, shardIn, topic, into(disks.open(UnionShards)))
		require.NoError(t, err)
		_, err = NewTransfer(make([]byte, DiskKeySize), time.Now()).Divide(b.t.Context(), from, shardIn, topic, nil)
		require.ErrorIs(t, err, ErrDiskKey)
		var strange durable.Batch
		strange.Put([]byte("zebra"), nil)
		require.NoError(t, united[0].Write(&strange))
		_, err = transfer.Divide(b.t.Context(), united[0], shardIn, topic, func(int, []byte, []byte) error { return nil })
		require.ErrorIs(t, err, ErrUnknownRecord)
	})
}

// A server whose disk key was exchanged is divided with its fingerprints, by which every shard, and whoever looks for a
// handle, finds what was filed before. While an exchange is under way it is not.
func TestDivideAfterRotation(t *testing.T) {
	bedTest(t, Limits{}, func(b *bed) {
		disks := &stores{t: t}
		defer disks.close()
		b.stop()
		b.cfg.storage, b.cfg.Registerer = nil, prometheus.NewRegistry()
		b.start()
		p := b.phone("bob")
		p.join(p.registration(topicA))
		next := slices.Repeat([]byte{9}, DiskKeySize)
		require.NoError(t, b.ext.RotateDiskKey(bedKey, next))
		time.Sleep(time.Second)
		require.False(t, b.ext.Rotating())
		epoch := b.ext.store.Fingerprint([]byte("something"))
		b.stop()
		b.cfg.DiskKey = next
		from := disks.asIs(b.cfg.Dir)
		shards := disks.open(UnionShards)
		none := func(uint64) (whisper.Topic, bool) { return whisper.Topic{}, false }
		_, err := NewTransfer(bedKey, time.Now()).Divide(b.t.Context(), from, shardIn, none, into(shards))
		require.ErrorIs(t, err, ErrDiskKey)
		transfer := NewTransfer(next, time.Now())
		_, err = transfer.Divide(b.t.Context(), from, shardIn, none, into(shards))
		require.NoError(t, err)
		for n, s := range shards {
			require.NoError(t, transfer.Verify(b.t.Context(), n, s, func() {}))
			v, err := vault.Peek(s, next)
			require.NoError(t, err)
			require.Equal(t, epoch, v.Fingerprint([]byte("something")))
		}
		handle := []byte("some handle")
		wrap, err := shards[5].Get(KeyWrap)
		require.NoError(t, err)
		key, err := HandleKey(next, wrap, handle)
		require.NoError(t, err)
		v, err := vault.Peek(shards[11], next)
		require.NoError(t, err)
		require.Equal(t, registry.HandleKey(v, handle), key)
	})
}

// lonely are shards that hear nothing of each other.
type lonely struct{}

func (lonely) Values([]byte, int) ([][]byte, error) { return nil, nil }
func (lonely) Claimed()                             {}
func (lonely) Seen()                                {}

// Two shards that could not talk to each other become one store: what one had matched is not matched again and what the
// other had not is, an address is of the device that proved it last, and what was seen in a group is seen.
func TestUniteGoesOn(t *testing.T) {
	bedTest(t, Limits{}, func(b *bed) {
		disks := &stores{t: t}
		defer disks.close()
		b.stop()
		other := newBed(b.t, Limits{}, func(c *Config) {
			c.PushKey, c.Log, c.Envelopes, c.Dir = b.cfg.PushKey, b.archive, b.archive, t.TempDir()
			c.storage, c.Shard = nil, &Shard{Number: 9, Count: UnionShards, Others: lonely{}, Hold: func() error { return nil }}
		})
		other.archive = b.archive
		b.cfg.storage, b.cfg.Dir, b.cfg.Registerer = nil, t.TempDir(), prometheus.NewRegistry()
		b.cfg.Shard = &Shard{Number: 3, Count: UnionShards, Others: lonely{}, Hold: func() error { return nil }}
		b.start()

		group := []byte("0123456789abcdef")
		join := func(at *bed, token string, topics ...whisper.Topic) *phone {
			p := at.phone(token)
			g := p.registration(topics...)
			g.Group = group
			p.join(g)
			time.Sleep(time.Second)
			return p
		}
		first, second := join(b, "three", topicA), join(other, "nine", topicA)
		lone := b.phone("lone") // in no group
		lone.join(lone.registration(topicA))
		loser, winner := join(b, "shared", topicB), join(other, "shared", topicB)
		seen := b.envelope(topicA)
		time.Sleep(time.Second)
		require.Len(t, first.payloads(), 1)
		require.Len(t, second.payloads(), 1)
		require.Equal(t, pushwire.OK, first.ask(&pushwire.Seen{Hashes: hashesOf(seen)}).Code) // the other shard is not told
		other.stop()
		ahead := b.envelope(topicA) // which it does not match
		time.Sleep(time.Second)
		require.Len(t, first.payloads(), 1)
		lone.payloads()
		for _, p := range []*phone{first, lone} {
			require.Equal(t, pushwire.OK, p.ask(&pushwire.Fetch{Hashes: hashesOf(seen, ahead)}).Code)
		}
		b.stop()

		shards := disks.open(UnionShards)
		for n, dir := range map[int]string{3: b.cfg.Dir, 9: other.cfg.Dir} {
			shards[n] = disks.asIs(dir)
		}
		dir := filepath.Join(t.TempDir(), "push")
		united, err := OpenEmpty(dir)
		require.NoError(t, err)
		transfer := NewTransfer(bedKey, time.Now())
		r, err := transfer.Unite(b.t.Context(), shards, func(key, value []byte) error { return into([]durable.Store{united})(0, key, value) })
		require.NoError(t, err)
		require.NoError(t, transfer.Verify(b.t.Context(), 0, united, func() {}))
		require.Equal(t, 5, r.Registrations)
		require.Equal(t, []uint64{b.archive.Last() - 1}, r.Cursors)
		_, err = transfer.Divide(b.t.Context(), united, shardIn, func(uint64) (whisper.Topic, bool) { return whisper.Topic{}, false }, func(int, []byte, []byte) error { return nil })
		require.ErrorIs(t, err, ErrUnsettled)
		require.NoError(t, united.Close())

		b.cfg.Dir, b.cfg.Shard, b.cfg.Registerer = dir, nil, prometheus.NewRegistry()
		b.post = other.post
		b.cfg.Providers = other.cfg.Providers
		b.start()
		for _, p := range []*phone{first, second, loser, winner, lone} {
			p.bed = b
		}
		time.Sleep(time.Minute)
		require.Empty(t, first.payloads(), "it was matched and fetched before")
		require.Empty(t, lone.payloads(), "it was matched and fetched before")
		told := second.payloads()
		require.NotEmpty(t, told)
		require.True(t, slices.ContainsFunc(told, func(p pushwire.Payload) bool {
			return p.Kind == pushwire.Dismiss && slices.Contains(p.Hashes, seen.Hash())
		}), "%v", told)
		require.True(t, slices.ContainsFunc(told, func(p pushwire.Payload) bool {
			return p.Kind != pushwire.Dismiss && slices.Contains(p.Hashes, ahead.Hash()) && !slices.Contains(p.Hashes, seen.Hash())
		}), "%v", told)
		rep, _ := loser.status()
		require.Equal(t, pushwire.Dead, rep.State)
		rep, _ = winner.status()
		require.Equal(t, pushwire.Active, rep.State)

		// It is settled: the store may be divided.
		b.envelope(topicA)
		time.Sleep(time.Minute)
		require.Len(t, first.payloads(), 1)
		b.stop()
		from := disks.asIs(dir)
		_, err = from.Get(outbox.KeyAhead)
		require.ErrorIs(t, err, durable.ErrNotFound)
		r, err = transfer.Divide(b.t.Context(), from, shardIn, func(uint64) (whisper.Topic, bool) { return whisper.Topic{}, false }, into(disks.open(UnionShards)))
		require.NoError(t, err)
		require.Equal(t, slices.Repeat([]uint64{b.archive.Last()}, UnionShards), r.Cursors)
	})
}
