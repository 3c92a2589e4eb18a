// Package archivetest is a test suite for what every archive of envelopes must do:
//
//	func TestArchive(t *testing.T) {
//		archivetest.Exercise(t, func(t *testing.T) func() (node.Archive, error) {
//			dir := t.TempDir()
//			return func() (node.Archive, error) { return archive.Open(dir, archive.Options{Retention: -1}) }
//		})
//	}
//
// The suite keeps everything, so an archive under test must have no retention that a
// test's envelopes could outlive. What a power cut, a full disk or damage leaves, and
// what retention drops, is left to each archive's own tests. Only tests import this
// package.
package archivetest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"whisperpush/durable"
	"whisperpush/mailserver/archive"
	"whisperpush/whisper"
	"whisperpush/wnode/node"
)

// Exercise runs the suite. place is called once per test. It returns a function
// that opens the test's own archive, which is empty at first and is opened again
// after it was closed.
func Exercise(t *testing.T, place func(t *testing.T) func() (node.Archive, error)) {
	for name, test := range map[string]func(t *testing.T, open opener){
		"Empty":               empty,
		"NumberedWithoutGaps": numberedWithoutGaps,
		"ArchivedIsReadable":  archivedIsReadable,
		"StoredOnce":          storedOnce,
		"OfferedAgain":        offeredAgain,
		"AsItWas":             asItWas,
		"Follow":              follow,
		"FollowEnds":          followEnds,
		"FollowAcrossReopen":  followAcrossReopen,
		"Queries":             queries,
		"ByHash":              byHash,
		"Identity":            func(t *testing.T, open opener) { identity(t, open, place(t)) },
		"Closed":              closed,
	} {
		t.Run(name, func(t *testing.T) { test(t, place(t)) })
	}
}

// opener opens the archive of a test.
type opener func() (node.Archive, error)

func (open opener) must(t *testing.T) node.Archive {
	t.Helper()
	a, err := open()
	require.NoError(t, err)
	return a
}

// with opens the archive, and closes it when the test ends.
func (open opener) with(t *testing.T) node.Archive {
	t.Helper()
	a := open.must(t)
	t.Cleanup(func() { require.NoError(t, a.Close()) })
	return a
}

// envelope makes an envelope with size bytes of data, at least 8, that are unique for n.
func envelope(n uint64, topic whisper.Topic, sent uint32, size int) *whisper.Envelope {
	const ttl = 50
	data := make([]byte, size)
	binary.BigEndian.PutUint64(data, n)
	raw, err := rlp.EncodeToBytes([]any{sent + ttl, uint32(ttl), topic[:], data, n})
	if err != nil {
		panic(err)
	}
	e, err := whisper.DecodeEnvelope(raw)
	if err != nil {
		panic(err)
	}
	return e
}

// unexpired is the sent time, in Unix seconds, of envelopes that stay alive for as
// long as a test may take. An archive may take another copy of an envelope that has
// expired.
const unexpired = 4_000_000_000

// numbered makes the n-th of many envelopes, the same each time.
func numbered(n int) *whisper.Envelope {
	return envelope(uint64(n), topicOf(n%7), unexpired, 64)
}

func numberedFrom(first, count int) (envs []*whisper.Envelope) {
	for n := range count {
		envs = append(envs, numbered(first+n))
	}
	return envs
}

func topicOf(n int) (t whisper.Topic) {
	binary.BigEndian.PutUint32(t[:], uint32(n))
	return t
}

// put archives envs and waits. done must be called only once.
func put(ctx context.Context, a node.Archive, envs ...*whisper.Envelope) error {
	done := make(chan error, 2)
	a.Archive(ctx, envs, func(err error) { done <- err })
	return <-done
}

// all reads the whole archive by pages, oldest first.
func all(t *testing.T, a node.Archive) (records []archive.Record) {
	t.Helper()
	for q := (archive.Query{Upper: math.MaxUint32}); ; {
		page, err := a.Query(t.Context(), q)
		require.NoError(t, err)
		records = append(records, page.Records...)
		if page.Next == 0 {
			return records
		}
		require.Greater(t, page.Next, q.After, "the cursor moves on")
		q.After = page.Next
	}
}

func hashes(records []archive.Record) []common.Hash {
	list := make([]common.Hash, 0, len(records))
	for _, r := range records {
		list = append(list, r.Hash)
	}
	return list
}

func hashesOf(envs []*whisper.Envelope) []common.Hash {
	list := make([]common.Hash, 0, len(envs))
	for _, e := range envs {
		list = append(list, e.Hash())
	}
	return list
}

func empty(t *testing.T, open opener) {
	a := open.with(t)
	require.EqualValues(t, 1, a.First())
	require.Zero(t, a.Last())
	require.Empty(t, all(t, a))
	_, ok := a.HashAt(0)
	require.False(t, ok)
	_, ok = a.HashAt(1)
	require.False(t, ok)
	found, missing, err := a.ByHash(t.Context(), []common.Hash{{1}})
	require.NoError(t, err)
	require.Empty(t, found)
	require.Equal(t, []common.Hash{{1}}, missing)
	require.NoError(t, a.Probe())
	require.Empty(t, a.DamagedParts())
	require.NoError(t, put(t.Context(), a), "nothing can be archived")
	require.Zero(t, a.Last())
}

// Many goroutines archive at the same time, one envelope or several, across a
// close. The sequences must be 1, 2, 3 …, and those of each submission in its
// order.
func numberedWithoutGaps(t *testing.T, open opener) {
	const writers, rounds = 6, 20
	total := 0
	for session := range 2 {
		a := open.must(t)
		require.EqualValues(t, total, a.Last())
		errs := make(chan error, writers)
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				n := (session*writers + w) * 1_000
				for round := range rounds {
					count := 1 + round%4
					if err := put(context.Background(), a, numberedFrom(n, count)...); err != nil {
						errs <- err
						return
					}
					n += count
				}
			})
		}
		wg.Wait()
		close(errs)
		require.NoError(t, <-errs)
		total += writers * rounds * 5 / 2 // 1, 2, 3, 4, 1 …
		require.EqualValues(t, total, a.Last())
		require.EqualValues(t, 1, a.First())
		records := all(t, a)
		require.Len(t, records, total)
		latest := map[uint64]uint64{} // of each writer, by session
		for i, r := range records {
			require.EqualValues(t, i+1, r.Seq)
			n := binary.BigEndian.Uint64(r.Envelope.Data)
			before, begun := latest[n/1_000]
			require.True(t, !begun && n%1_000 == 0 || begun && n == before+1, "%d follows %d", n, before)
			latest[n/1_000] = n
			hash, ok := a.HashAt(r.Seq)
			require.True(t, ok)
			require.Equal(t, r.Hash, hash)
		}
		require.NoError(t, a.Close())
	}
}

// Whoever was told that an envelope is archived finds it at once, by every kind of
// read, and after a close.
func archivedIsReadable(t *testing.T, open opener) {
	a := open.must(t)
	const writers, each = 4, 50
	errs := make(chan error, writers)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for n := range each {
				e := numbered(w*each + n)
				err := put(context.Background(), a, e)
				if err == nil {
					err = readable(a, e)
				}
				if err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	require.NoError(t, <-errs)
	require.NoError(t, a.Close())
	a = open.with(t)
	for n := range writers * each {
		require.NoError(t, readable(a, numbered(n)))
	}
}

// readable says by which kind of read an archived envelope is not found.
func readable(a node.Archive, e *whisper.Envelope) error {
	found, missing, err := a.ByHash(context.Background(), []common.Hash{e.Hash()})
	if err != nil || len(found) != 1 || len(missing) != 0 || found[0].Hash != e.Hash() {
		return fmt.Errorf("not found by its hash: %d, %d, %w", len(found), len(missing), err)
	}
	r := found[0]
	if last := a.Last(); r.Seq == 0 || r.Seq > last {
		return fmt.Errorf("it has the sequence %d, above the last, %d", r.Seq, last)
	}
	if hash, ok := a.HashAt(r.Seq); !ok || hash != e.Hash() {
		return fmt.Errorf("not found by its sequence %d", r.Seq)
	}
	page, err := a.Query(context.Background(), archive.Query{
		Lower: e.Sent(), Upper: e.Sent(), Topics: []whisper.Topic{e.Topic}, After: r.Seq - 1, MaxRows: 1,
	})
	if err != nil || len(page.Records) != 1 || page.Records[0].Hash != e.Hash() {
		return fmt.Errorf("not found by its topic and time: %d, %w", len(page.Records), err)
	}
	enough := errors.New("enough")
	if err := a.Follow(context.Background(), r.Seq-1, func(records []archive.Record) error {
		if records[0].Hash == e.Hash() {
			return enough
		}
		return fmt.Errorf("%d follows %d", records[0].Seq, r.Seq-1)
	}); !errors.Is(err, enough) {
		return err
	}
	return nil
}

// An envelope that comes again is not stored again, and its sender is told that
// it is archived.
func storedOnce(t *testing.T, open opener) {
	a := open.must(t)
	e := numbered(1)
	require.NoError(t, put(t.Context(), a, e, e, numbered(2)))
	require.NoError(t, put(t.Context(), a, e))
	require.NoError(t, put(t.Context(), a, numbered(2), e))
	require.EqualValues(t, 2, a.Last())
	require.NoError(t, a.Close())
	a = open.with(t)
	require.NoError(t, put(t.Context(), a, e), "sent again by a peer after a restart")
	require.EqualValues(t, 2, a.Last())
	require.NoError(t, put(t.Context(), a, numbered(3)))
	require.EqualValues(t, 3, a.Last())
	require.Equal(t, hashesOf(numberedFrom(1, 3)), hashes(all(t, a)))
}

// What was not archived may be offered again until it is. In the end each envelope
// is there once.
func offeredAgain(t *testing.T, open opener) {
	a := open.must(t)
	rng := rand.New(rand.NewPCG(1, 2))
	const n = 60
	for i := range n {
		for {
			ctx, cancel := context.WithCancel(t.Context())
			if rng.IntN(2) == 0 {
				cancel() // before
			} else {
				go cancel() // meanwhile
			}
			err := put(ctx, a, numbered(i))
			cancel()
			if err == nil {
				break
			}
			require.ErrorIs(t, err, context.Canceled)
			require.NoError(t, put(t.Context(), a, numbered(i)))
		}
	}
	require.NoError(t, a.Close())
	require.ErrorIs(t, put(t.Context(), a, numbered(n)), archive.ErrClosed)
	a = open.with(t)
	require.NoError(t, put(t.Context(), a, numbered(n)))
	require.Equal(t, hashesOf(numberedFrom(0, n+1)), hashes(all(t, a)))
	require.EqualValues(t, n+1, a.Last())
}

// A record has every byte of the envelope, whatever its size, and the time of its
// receipt.
func asItWas(t *testing.T, open opener) {
	a := open.must(t)
	var envs []*whisper.Envelope
	for i, size := range []int{8, 9, 255, 256, 8 << 10, 8<<10 + 1, 100_000, 3 << 20, 10} {
		envs = append(envs, envelope(uint64(i), topicOf(i), uint32(1000*i), size))
	}
	before := time.Now().Truncate(time.Millisecond)
	require.NoError(t, put(t.Context(), a, envs...))
	after := time.Now()
	check := func(records []archive.Record) {
		t.Helper()
		require.Len(t, records, len(envs))
		for i, r := range records {
			e := envs[i]
			require.EqualValues(t, i+1, r.Seq)
			require.Equal(t, e.Raw(), r.Envelope.Raw())
			require.Equal(t, e.Hash(), r.Hash)
			require.Equal(t, e.Topic, r.Topic)
			require.Equal(t, e.Sent(), r.Sent)
			require.False(t, r.Received.Before(before) || r.Received.After(after), "%v is not between %v and %v", r.Received, before, after)
			require.Zero(t, r.Received.Nanosecond()%int(time.Millisecond))
		}
	}
	for range 2 {
		check(all(t, a))
		found, missing, err := a.ByHash(t.Context(), hashesOf(envs))
		require.NoError(t, err)
		require.Empty(t, missing)
		check(found)
		check(collect(t, a, 0, len(envs)))
		require.NoError(t, a.Close())
		a = open.must(t)
	}
	require.NoError(t, a.Close())
}

// collect follows the log from after on until it has n records.
func collect(t *testing.T, a node.Archive, after uint64, n int) (records []archive.Record) {
	t.Helper()
	enough := errors.New("enough")
	err := a.Follow(t.Context(), after, func(more []archive.Record) error {
		records = append(records, more...)
		if len(records) >= n {
			return enough
		}
		return nil
	})
	require.ErrorIs(t, err, enough)
	require.Len(t, records, n)
	return records
}

// Followers that begin anywhere, while others archive, get every record above their
// cursor once and in order.
func follow(t *testing.T, open opener) {
	a := open.with(t)
	const begun, total = 100, 400
	require.NoError(t, put(t.Context(), a, numberedFrom(0, begun)...))
	var wg sync.WaitGroup
	errs := make(chan error, 4)
	for _, after := range []uint64{0, 1, begun - 1, begun} {
		wg.Go(func() {
			next, enough := after+1, errors.New("enough")
			err := a.Follow(context.Background(), after, func(records []archive.Record) error {
				if len(records) == 0 {
					return errors.New("no records at all")
				}
				for _, r := range records {
					if r.Seq != next {
						return fmt.Errorf("after %d: %d, not %d", after, r.Seq, next)
					}
					if want := numbered(int(next - 1)); string(r.Envelope.Data) != string(want.Data) {
						return fmt.Errorf("after %d: another envelope at %d", after, next)
					}
					next++
				}
				if next > total {
					return enough
				}
				return nil
			})
			if !errors.Is(err, enough) {
				errs <- fmt.Errorf("after %d: %w", after, err)
			}
		})
	}
	for n := begun; n < total; n += 10 {
		require.NoError(t, put(t.Context(), a, numberedFrom(n, 10)...))
	}
	wg.Wait()
	close(errs)
	require.NoError(t, <-errs)
	require.Equal(t, hashes(all(t, a))[begun:], hashes(collect(t, a, begun, total-begun)))
	for seq := range uint64(total) { // as a follower asks that was given both
		lost, sure := a.Lost(seq, seq+1)
		require.Zero(t, lost)
		require.True(t, sure)
	}
}

func followEnds(t *testing.T, open opener) {
	a := open.must(t)
	require.NoError(t, put(t.Context(), a, numberedFrom(0, 5)...))
	var ahead *archive.AheadError
	require.ErrorAs(t, a.Follow(t.Context(), 6, func([]archive.Record) error { return nil }), &ahead)
	require.Equal(t, archive.AheadError{After: 6, Newest: 5}, *ahead)

	own := errors.New("a follower's own")
	require.ErrorIs(t, a.Follow(t.Context(), 0, func([]archive.Record) error { return own }), own)

	ctx, cancel := context.WithCancel(t.Context())
	given := 0
	err := a.Follow(ctx, 3, func(records []archive.Record) error {
		if given += len(records); given == 2 {
			cancel()
		}
		return nil
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 2, given)

	// A close ends those that wait.
	waiting, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- a.Follow(context.Background(), 4, func([]archive.Record) error { close(waiting); return nil })
	}()
	<-waiting
	require.NoError(t, a.Close())
	require.ErrorIs(t, <-ended, archive.ErrClosed)
}

// A follower that keeps its cursor gets everything once, however often the
// archive is closed in between.
func followAcrossReopen(t *testing.T, open opener) {
	var cursor uint64
	var given []common.Hash
	n := 0
	for session := range 6 {
		a := open.must(t)
		count := 5 + 7*session
		require.NoError(t, put(t.Context(), a, numberedFrom(n, count)...))
		n += count
		// Not all of it each time.
		take := n - int(cursor) - session%3
		enough := errors.New("enough")
		err := a.Follow(t.Context(), cursor, func(records []archive.Record) error {
			for _, r := range records {
				if take == 0 {
					return enough
				}
				require.Equal(t, cursor+1, r.Seq)
				cursor, given, take = r.Seq, append(given, r.Hash), take-1
			}
			if take == 0 {
				return enough
			}
			return nil
		})
		require.ErrorIs(t, err, enough)
		require.NoError(t, a.Close())
	}
	a := open.with(t)
	for _, r := range collect(t, a, cursor, n-int(cursor)) {
		given = append(given, r.Hash)
	}
	require.Equal(t, hashes(all(t, a)), given)
	require.Len(t, given, n)
}

// queries compares every kind of query with a scan of a plain list.
func queries(t *testing.T, open opener) {
	a := open.must(t)
	rng := rand.New(rand.NewPCG(3, 4))
	times := []uint32{0, 1, 99, 100, 101, 1000, math.MaxUint32 - 51, math.MaxUint32 - 50}
	sizes := []int{8, 100, 3000, 10_000}
	var list []archive.Record
	for len(list) < 600 {
		var envs []*whisper.Envelope
		for range 1 + rng.IntN(60) {
			n := len(list)
			e := envelope(uint64(n), topicOf(rng.IntN(7)), times[rng.IntN(len(times))], sizes[rng.IntN(len(sizes))])
			envs = append(envs, e)
			list = append(list, archive.Record{Seq: uint64(n + 1), Hash: e.Hash(), Topic: e.Topic, Sent: e.Sent(), Envelope: e})
		}
		require.NoError(t, put(t.Context(), a, envs...))
		if rng.IntN(5) == 0 {
			require.NoError(t, a.Close())
			a = open.must(t)
		}
	}
	t.Cleanup(func() { require.NoError(t, a.Close()) })
	last := uint64(len(list))
	topics := rapid.Map(rapid.IntRange(0, 8), topicOf)
	rapid.Check(t, func(t *rapid.T) {
		q := archive.Query{
			Lower: rapid.SampledFrom(times).Draw(t, "lower"), Upper: rapid.SampledFrom(times).Draw(t, "upper"),
			Topics:     rapid.SliceOfN(topics, 0, 3).Draw(t, "topics"),
			Descending: rapid.Bool().Draw(t, "descending"),
			After:      rapid.Uint64Range(0, last+2).Draw(t, "after"),
			Before:     rapid.Uint64Range(0, last+2).Draw(t, "before"),
			MaxRows:    rapid.IntRange(0, 40).Draw(t, "rows"),
			MaxBytes:   rapid.SampledFrom([]int{0, 1, 1000, 20_000}).Draw(t, "bytes"),
			MaxScan:    rapid.SampledFrom([]int{0, 1, 10, 100}).Draw(t, "scan"),
		}
		if rapid.Bool().Draw(t, "with bloom") {
			var b whisper.Bloom
			for _, topic := range rapid.SliceOfN(topics, 0, 3).Draw(t, "bloom") {
				b.Merge(topic.Bloom())
			}
			q.Bloom = &b
		}
		want, got := matching(list, q), []common.Hash{}
		for pages := 0; ; pages++ {
			require.LessOrEqual(t, pages, 2*len(list)+10, "it has no end")
			page, err := a.Query(context.Background(), q)
			require.NoError(t, err)
			checkPage(t, q, page)
			got = append(got, hashes(page.Records)...)
			if page.Next == 0 {
				break
			}
			if q.Descending {
				require.True(t, q.Before == 0 || page.Next < q.Before, "the cursor moves on")
				q.Before = page.Next
			} else {
				require.Greater(t, page.Next, q.After, "the cursor moves on")
				q.After = page.Next
			}
		}
		require.Equal(t, want, got)
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := a.Query(ctx, archive.Query{Upper: math.MaxUint32})
	require.ErrorIs(t, err, context.Canceled)
}

// checkPage checks a page against the bounds of its query.
func checkPage(t *rapid.T, q archive.Query, page archive.Page) {
	if q.MaxRows > 0 {
		require.LessOrEqual(t, len(page.Records), q.MaxRows)
	}
	size := 0
	for _, r := range page.Records {
		size += len(r.Envelope.Raw())
	}
	require.True(t, q.MaxBytes == 0 || len(page.Records) <= 1 || size <= q.MaxBytes, "%d records of %d bytes", len(page.Records), size)
}

// matching returns what a query asks for, without its bounds.
func matching(list []archive.Record, q archive.Query) []common.Hash {
	out := []common.Hash{}
	for _, r := range list {
		if r.Sent >= q.Lower && r.Sent <= q.Upper && r.Seq > q.After && (q.Before == 0 || r.Seq < q.Before) &&
			(len(q.Topics) == 0 || slices.Contains(q.Topics, r.Topic)) && (q.Bloom == nil || q.Bloom.Covers(r.Topic.Bloom())) {
			out = append(out, r.Hash)
		}
	}
	if q.Descending {
		slices.Reverse(out)
	}
	return out
}

// Found and missing are in the order of the request.
func byHash(t *testing.T, open opener) {
	a := open.with(t)
	envs := numberedFrom(0, 100)
	require.NoError(t, put(t.Context(), a, envs...))
	of := hashesOf(envs)
	found, missing, err := a.ByHash(t.Context(), []common.Hash{of[70], {1}, of[3], of[99], {2}, of[0]})
	require.NoError(t, err)
	require.Equal(t, []common.Hash{of[70], of[3], of[99], of[0]}, hashes(found))
	require.Equal(t, []common.Hash{{1}, {2}}, missing)
	for i, seq := range []uint64{71, 4, 100, 1} {
		require.Equal(t, seq, found[i].Seq)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err = a.ByHash(ctx, of)
	require.ErrorIs(t, err, context.Canceled)
	_, ok := a.HashAt(101)
	require.False(t, ok)
	_, ok = a.HashAt(math.MaxUint64)
	require.False(t, ok)
}

// The identity of a log stays the same as long as the log continues, and no other log has it.
func identity(t *testing.T, open, another opener) {
	a := open.must(t)
	id := a.ID()
	require.NotZero(t, id)
	require.NoError(t, put(t.Context(), a, numberedFrom(0, 5)...))
	require.Equal(t, id, a.ID())
	require.NoError(t, a.Close())
	require.Equal(t, id, open.with(t).ID())
	require.NotEqual(t, id, another.with(t).ID())
}

func closed(t *testing.T, open opener) {
	a := open.must(t)
	envs := numberedFrom(0, 3)
	require.NoError(t, put(t.Context(), a, envs...))
	// What was offered before the close is archived by it, or its sender gets an error.
	late := numberedFrom(3, 20)
	told := make(chan error, len(late))
	for _, e := range late {
		a.Archive(t.Context(), []*whisper.Envelope{e}, func(err error) { told <- err })
	}
	require.NoError(t, a.Close())
	require.NoError(t, a.Close(), "again")
	want := len(envs)
	for range late {
		if err := <-told; err == nil {
			want++
		}
	}
	require.ErrorIs(t, put(t.Context(), a, numbered(99)), archive.ErrClosed)
	_, err := a.Query(t.Context(), archive.Query{Upper: math.MaxUint32})
	require.ErrorIs(t, err, archive.ErrClosed)
	_, _, err = a.ByHash(t.Context(), hashesOf(envs))
	require.ErrorIs(t, err, archive.ErrClosed)
	require.ErrorIs(t, a.Follow(t.Context(), 0, func([]archive.Record) error { return nil }), archive.ErrClosed)
	require.Len(t, all(t, open.with(t)), want)
}

// OneAtATime is for archives that only one process at a time may open: the second
// one gets durable.ErrLocked. place is as for Exercise.
func OneAtATime(t *testing.T, place func(t *testing.T) func() (node.Archive, error)) {
	var open opener = place(t)
	a := open.must(t)
	_, err := open()
	require.ErrorIs(t, err, durable.ErrLocked)
	require.NoError(t, put(t.Context(), a, numbered(0)), "the first is unharmed")
	require.NoError(t, a.Close())
	require.EqualValues(t, 1, open.with(t).Last())
}
