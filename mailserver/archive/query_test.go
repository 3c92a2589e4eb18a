package archive

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"whisperpush/durable/faultstore"
	"whisperpush/whisper"
)

// TestQueryAgainstAList compares every kind of query with a walk over a plain
// list, over an archive of several partitions, runs and an index in memory.
func TestQueryAgainstAList(t *testing.T) {
	noLeaks(t)
	rapid.Check(t, func(rt *rapid.T) {
		disk := faultstore.NewDisk()
		open := func() *Archive {
			a, err := Open("mem", Options{volume: memVolume{disk}, runRecords: 32, Retention: -1})
			if err != nil {
				rt.Fatal(err)
			}
			return a
		}
		a := open()
		defer func() { a.Close() }()
		var list []Record
		n := uint64(0)
		times := rapid.SampledFrom([]uint32{0, 1, 99, 100, 101, 1000, math.MaxUint32 - 50, math.MaxUint32})
		topics := rapid.Map(rapid.Uint64Range(0, 6), topicOf)
		for range rapid.IntRange(0, 12).Draw(rt, "groups") {
			var envs []*whisper.Envelope
			for range rapid.IntRange(1, 40).Draw(rt, "size") {
				n++
				sent := times.Draw(rt, "sent")
				ttl := uint32(50)
				if sent > math.MaxUint32-50 {
					ttl = math.MaxUint32 - sent
				}
				e := testEnvelope(n, topics.Draw(rt, "topic"), sent, ttl, rapid.SampledFrom([]int{8, 100, 3000, 10_000}).Draw(rt, "bytes"))
				envs = append(envs, e)
				list = append(list, Record{Seq: n, Hash: e.Hash(), Topic: e.Topic, Sent: e.Sent(), Envelope: e})
			}
			if err := store(a, envs...); err != nil {
				rt.Fatal(err)
			}
			switch rapid.IntRange(0, 5).Draw(rt, "then") {
			case 0:
				if err := a.Close(); err != nil {
					rt.Fatal(err)
				}
				a = open()
			case 1: // as a crash
				after := disk.Crash(nil)
				a.Close()
				disk = after
				a = open()
			}
		}
		for range 20 {
			q := Query{
				Lower: times.Draw(rt, "lower"), Upper: times.Draw(rt, "upper"),
				Topics:     rapid.SliceOfN(topics, 0, 3).Draw(rt, "topics"),
				Descending: rapid.Bool().Draw(rt, "descending"),
				After:      rapid.Uint64Range(0, n+2).Draw(rt, "after"),
				Before:     rapid.Uint64Range(0, n+2).Draw(rt, "before"),
				MaxRows:    rapid.IntRange(0, 40).Draw(rt, "rows"),
				MaxBytes:   rapid.SampledFrom([]int{0, 1, 1000, 20_000}).Draw(rt, "bytes"),
				MaxScan:    rapid.SampledFrom([]int{0, 1, 10, 100}).Draw(rt, "scan"),
			}
			if rapid.Bool().Draw(rt, "with bloom") {
				var b whisper.Bloom
				for _, t := range rapid.SliceOfN(topics, 0, 3).Draw(rt, "bloom") {
					b.Merge(t.Bloom())
				}
				q.Bloom = &b
			}
			want := naive(list, q)
			var got []common.Hash
			for pages := 0; ; pages++ {
				if pages > 2*len(list)+10 {
					rt.Fatalf("%+v: no end after %d pages", q, pages)
				}
				page, err := a.Query(context.Background(), q)
				if err != nil {
					rt.Fatal(err)
				}
				if q.MaxRows > 0 && len(page.Records) > q.MaxRows {
					rt.Fatalf("%d rows, not %d", len(page.Records), q.MaxRows)
				}
				got = append(got, hashes(page.Records)...)
				if page.Next == 0 {
					break
				}
				if q.Descending {
					if q.Before != 0 && page.Next >= q.Before {
						rt.Fatalf("cursor %d does not move on from %d", page.Next, q.Before)
					}
					q.Before = page.Next
				} else {
					if page.Next <= q.After {
						rt.Fatalf("cursor %d does not move on from %d", page.Next, q.After)
					}
					q.After = page.Next
				}
			}
			if !slices.Equal(want, got) {
				rt.Fatalf("%+v: got %d records, want %d", q, len(got), len(want))
			}
		}
		if len(list) > 0 {
			i := rapid.IntRange(0, len(list)-1).Draw(rt, "hash")
			found, missing, err := a.ByHash(context.Background(), []common.Hash{list[i].Hash, {9}})
			if err != nil || len(found) != 1 || found[0].Seq != list[i].Seq || len(missing) != 1 {
				rt.Fatal(found, missing, err)
			}
		}
	})
}

func naive(list []Record, q Query) (out []common.Hash) {
	for _, r := range list {
		if r.Seq > q.After && (q.Before == 0 || r.Seq < q.Before) && r.Sent >= q.Lower && r.Sent <= q.Upper &&
			(len(q.Topics) == 0 || slices.Contains(q.Topics, r.Topic)) &&
			(q.Bloom == nil || q.Bloom.Covers(r.Topic.Bloom())) {
			out = append(out, r.Hash)
		}
	}
	if q.Descending {
		slices.Reverse(out)
	}
	return out
}

// TestLateEnvelopeIsFoundBySequence: an envelope that claims to be old and arrives
// after a client has read past that time is in the client's next page.
func TestLateEnvelopeIsFoundBySequence(t *testing.T) {
	a := openArchive(t, t.TempDir(), Options{})
	now := uint32(time.Now().Unix())
	require.NoError(t, store(a, testEnvelope(1, topicOf(1), now, 50, 64)))
	page, err := a.Query(t.Context(), Query{Upper: math.MaxUint32, Topics: []whisper.Topic{topicOf(1)}})
	require.NoError(t, err)
	cursor := page.Records[0].Seq
	late := testEnvelope(2, topicOf(1), now-86400, 2*86400, 64)
	require.NoError(t, store(a, late))
	page, err = a.Query(t.Context(), Query{Upper: math.MaxUint32, Topics: []whisper.Topic{topicOf(1)}, After: cursor})
	require.NoError(t, err)
	require.Equal(t, []common.Hash{late.Hash()}, hashes(page.Records))
}

func TestQueryObeysItsContext(t *testing.T) {
	a := openArchive(t, t.TempDir(), Options{})
	require.NoError(t, store(a, numbered(1)))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := a.Query(ctx, Query{Upper: math.MaxUint32})
	require.ErrorIs(t, err, context.Canceled)
	_, _, err = a.ByHash(ctx, []common.Hash{{1}})
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, a.Follow(ctx, 0, func([]Record) error { return nil }), context.Canceled)
}

// TestHashAt: the hash at a sequence, from memory and from disk, over partitions and
// beside what is not there.
func TestHashAt(t *testing.T) {
	noLeaks(t)
	dir := t.TempDir()
	a := openArchive(t, dir, Options{Retention: -1, runRecords: 64})
	const n = 600
	for i := range uint64(n / 20) {
		var envs []*whisper.Envelope
		for j := range uint64(20) {
			envs = append(envs, testEnvelope(i*20+j, topicOf(j), 100, 50, 300))
		}
		require.NoError(t, store(a, envs...))
	}
	check := func() {
		for _, r := range readAll(t, a) {
			h, ok := a.HashAt(r.Seq)
			require.True(t, ok)
			require.Equal(t, r.Hash, h)
		}
		for _, none := range []uint64{0, n + 1, math.MaxUint64} {
			_, ok := a.HashAt(none)
			require.False(t, ok)
		}
	}
	check()
	require.NoError(t, a.Close())
	a = openArchive(t, dir, Options{Retention: -1, runRecords: 64})
	check()
	require.NoError(t, a.Close())

	require.NoError(t, os.Remove(filepath.Join(dir, partitionName(1), "CURRENT")))
	a = openArchive(t, dir, Options{Retention: -1})
	require.NoError(t, store(a, numbered(1)))
	for _, lost := range []uint64{1, n, n + 1, maxPartitionRecords} {
		_, ok := a.HashAt(lost)
		require.False(t, ok, "sequence %d", lost)
	}
	h, ok := a.HashAt(a.Last())
	require.True(t, ok)
	require.Equal(t, numbered(1).Hash(), h)
}
