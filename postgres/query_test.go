package postgres

import (
	"context"
	"math"
	"slices"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

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

// Pages of more rows than a statement tells of.
func TestQueryPages(t *testing.T) {
	a := opensArchive(t, opened(t, database(t), Options{}), ArchiveOptions{Retention: -1})
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

// What another node has archived, each in a part of its own, is found at once, from either end.
func TestQuerySeesPartsOfOthers(t *testing.T) {
	address := database(t)
	ours := opensArchive(t, opened(t, address, Options{}), EachItsPart())
	other := opensArchive(t, opened(t, address, Options{}), EachItsPart())
	for n := range uint64(20) {
		e := numbered(n)
		require.NoError(t, archived(other, e))
		for _, q := range []archive.Query{
			{Upper: math.MaxUint32},
			{Upper: math.MaxUint32, Descending: true},
			{Lower: e.Sent(), Upper: e.Sent(), Topics: []whisper.Topic{e.Topic}},
		} {
			page, err := ours.Query(t.Context(), q)
			require.NoError(t, err)
			require.True(t, slices.ContainsFunc(page.Records, func(r archive.Record) bool { return r.Hash == e.Hash() }), "envelope %d of another node is not found by %+v", n, q)
		}
	}
}
