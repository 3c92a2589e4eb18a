package archivetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/mailserver/archive"
	"whisperpush/whisper"
	"whisperpush/wnode/node"
)

// Place is a place for a test's archive, empty at first. The archive is built there as a copy, opened, and read.
type Place struct {
	Build func(archive.Origin) (archive.Copy, error)
	Open  func() (node.Archive, error)
	Read  func() (archive.Source, error)
}

// Copies is the suite for what a copy of an archive must do: see archive.Copy. Parts of the log must cover a minute each.
func Copies(t *testing.T, place func(t *testing.T) Place) {
	for name, test := range map[string]func(t *testing.T, p Place){
		"GoesOn":       goesOn,
		"NothingKept":  nothingKept,
		"NothingAtAll": nothingAtAll,
		"Interrupted":  interrupted,
		"Refused":      func(t *testing.T, p Place) { refused(t, p) },
		"ReadAsItIs":   func(t *testing.T, p Place) { readAsItIs(t, p, place(t)) },
	} {
		t.Run(name, func(t *testing.T) { test(t, place(t)) })
	}
}

// copied returns records after sequence 41: over several minutes, with sequences that no envelope has, and with one
// envelope that came again after it had expired.
func copied() (list []archive.Record) {
	at := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	seq := uint64(41)
	for n := range 600 {
		if seq++; n == 250 {
			seq += 1 << 32 // as many as a damaged partition leaves
		}
		if n%3 == 0 {
			at = at.Add(700 * time.Millisecond)
		}
		e := numbered(n)
		if n == 20 || n == 21 || n == 599 {
			e = numbered(19)
		}
		list = append(list, archive.Record{Seq: seq, Hash: e.Hash(), Topic: e.Topic, Sent: e.Sent(), Received: at, Envelope: e})
	}
	return list
}

var origin = archive.Origin{ID: [archive.IDSize]byte{1, 2, 3, 15: 9}, After: 41}

func build(t *testing.T, p Place, records []archive.Record, last uint64) {
	t.Helper()
	c, err := p.Build(origin)
	require.NoError(t, err)
	require.EqualValues(t, 41, c.Last())
	for _, r := range records {
		require.NoError(t, c.Add(r))
		require.Equal(t, r.Seq, c.Last())
	}
	require.NoError(t, c.End(last))
	c.Abort()
}

// goesOn: whoever has a sequence, a hash or the identity of the log gets the same answers from the copy as before.
func goesOn(t *testing.T, p Place) {
	records := copied()
	end := records[len(records)-1].Seq + 100 // of which nothing is left
	build(t, p, records, end)
	for range 2 {
		a, err := p.Open()
		require.NoError(t, err)
		require.Equal(t, origin.ID, a.ID())
		require.EqualValues(t, 42, a.First())
		require.Equal(t, end, a.Last())
		for _, r := range records {
			hash, ok := a.HashAt(r.Seq)
			require.True(t, ok, r.Seq)
			require.Equal(t, r.Hash, hash)
		}
		_, ok := a.HashAt(records[250].Seq - 1)
		require.False(t, ok)
		found, missing, err := a.ByHash(t.Context(), hashes(records[100:110]))
		require.NoError(t, err)
		require.Empty(t, missing)
		require.Equal(t, records[100:110], found)
		require.Equal(t, records, all(t, a))
		page, err := a.Query(t.Context(), archive.Query{Upper: math.MaxUint32, Topics: []whisper.Topic{topicOf(3)}, After: records[300].Seq})
		require.NoError(t, err)
		require.NotEmpty(t, page.Records)
		for _, r := range page.Records {
			require.Greater(t, r.Seq, records[300].Seq)
		}
		for _, after := range []uint64{41, 60, records[249].Seq, records[249].Seq + 5} {
			require.Equal(t, behind(records, after), followed(t, a, after, end))
		}
		require.ErrorAs(t, a.Follow(t.Context(), 40, nil), new(*archive.GapError))
		require.ErrorAs(t, a.Follow(t.Context(), end+1, nil), new(*archive.AheadError))
		lost, sure := a.Lost(records[248].Seq, records[250].Seq)
		require.EqualValues(t, 1, lost, "one envelope, and the sequences that nobody had")
		require.True(t, sure)
		// What is archived next gets the next sequence, and what is already there gets none.
		require.NoError(t, put(t.Context(), a, records[len(records)-2].Envelope, numbered(1000+int(end))))
		end++
		hash, ok := a.HashAt(end)
		require.True(t, ok)
		require.Equal(t, numbered(1000+int(end)-1).Hash(), hash)
		require.Equal(t, end, a.Last())
		page, err = a.Query(t.Context(), archive.Query{Upper: math.MaxUint32, After: end - 1})
		require.NoError(t, err)
		require.Len(t, page.Records, 1)
		records = append(records, page.Records...)
		require.NoError(t, a.Close())
	}
}

// behind returns the records whose sequences are above after.
func behind(records []archive.Record, after uint64) (list []archive.Record) {
	for _, r := range records {
		if r.Seq > after {
			list = append(list, r)
		}
	}
	return list
}

// followed returns what a follower gets up to the last existing record.
func followed(t *testing.T, a node.Archive, after, end uint64) (list []archive.Record) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	want := len(behind(all(t, a), after))
	err := a.Follow(ctx, after, func(records []archive.Record) error {
		if list = append(list, records...); len(list) >= want {
			cancel()
		}
		return nil
	})
	require.ErrorIs(t, err, context.Canceled)
	return list
}

// nothingKept: retention has dropped everything, and the sequences continue.
func nothingKept(t *testing.T, p Place) {
	build(t, p, nil, 41)
	a, err := p.Open()
	require.NoError(t, err)
	require.Equal(t, origin.ID, a.ID())
	require.EqualValues(t, 42, a.First())
	require.EqualValues(t, 41, a.Last())
	require.Empty(t, all(t, a))
	require.NoError(t, put(t.Context(), a, numbered(1)))
	require.EqualValues(t, 42, a.Last())
	require.NoError(t, a.Close())
}

func nothingAtAll(t *testing.T, p Place) {
	c, err := p.Build(archive.Origin{ID: origin.ID})
	require.NoError(t, err)
	require.NoError(t, c.End(0))
	a, err := p.Open()
	require.NoError(t, err)
	require.Equal(t, origin.ID, a.ID())
	require.EqualValues(t, 1, a.First())
	require.Zero(t, a.Last())
	require.NoError(t, put(t.Context(), a, numbered(1)))
	require.EqualValues(t, 1, a.Last())
	require.NoError(t, a.Close())
}

// interrupted: a copy that was aborted continues where it was, however often.
func interrupted(t *testing.T, p Place) {
	records := copied()
	end := records[len(records)-1].Seq
	for round, from := 0, origin; ; round++ {
		require.Less(t, round, 10)
		c, err := p.Build(from)
		require.NoError(t, err)
		from.Continue = true
		rest := behind(records, c.Last())
		if round > 0 && len(rest) == len(records) && round < 9 {
			t.Log("nothing was kept of the round before")
		}
		some := min(len(rest), 113*(round+1))
		for _, r := range rest[:some] {
			require.NoError(t, c.Add(r))
		}
		if some < len(rest) {
			c.Abort()
			continue
		}
		require.NoError(t, c.End(end))
		break
	}
	require.Equal(t, records, read(t, p, 41))
	// It is complete, but must be able to continue: its maker may not have noted the end.
	from := origin
	from.Continue = true
	c, err := p.Build(from)
	require.NoError(t, err)
	for _, r := range behind(records, c.Last()) {
		require.NoError(t, c.Add(r))
	}
	require.NoError(t, c.End(end))
	require.Equal(t, records, read(t, p, 41))
	a, err := p.Open()
	require.NoError(t, err)
	require.Equal(t, records, all(t, a))
	require.NoError(t, a.Close())
}

// refused: nothing is built over an archive, and records must be in order.
func refused(t *testing.T, p Place) {
	records := copied()
	c, err := p.Build(origin)
	require.NoError(t, err)
	require.NoError(t, c.Add(records[1]))
	require.ErrorIs(t, c.Add(records[1]), archive.ErrOrder)
	require.ErrorIs(t, c.Add(records[0]), archive.ErrOrder)
	require.NoError(t, c.End(records[1].Seq))
	_, err = p.Build(origin)
	require.Error(t, err)
	a, err := p.Open()
	require.NoError(t, err)
	require.Equal(t, records[1:2], all(t, a))
	require.NoError(t, a.Close())
}

func read(t *testing.T, p Place, after uint64) (list []archive.Record) {
	t.Helper()
	s, err := p.Read()
	require.NoError(t, err)
	require.Equal(t, origin.ID, s.ID())
	require.NoError(t, s.Each(t.Context(), after, func(records []archive.Record) error {
		list = append(list, records...)
		return nil
	}))
	require.NoError(t, s.Close())
	return list
}

// readAsItIs: a source can be read from anywhere, ends when told to, and a copy of it is the same.
func readAsItIs(t *testing.T, p, other Place) {
	a, err := p.Open()
	require.NoError(t, err)
	for n := range 20 {
		require.NoError(t, put(t.Context(), a, numberedFrom(n*10, 10)...))
	}
	want := all(t, a)
	id := a.ID()
	require.NoError(t, a.Close())
	s, err := p.Read()
	require.NoError(t, err)
	require.Equal(t, id, s.ID())
	require.EqualValues(t, 1, s.First())
	require.EqualValues(t, 200, s.Last())
	for _, after := range []uint64{0, 1, 57, 199, 200, 300} {
		var got []archive.Record
		require.NoError(t, s.Each(t.Context(), after, func(records []archive.Record) error {
			require.NotEmpty(t, records)
			got = append(got, records...)
			return nil
		}))
		require.Equal(t, fmt.Sprint(len(behind(want, after))), fmt.Sprint(len(got)), "after %d", after)
		if len(got) > 0 {
			require.Equal(t, behind(want, after), got)
		}
	}
	stop := errors.New("enough")
	require.ErrorIs(t, s.Each(t.Context(), 0, func([]archive.Record) error { return stop }), stop)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.Each(ended, 0, func([]archive.Record) error { return nil }), context.Canceled)
	c, err := other.Build(archive.Origin{ID: id})
	require.NoError(t, err)
	require.NoError(t, s.Each(t.Context(), 0, func(records []archive.Record) error {
		for _, r := range records {
			require.NoError(t, c.Add(r))
		}
		return nil
	}))
	require.NoError(t, c.End(s.Last()))
	require.NoError(t, s.Close())
	b, err := other.Open()
	require.NoError(t, err)
	require.Equal(t, id, b.ID())
	require.Equal(t, want, all(t, b))
	require.NoError(t, b.Close())
}
