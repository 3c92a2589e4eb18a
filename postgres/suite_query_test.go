package postgres

import (
	"context"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"whisperpush/mailserver/archive"
	"whisperpush/whisper"
)

// pages asks until there is nothing more, and checks that each page keeps to its limits
// and moves on.
func pages(t require.TestingT, a anArchive, q archive.Query, most int) (got []common.Hash) {
	for n := 0; ; n++ {
		require.LessOrEqual(t, n, most, "%+v does not end", q)
		page, err := a.Query(context.Background(), q)
		require.NoError(t, err)
		if q.MaxRows > 0 {
			require.LessOrEqual(t, len(page.Records), q.MaxRows)
		}
		bytes := 0
		for _, r := range page.Records {
			got = append(got, r.Hash)
			bytes += len(r.Envelope.Raw())
		}
		if q.MaxBytes > 0 && len(page.Records) > 1 {
			require.LessOrEqual(t, bytes, q.MaxBytes)
		}
		switch {
		case page.Next == 0:
			return got
		case q.Descending:
			require.True(t, q.Before == 0 || page.Next < q.Before, "cursor %d does not move on from %d", page.Next, q.Before)
			q.Before = page.Next
		default:
			require.Greater(t, page.Next, q.After, "cursor does not move on")
			q.After = page.Next
		}
	}
}

// matching is what q asks for.
func matching(list []archive.Record, q archive.Query) (out []common.Hash) {
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

// Pages of more rows than an archive looks at in one go.
func queryPages(t *testing.T, open opener) {
	a := open.with(t)
	const total = 3000
	var list []archive.Record
	for n := uint64(0); n < total; n += 500 {
		var envs []*whisper.Envelope
		for i := range uint64(500) {
			e := envelope(n+i, topicOf((n+i)%100), uint32(1000+n+i), 50, 20)
			envs = append(envs, e)
			list = append(list, archive.Record{Seq: n + i + 1, Hash: e.Hash(), Topic: e.Topic, Sent: e.Sent()})
		}
		require.NoError(t, archived(a, envs...))
	}
	bloom := topicOf(7).Bloom()
	for name, q := range map[string]archive.Query{
		"all":                 {Upper: math.MaxUint32, MaxRows: total},
		"all, backwards":      {Upper: math.MaxUint32, MaxRows: total, Descending: true},
		"in pages":            {Upper: math.MaxUint32, MaxRows: 700},
		"in pages, backwards": {Upper: math.MaxUint32, MaxRows: 700, Descending: true},
		"few of many":         {Lower: 3900, Upper: math.MaxUint32, MaxRows: 50},
		"few at the start":    {Upper: 1010, MaxRows: 50, Descending: true},
		"a topic":             {Upper: math.MaxUint32, Topics: []whisper.Topic{topicOf(3)}, MaxRows: 20},
		"topics":              {Upper: math.MaxUint32, Topics: []whisper.Topic{topicOf(3), topicOf(99), topicOf(3)}, MaxRows: 17, Descending: true},
		"no such topic":       {Upper: math.MaxUint32, Topics: []whisper.Topic{topicOf(12345)}},
		"a filter":            {Upper: math.MaxUint32, Bloom: &bloom, MaxRows: 11},
		"bytes":               {Upper: math.MaxUint32, MaxBytes: 5000},
		"bounds":              {Upper: math.MaxUint32, After: 100, Before: 2500, MaxRows: 999},
		"nothing":             {Lower: 2, Upper: 1},
	} {
		require.Equal(t, matching(list, q), pages(t, a, q, total), name)
	}
}

// queryAgainstAList asks anything and compares with a walk over a plain list.
func queryAgainstAList(t *testing.T, open opener) {
	a := open.with(t)
	var list []archive.Record
	n := uint64(0)
	rapid.Check(t, func(t *rapid.T) {
		times := rapid.SampledFrom([]uint32{0, 1, 99, 100, 101, 1000, math.MaxUint32 - 50, math.MaxUint32})
		topics := rapid.Map(rapid.Uint64Range(0, 6), topicOf)
		var envs []*whisper.Envelope
		for range rapid.IntRange(0, 10).Draw(t, "envelopes") {
			n++
			sent, ttl := times.Draw(t, "sent"), uint32(50)
			if sent > math.MaxUint32-50 {
				ttl = math.MaxUint32 - sent
			}
			e := envelope(n, topics.Draw(t, "topic"), sent, ttl, rapid.SampledFrom([]int{8, 100, 3000, 10_000}).Draw(t, "size"))
			envs = append(envs, e)
			list = append(list, archive.Record{Seq: n, Hash: e.Hash(), Topic: e.Topic, Sent: e.Sent()})
		}
		require.NoError(t, archived(a, envs...))
		for range 5 {
			q := archive.Query{
				Lower: times.Draw(t, "lower"), Upper: times.Draw(t, "upper"),
				Topics:     rapid.SliceOfN(topics, 0, 3).Draw(t, "topics"),
				Descending: rapid.Bool().Draw(t, "descending"),
				After:      rapid.Uint64Range(n-min(n, 60), n+2).Draw(t, "after"),
				Before:     rapid.SampledFrom([]uint64{0, n - min(n, 10), n + 1, math.MaxUint64}).Draw(t, "before"),
				MaxRows:    rapid.IntRange(0, 40).Draw(t, "rows"),
				MaxBytes:   rapid.SampledFrom([]int{0, 1, 1000, 20_000}).Draw(t, "bytes"),
				MaxScan:    rapid.SampledFrom([]int{0, 1, 10, 100}).Draw(t, "scan"),
			}
			if rapid.Bool().Draw(t, "with filter") {
				var b whisper.Bloom
				for _, t := range rapid.SliceOfN(topics, 0, 3).Draw(t, "filter") {
					b.Merge(t.Bloom())
				}
				q.Bloom = &b
			}
			require.Equal(t, matching(list, q), pages(t, a, q, 2*len(list)+10), "%+v", q)
		}
	})
}

// An envelope that claims to be old and arrives after a client has read past that time
// is in the client's next page.
func lateIsFoundBySequence(t *testing.T, open opener) {
	a := open.with(t)
	now := uint32(time.Now().Unix())
	require.NoError(t, archived(a, envelope(1, topicOf(1), now, 50, 64)))
	late := envelope(2, topicOf(1), now-40, 50, 64)
	require.NoError(t, archived(a, late))
	page, err := a.Query(t.Context(), archive.Query{Upper: math.MaxUint32, Topics: []whisper.Topic{topicOf(1)}, After: 1})
	require.NoError(t, err)
	require.Len(t, page.Records, 1)
	require.Equal(t, late.Hash(), page.Records[0].Hash)
}
