package postgres

import (
	"context"
	"encoding/binary"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/stretchr/testify/require"

	"whisperpush/mailserver/archive"
	"whisperpush/whisper"
)

// anArchive is what the node, the mail server and the push server ask of an archive.
type anArchive interface {
	Archive(ctx context.Context, envs []*whisper.Envelope, done func(error))
	Query(ctx context.Context, q archive.Query) (archive.Page, error)
	ByHash(ctx context.Context, hashes []common.Hash) (found []archive.Record, missing []common.Hash, err error)
	HashAt(seq uint64) (common.Hash, bool)
	Follow(ctx context.Context, after uint64, fn func([]archive.Record) error) error
	First() uint64
	Last() uint64
	Lost(after, before uint64) (n uint64, sure bool)
	ID() [archive.IDSize]byte
	Close() error
}

// exercise is what every archive must do. place is called once a test: it returns a function that opens
// an archive of that test's own, which is empty at first, keeps everything for ever and
// is opened again after it was closed.
func exercise(t *testing.T, place func(t *testing.T) func() (anArchive, error)) {
	for name, test := range map[string]func(t *testing.T, open opener){
		"Empty":                 empty,
		"NumbersWithoutGaps":    numbersWithoutGaps,
		"ArchivedIsReadable":    archivedIsReadable,
		"EachEnvelopeOnce":      eachEnvelopeOnce,
		"GroupsAreInOrder":      groupsAreInOrder,
		"LargeEnvelope":         largeEnvelope,
		"ContextEnds":           contextEnds,
		"IdentityStays":         identityStays,
		"FollowConcurrently":    followConcurrently,
		"FollowAcrossReopen":    followAcrossReopen,
		"FollowEnds":            followEnds,
		"QueryPages":            queryPages,
		"QueryAgainstAList":     queryAgainstAList,
		"LateIsFoundBySequence": lateIsFoundBySequence,
		"Closed":                closed,
	} {
		t.Run(name, func(t *testing.T) { test(t, place(t)) })
	}
}

// opener opens the archive of a test.
type opener func() (anArchive, error)

func (open opener) must(t require.TestingT) anArchive {
	a, err := open()
	require.NoError(t, err)
	return a
}

// with opens the archive, to be closed when the test ends.
func (open opener) with(t *testing.T) anArchive {
	a := open.must(t)
	t.Cleanup(func() { require.NoError(t, a.Close()) })
	return a
}

// envelope makes one whose size bytes of data, at least 8, are n's own.
func envelope(n uint64, topic whisper.Topic, sent, ttl uint32, size int) *whisper.Envelope {
	data := make([]byte, size)
	binary.BigEndian.PutUint64(data[size-8:], n)
	raw, err := rlp.EncodeToBytes([]any{sent + ttl, ttl, topic[:], data, n})
	if err != nil {
		panic(err)
	}
	e, err := whisper.DecodeEnvelope(raw)
	if err != nil {
		panic(err)
	}
	return e
}

// numbered makes an envelope that is alive, with one of ten topics.
func numbered(n uint64) *whisper.Envelope {
	return envelope(n, topicOf(n%10), uint32(time.Now().Unix()), 600, 64)
}

// topicOf makes a topic of a number.
func topicOf(n uint64) (t whisper.Topic) {
	binary.BigEndian.PutUint32(t[:], uint32(n))
	return t
}

// archived archives envs and waits for the answer.
func archived(a anArchive, envs ...*whisper.Envelope) error {
	done := make(chan error, 1)
	a.Archive(context.Background(), envs, func(err error) { done <- err })
	return <-done
}

// all reads the whole log, page by page.
func all(t require.TestingT, a anArchive) (records []archive.Record) {
	q := archive.Query{Upper: math.MaxUint32}
	for {
		page, err := a.Query(context.Background(), q)
		require.NoError(t, err)
		records = append(records, page.Records...)
		if page.Next == 0 {
			return records
		}
		q.After = page.Next
	}
}

func empty(t *testing.T, open opener) {
	a := open.with(t)
	require.Zero(t, a.Last())
	require.Equal(t, uint64(1), a.First())
	require.Empty(t, all(t, a))
	found, missing, err := a.ByHash(t.Context(), []common.Hash{{1}, {2}})
	require.NoError(t, err)
	require.Empty(t, found)
	require.Equal(t, []common.Hash{{1}, {2}}, missing)
	_, ok := a.HashAt(1)
	require.False(t, ok)
	require.NoError(t, archived(a), "nothing can be archived")
	require.Zero(t, a.Last())
}

// Several who archive at the same time get sequences without gaps and without doubles.
func numbersWithoutGaps(t *testing.T, open opener) {
	a := open.with(t)
	const writers, each = 8, 40
	errs := make(chan error, writers)
	var wg sync.WaitGroup
	for w := range uint64(writers) {
		wg.Go(func() {
			for i := range uint64(each / 4) {
				n := w*each + 4*i
				if err := archived(a, numbered(n), numbered(n+1), numbered(n+2), numbered(n+3)); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	require.NoError(t, <-errs)
	require.EqualValues(t, writers*each, a.Last())
	seen := map[common.Hash]bool{}
	for i, r := range all(t, a) {
		require.EqualValues(t, i+1, r.Seq)
		require.False(t, seen[r.Hash])
		seen[r.Hash] = true
	}
	require.Equal(t, writers*each, len(seen))
}

func archivedIsReadable(t *testing.T, open opener) {
	a := open.with(t)
	before := time.Now().Add(-time.Second)
	for n := range uint64(50) {
		e := numbered(n)
		require.NoError(t, archived(a, e))
		require.Equal(t, n+1, a.Last())
		found, missing, err := a.ByHash(t.Context(), []common.Hash{{9}, e.Hash()})
		require.NoError(t, err)
		require.Equal(t, []common.Hash{{9}}, missing)
		require.Len(t, found, 1)
		r := found[0]
		require.Equal(t, n+1, r.Seq)
		require.Equal(t, e.Hash(), r.Hash)
		require.Equal(t, e.Topic, r.Topic)
		require.Equal(t, e.Sent(), r.Sent)
		require.Equal(t, e.Raw(), r.Envelope.Raw())
		require.WithinRange(t, r.Received, before, time.Now().Add(time.Second))
		hash, ok := a.HashAt(n + 1)
		require.True(t, ok)
		require.Equal(t, e.Hash(), hash)
		page, err := a.Query(t.Context(), archive.Query{Upper: math.MaxUint32, After: n})
		require.NoError(t, err)
		require.Len(t, page.Records, 1)
		require.Equal(t, e.Hash(), page.Records[0].Hash)
		require.Equal(t, whisper.Topic(topicOf(n%10)), page.Records[0].Topic)
	}
	_, ok := a.HashAt(0)
	require.False(t, ok)
	_, ok = a.HashAt(51)
	require.False(t, ok)
}

func eachEnvelopeOnce(t *testing.T, open opener) {
	a := open.must(t)
	one, two, three := numbered(1), numbered(2), numbered(3)
	require.NoError(t, archived(a, one, two, one))
	require.NoError(t, archived(a, two, three))
	require.NoError(t, archived(a, one))
	require.EqualValues(t, 3, a.Last())
	require.NoError(t, a.Close())
	a = open.with(t)
	require.NoError(t, archived(a, three, one, two, numbered(4)))
	records := all(t, a)
	require.Len(t, records, 4)
	for i, want := range []*whisper.Envelope{one, two, three} {
		require.Equal(t, want.Hash(), records[i].Hash)
	}
}

// What one call archives keeps its order, as does what one caller archives.
func groupsAreInOrder(t *testing.T, open opener) {
	a := open.with(t)
	var envs []*whisper.Envelope
	for n := range uint64(300) {
		envs = append(envs, numbered(n))
	}
	done := make(chan error, len(envs))
	for i := 0; i < len(envs); i += 3 {
		a.Archive(t.Context(), envs[i:i+3], func(err error) { done <- err })
	}
	for range len(envs) / 3 {
		require.NoError(t, <-done)
	}
	for i, r := range all(t, a) {
		require.Equal(t, envs[i].Hash(), r.Hash)
	}
}

func largeEnvelope(t *testing.T, open opener) {
	a := open.with(t)
	e := envelope(1, topicOf(1), uint32(time.Now().Unix()), 50, 10<<20)
	require.NoError(t, archived(a, e, numbered(2)))
	page, err := a.Query(t.Context(), archive.Query{Upper: math.MaxUint32, MaxBytes: 1})
	require.NoError(t, err)
	require.Len(t, page.Records, 1, "one record at least, however large")
	require.Equal(t, e.Raw(), page.Records[0].Envelope.Raw())
	require.EqualValues(t, 1, page.Next)
}

func contextEnds(t *testing.T, open opener) {
	a := open.with(t)
	require.NoError(t, archived(a, numbered(1)))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := a.Query(ctx, archive.Query{Upper: math.MaxUint32})
	require.ErrorIs(t, err, context.Canceled)
	_, _, err = a.ByHash(ctx, []common.Hash{{1}})
	require.ErrorIs(t, err, context.Canceled)
}

func identityStays(t *testing.T, open opener) {
	a := open.must(t)
	id := a.ID()
	require.NotZero(t, id)
	require.NoError(t, archived(a, numbered(1)))
	require.NoError(t, a.Close())
	a = open.with(t)
	require.Equal(t, id, a.ID())
	require.EqualValues(t, 1, a.Last())
}

func closed(t *testing.T, open opener) {
	a := open.must(t)
	require.NoError(t, archived(a, numbered(1)))
	following := follow(a, 1)
	require.NoError(t, a.Close())
	require.NoError(t, a.Close(), "again")
	require.ErrorIs(t, <-following.ended, archive.ErrClosed)
	require.ErrorIs(t, archived(a, numbered(2)), archive.ErrClosed)
	_, err := a.Query(t.Context(), archive.Query{Upper: math.MaxUint32})
	require.ErrorIs(t, err, archive.ErrClosed)
	_, _, err = a.ByHash(t.Context(), []common.Hash{{1}})
	require.ErrorIs(t, err, archive.ErrClosed)
	require.ErrorIs(t, a.Follow(t.Context(), 0, nil), archive.ErrClosed)
	require.Len(t, all(t, open.with(t)), 1)
}
