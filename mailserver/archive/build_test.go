package archive

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/whisper"
)

// A copy has the same records under the same sequences, found by every index, and goes on behind them; sequences that
// the original does not have are no holes of it, and its identity is its own.
func TestBuild(t *testing.T) {
	noLeaks(t)
	var records []Record
	at := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	for n := uint64(1); n <= 2000; n++ {
		if n == 700 { // sequences that nobody has
			at = at.Add(time.Minute)
		}
		seq := n + 1000
		if n >= 700 {
			seq += 5000
		}
		if n%7 == 0 {
			at = at.Add(200 * time.Millisecond)
		}
		env := testEnvelope(n, topicOf(n%10), uint32(at.Unix()), 50, 64)
		records = append(records, Record{Seq: seq, Hash: env.Hash(), Topic: env.Topic, Sent: env.Sent(), Received: at, Envelope: env})
	}
	dir, o := t.TempDir(), Options{Retention: 32 * time.Minute, runRecords: 100} // partitions of a minute
	b, err := Build(dir, o)
	require.NoError(t, err)
	for _, r := range records {
		require.NoError(t, b.Add(r))
	}
	require.ErrorIs(t, b.Add(records[3]), ErrOrder)
	require.NoError(t, b.Close())
	require.NoError(t, b.Close(), "again")
	b.Abort()
	_, err = Build(dir, o)
	require.ErrorContains(t, err, "there is something in")

	o.Retention = -1
	a := openArchive(t, dir, o)
	require.Empty(t, a.Damage())
	require.Equal(t, records, readAll(t, a))
	page, err := a.Query(t.Context(), Query{Upper: ^uint32(0), Topics: []whisper.Topic{topicOf(3)}, MaxRows: 3000})
	require.NoError(t, err)
	require.Len(t, page.Records, 200)
	found, missing, err := a.ByHash(t.Context(), hashes(records))
	require.NoError(t, err)
	require.Equal(t, records, found)
	require.Empty(t, missing)
	lost, sure := a.Lost(1699, 6700)
	require.Zero(t, lost)
	require.True(t, sure)
	s := a.Stats()
	require.Equal(t, []uint64{1001, 8000}, []uint64{s.First, s.Last})
	require.Greater(t, s.Partitions, 1)
	require.Equal(t, records[0].Received, s.Oldest)
	require.Equal(t, at, s.Newest)

	next := numbered(5000)
	require.NoError(t, store(a, next))
	require.Equal(t, uint64(8001), a.Last())
	id := a.ID()
	require.NoError(t, a.Close())
	require.Equal(t, id, openArchive(t, dir, o).ID())
	other := t.TempDir()
	b, err = Build(other, o)
	require.NoError(t, err)
	require.NoError(t, b.Add(records[0]))
	b.Abort()
	require.NoError(t, os.RemoveAll(other))
	b, err = Build(other, o)
	require.NoError(t, err)
	require.NoError(t, b.Close(), "of nothing")
	require.NotEqual(t, id, openArchive(t, other, o).ID())
}

// Pruning drops what was archived before a time, by whole partitions, oldest first, and what has not expired stays.
func TestPrune(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir := t.TempDir()
		a := openArchive(t, dir, Options{Retention: 32 * time.Minute}) // partitions of a minute
		begun := time.Now()
		for n := range uint64(30) {
			ttl := uint32(50)
			if n == 5 {
				ttl = 3600
			}
			require.NoError(t, store(a, testEnvelope(n, topicOf(n), uint32(time.Now().Unix()), ttl, 500)))
			time.Sleep(time.Minute)
		}
		time.Sleep(2 * time.Minute) // the last of them is sealed
		before := a.Stats()
		n, bytes, err := a.Prune(begun)
		require.NoError(t, err)
		require.Zero(t, n)
		n, bytes, err = a.Prune(begun.Add(20 * time.Minute))
		require.NoError(t, err)
		require.Positive(t, n)
		require.Positive(t, bytes)
		require.Equal(t, before.Partitions-n, a.Stats().Partitions)
		records := readAll(t, a)
		require.LessOrEqual(t, records[0].Seq, uint64(6), "one that has not expired keeps its partition")
		time.Sleep(time.Hour)
		_, _, err = a.Prune(begun.Add(20 * time.Minute))
		require.NoError(t, err)
		require.NoError(t, a.Close())
		_, _, err = a.Prune(begun)
		require.ErrorIs(t, err, ErrClosed)
	})
}
