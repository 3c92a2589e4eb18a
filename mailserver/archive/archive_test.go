package archive

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"whisperpush/durable"
	"whisperpush/durable/faultstore"
	"whisperpush/whisper"
)

// noLeaks checks at the test's end that no goroutine of it is left. goleveldb's
// buffer pool drains for a second after Close.
func noLeaks(t testing.TB) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		goleak.VerifyNone(t, before, goleak.IgnoreTopFunction("github.com/syndtr/goleveldb/leveldb.(*DB).mpoolDrain"))
	})
}

// testEnvelope makes an envelope of size data bytes that are unique for n.
func testEnvelope(n uint64, topic whisper.Topic, sent, ttl uint32, size int) *whisper.Envelope {
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

func numbered(n uint64) *whisper.Envelope {
	return testEnvelope(n, topicOf(n%10), uint32(time.Now().Unix()), 50, 64)
}

func topicOf(n uint64) (t whisper.Topic) {
	binary.BigEndian.PutUint32(t[:], uint32(n))
	return t
}

func openArchive(t testing.TB, dir string, o Options) *Archive {
	t.Helper()
	a, err := Open(dir, o)
	require.NoError(t, err)
	t.Cleanup(func() { a.Close() })
	return a
}

// store archives envs and waits.
func store(a *Archive, envs ...*whisper.Envelope) error {
	done := make(chan error, 1)
	a.Archive(context.Background(), envs, func(err error) { done <- err })
	return <-done
}

// readAll reads the whole log through Query.
func readAll(t testing.TB, a *Archive) (records []Record) {
	t.Helper()
	q := Query{Upper: math.MaxUint32}
	for {
		page, err := a.Query(t.Context(), q)
		require.NoError(t, err)
		records = append(records, page.Records...)
		if page.Next == 0 {
			return records
		}
		q.After = page.Next
	}
}

func hashes(records []Record) (hs []common.Hash) {
	for _, r := range records {
		hs = append(hs, r.Hash)
	}
	return hs
}

// memVolume is a volume on a disk with faults.
type memVolume struct{ disk *faultstore.Disk }

func (v memVolume) list() ([]string, error) { return v.disk.Dirs(), nil }
func (v memVolume) open(name string) (string, durable.Storage, error) {
	return name, v.disk.Store(name), nil
}
func (v memVolume) rename(from, to string) error { return v.disk.RenameDir(from, to) }
func (v memVolume) remove(name string) error     { return v.disk.RemoveDir(name) }
func (v memVolume) sync() error                  { return v.disk.SyncRoot() }
func (v memVolume) close() error                 { return nil }

// The state is a file in a directory of its own.
var (
	stateFile = faultstore.File{Type: faultstore.Manifest, Num: 1}
	stateNext = faultstore.File{Type: faultstore.Temp, Num: 1}
)

func (v memVolume) state() *faultstore.Store { return v.disk.Store("state") }

func (v memVolume) readState() ([]byte, error) {
	s := v.state()
	if !slices.Contains(s.Files(), stateFile) {
		return nil, nil
	}
	r, err := s.Open(stateFile)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

func (v memVolume) writeState(b []byte) error {
	s := v.state()
	w, err := s.Create(stateNext)
	if err == nil {
		_, err = w.Write(b)
	}
	if err == nil {
		err = w.Sync()
	}
	if err == nil {
		err = s.Rename(stateNext, stateFile)
	}
	if err == nil {
		err = s.SyncDir()
	}
	return errors.Join(err, v.sync())
}

func TestArchiveSurvivesRestart(t *testing.T) {
	noLeaks(t)
	dir := t.TempDir()
	a := openArchive(t, dir, Options{})
	require.Equal(t, uint64(1), a.First())
	require.Zero(t, a.Last())
	var want []common.Hash
	for i := range uint64(1000) {
		e := numbered(i)
		want = append(want, e.Hash())
		require.NoError(t, store(a, e))
		require.Equal(t, i+1, a.Last())
	}
	require.NoError(t, a.Close())
	require.NoError(t, a.Close())
	require.ErrorIs(t, store(a, numbered(5000)), ErrClosed)
	_, err := a.Query(t.Context(), Query{Upper: math.MaxUint32})
	require.ErrorIs(t, err, ErrClosed)

	for range 3 {
		a = openArchive(t, dir, Options{})
		require.Empty(t, a.Damage())
		require.Equal(t, uint64(1), a.First())
		require.Equal(t, uint64(1000), a.Last())
		records := readAll(t, a)
		require.Equal(t, want, hashes(records))
		for i, r := range records {
			require.Equal(t, uint64(i+1), r.Seq)
			require.Equal(t, r.Envelope.Hash(), r.Hash)
			require.Equal(t, r.Envelope.Topic, r.Topic)
			require.Equal(t, r.Envelope.Sent(), r.Sent)
			require.WithinDuration(t, time.Now(), r.Received, time.Minute)
		}
		found, missing, err := a.ByHash(t.Context(), []common.Hash{want[7], {1, 2, 3}, want[999], want[0]})
		require.NoError(t, err)
		require.Equal(t, []common.Hash{want[7], want[999], want[0]}, hashes(found))
		require.Equal(t, []common.Hash{{1, 2, 3}}, missing)
		require.NoError(t, a.Close())
	}
}

func TestArchiveStoresAnEnvelopeOnce(t *testing.T) {
	dir := t.TempDir()
	a := openArchive(t, dir, Options{})
	e := numbered(1)
	require.NoError(t, store(a, e, e, numbered(2)))
	require.NoError(t, store(a, e))
	require.Equal(t, uint64(2), a.Last())
	require.NoError(t, a.Close())
	a = openArchive(t, dir, Options{})
	require.NoError(t, store(a, e), "sent again by a peer after a restart")
	require.Equal(t, uint64(2), a.Last())
	require.NoError(t, store(a, numbered(3)))
	require.Equal(t, uint64(3), a.Last())
}

// TestArchiveRestartsOften stops after every few envelopes: the short runs that
// this leaves do not become many, each start reads again what few of them hold at
// most, and no envelope is stored twice.
func TestArchiveRestartsOften(t *testing.T) {
	noLeaks(t)
	const each = 100
	dir := t.TempDir()
	o := Options{runRecords: 2 * (shortRuns + 1) * each}
	var want []common.Hash
	var envs []*whisper.Envelope
	merged := 0
	for round := range uint64(20) {
		a := openArchive(t, dir, o)
		require.Zero(t, a.run.count())
		for i := range uint64(each) {
			e := numbered(round*each + i)
			want, envs = append(want, e.Hash()), append(envs, e)
		}
		require.NoError(t, store(a, envs[len(envs)-each:]...))
		for _, n := range []uint64{0, round * each, round*each + each - 1} {
			require.NoError(t, store(a, envs[n]), "again")
		}
		require.Equal(t, want, hashes(readAll(t, a)))
		require.LessOrEqual(t, len(a.parts[0].runs), 2*len(want)/o.runRecords+shortRuns)
		require.NoError(t, a.Close())
		a = openArchive(t, dir, o) // and stops at once
		if a.run.count() > 0 {
			require.Equal(t, (shortRuns+1)*each, a.run.count())
			merged++
		}
		require.NoError(t, a.Close())
	}
	require.Equal(t, 4, merged)
}

func TestSecondArchiveIsRefused(t *testing.T) {
	dir := t.TempDir()
	a := openArchive(t, dir, Options{})
	_, err := Open(dir, Options{})
	require.ErrorIs(t, err, durable.ErrLocked)
	require.ErrorContains(t, err, dir)
	require.NoError(t, store(a, numbered(1)), "the first is unharmed")
}

func TestLargeEnvelope(t *testing.T) {
	a := openArchive(t, t.TempDir(), Options{QueueBytes: 1 << 20})
	large := testEnvelope(1, topicOf(1), 100, 50, 3<<20)
	require.NoError(t, store(a, numbered(7), large, numbered(8)))
	found, _, err := a.ByHash(t.Context(), []common.Hash{large.Hash()})
	require.NoError(t, err)
	require.Equal(t, large.Raw(), found[0].Envelope.Raw())
	page, err := a.Query(t.Context(), Query{Upper: math.MaxUint32, MaxBytes: 1000, After: 1})
	require.NoError(t, err)
	require.Len(t, page.Records, 1, "a page holds one record, however large")
	require.Equal(t, uint64(2), page.Next)
}

func TestArchiveConcurrently(t *testing.T) {
	noLeaks(t)
	a := openArchive(t, t.TempDir(), Options{QueueBytes: 64 << 10})
	const writers, each = 8, 500
	var wg sync.WaitGroup
	for w := range uint64(writers) {
		wg.Go(func() {
			var pending sync.WaitGroup
			for i := range uint64(each) {
				pending.Add(1)
				e := numbered(w*each + i)
				a.Archive(t.Context(), []*whisper.Envelope{e}, func(err error) {
					defer pending.Done()
					require.NoError(t, err)
					found, _, err := a.ByHash(context.Background(), []common.Hash{e.Hash()})
					require.NoError(t, err)
					require.Len(t, found, 1, "acknowledged and not to be found")
				})
			}
			pending.Wait()
		})
	}
	wg.Wait()
	require.Equal(t, uint64(writers*each), a.Last())
	seen := map[common.Hash]bool{}
	for i, r := range readAll(t, a) {
		require.Equal(t, uint64(i+1), r.Seq)
		require.False(t, seen[r.Hash])
		seen[r.Hash] = true
	}
	require.Len(t, seen, writers*each)
	require.NoError(t, a.Close())
}
