package postgres

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"whisperpush/durable"
	"whisperpush/mailserver/archive"
	"whisperpush/whisper"
)

// eachItsPart is the width of parts that makes each transaction begin one.
const eachItsPart = time.Nanosecond

// opensArchive opens one until the test ends.
func opensArchive(t *testing.T, d *DB, o ArchiveOptions) *Archive {
	a, err := d.Archive(background, o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, a.Close()) })
	return a
}

// expired makes an envelope that nobody takes any more.
func expired(n uint64) *whisper.Envelope {
	return envelope(n, topicOf(n%10), 1000, 50, 64)
}

// requireWhole checks that the log is sequences 1 to n without doubles.
func requireWhole(t *testing.T, a *Archive, n int) {
	t.Helper()
	records := all(t, a)
	require.Equal(t, n, len(records))
	seen := map[common.Hash]bool{}
	for i, r := range records {
		require.EqualValues(t, i+1, r.Seq)
		require.False(t, seen[r.Hash], "twice")
		seen[r.Hash] = true
	}
}

// Three nodes that are offered the same envelopes, as all nodes of a network are, archive
// each once; each answers with what the others have acknowledged, and a follower at any
// of them misses nothing.
func TestNodesShareALog(t *testing.T) {
	address := database(t)
	const nodes, total = 3, 600
	var archives []*Archive
	for range nodes {
		archives = append(archives, opensArchive(t, opened(t, address, Options{}), ArchiveOptions{width: 200 * time.Millisecond}))
	}
	var envs []*whisper.Envelope
	for n := range uint64(total) {
		envs = append(envs, numbered(n))
	}
	followed := make([]chan error, nodes)
	for i, a := range archives {
		followed[i] = make(chan error, 1)
		go func() {
			next := uint64(1)
			followed[i] <- a.Follow(t.Context(), 0, func(records []archive.Record) error {
				for _, r := range records {
					if r.Seq != next {
						return fmt.Errorf("sequence %d, not %d", r.Seq, next)
					}
					if next++; next > total {
						return errEnough
					}
				}
				return nil
			})
		}()
	}
	errs := make(chan error, nodes)
	var wg sync.WaitGroup
	for i, a := range archives {
		wg.Go(func() {
			for n := range total / 10 {
				at := 10 * ((n + i*7) % (total / 10)) // in an order of its own
				if err := archived(a, envs[at:at+10]...); err != nil {
					errs <- err
					return
				}
				other := archives[(i+1)%nodes]
				found, missing, err := other.ByHash(t.Context(), []common.Hash{envs[at].Hash()})
				if err != nil || len(missing) > 0 {
					errs <- fmt.Errorf("archived by one and not found by another: %d missing, %w", len(missing), err)
					return
				}
				if last := other.Last(); last < found[0].Seq {
					errs <- fmt.Errorf("the end of the log is %d and an envelope has %d", last, found[0].Seq)
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	require.NoError(t, <-errs)
	for i, a := range archives {
		require.ErrorIs(t, <-followed[i], errEnough)
		requireWhole(t, a, total)
		require.Equal(t, archives[0].ID(), a.ID())
	}
}

var errEnough = fmt.Errorf("enough")

// A follower hears of what another node archives, also when its connection for
// notifications was cut.
func TestFollowOtherNodes(t *testing.T) {
	address := database(t)
	a, b := opensArchive(t, opened(t, address, Options{}), ArchiveOptions{}), opensArchive(t, opened(t, address, Options{}), ArchiveOptions{})
	given := make(chan uint64)
	go b.Follow(t.Context(), 0, func(records []archive.Record) error {
		for _, r := range records {
			given <- r.Seq
		}
		return nil
	})
	for n := range uint64(4) {
		if n == 2 {
			execAs(t, server.Superuser(names(t, address)), "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'")
		}
		require.NoError(t, archived(a, numbered(n)))
		require.Equal(t, n+1, <-given)
	}
}

// A node that is told by another one follows without waiting for the database, and what both
// have archived in turns it follows whole: its own from memory, the other's from the database.
func TestHearOfOtherNodes(t *testing.T) {
	address := database(t)
	ours := opensArchive(t, opened(t, address, Options{}), ArchiveOptions{Retention: -1})
	other := opensArchive(t, opened(t, address, Options{}), ArchiveOptions{Retention: -1})
	other.Tell(ours.Hear)
	const total = 400
	var want []common.Hash
	for n := range uint64(total) {
		e, by := numbered(n), ours
		if n%5 < 2 {
			by = other
		}
		require.NoError(t, archived(by, e))
		require.Equal(t, n+1, ours.known().last)
		want = append(want, e.Hash())
	}
	var got []common.Hash
	err := ours.Follow(t.Context(), 0, func(records []archive.Record) error {
		for _, r := range records {
			require.Equal(t, uint64(len(got)+1), r.Seq)
			got = append(got, r.Hash)
			at, ok := other.HashAt(r.Seq)
			require.True(t, ok)
			require.Equal(t, at, r.Hash)
		}
		if len(got) == total {
			return errEnough
		}
		return nil
	})
	require.ErrorIs(t, err, errEnough)
	require.Equal(t, want, got)
}

// While the server is killed and comes back nothing that was acknowledged is lost and
// nothing is archived twice, though it is unknown what became of some attempts.
func TestServerIsKilledWhileArchiving(t *testing.T) {
	address := database(t)
	const writers, each = 6, 60
	var archives []*Archive
	for range 2 {
		archives = append(archives, opensArchive(t, opened(t, address, Options{Patience: time.Minute}), ArchiveOptions{}))
	}
	var envs []*whisper.Envelope
	for n := range uint64(writers / 2 * each) {
		envs = append(envs, numbered(n))
	}
	errs := make(chan error, writers)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for n := range each {
				// Each envelope comes from two writers, at two nodes.
				if err := archived(archives[w%2], envs[w/2*each+n]); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	for range 2 {
		require.NoError(t, server.Kill())
		require.NoError(t, server.Start(background))
	}
	wg.Wait()
	close(errs)
	require.NoError(t, <-errs)
	requireWhole(t, archives[0], writers/2*each)
}

// A database that stays away is told of: nothing is acknowledged, reads fail, and both
// work when it is back.
func TestArchiveWhileAway(t *testing.T) {
	a := opensArchive(t, opened(t, database(t), Options{Patience: time.Second}), ArchiveOptions{})
	require.NoError(t, archived(a, numbered(1)))
	require.NoError(t, a.Probe())
	require.NoError(t, server.Halt())
	err := archived(a, numbered(2))
	require.ErrorIs(t, err, durable.ErrWrite)
	require.ErrorIs(t, err, ErrAway)
	require.ErrorIs(t, a.Probe(), ErrAway)
	_, err = a.Query(t.Context(), archive.Query{Upper: math.MaxUint32})
	require.ErrorIs(t, err, ErrAway)
	_, _, err = a.ByHash(t.Context(), []common.Hash{{1}})
	require.ErrorIs(t, err, ErrAway)
	require.EqualValues(t, 1, a.Last(), "what was known")
	require.NoError(t, server.Start(background))
	require.Eventually(t, func() bool { return a.Probe() == nil }, 20*time.Second, time.Millisecond)
	require.NoError(t, archived(a, numbered(2)), "it may be offered again")
	requireWhole(t, a, 2)
}

// A server that refuses writes from one moment on, as a primary that was demoted does.
func TestArchiveReadOnly(t *testing.T) {
	address := database(t)
	a := opensArchive(t, opened(t, address, Options{Patience: time.Second}), ArchiveOptions{})
	require.NoError(t, archived(a, numbered(1)))
	execAs(t, server.Superuser(names(t, address)), "ALTER DATABASE "+names(t, address)+" SET default_transaction_read_only = on",
		"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
	err := archived(a, numbered(2))
	require.ErrorIs(t, err, ErrReadOnly)
	require.ErrorIs(t, a.Probe(), ErrReadOnly)
	requireWhole(t, a, 1)
}

func TestRetention(t *testing.T) {
	address := database(t)
	a := opensArchive(t, opened(t, address, Options{}), ArchiveOptions{Retention: -1, width: eachItsPart})
	for n := range uint64(3) {
		require.NoError(t, archived(a, expired(n)))
	}
	alive := numbered(3)
	require.NoError(t, archived(a, alive))
	require.NoError(t, archived(a, expired(4)))
	require.NoError(t, a.retain(background))
	requireWhole(t, a, 5)

	// Another node has a retention, which everything is past; what is alive stays.
	b := opensArchive(t, opened(t, address, Options{}), ArchiveOptions{Retention: time.Nanosecond, width: eachItsPart})
	require.NoError(t, b.retain(background))
	requireWhole(t, a, 5) // its clock is not believed for a while
	b.opened = b.opened.Add(-2 * wipeDelay)
	require.NoError(t, b.retain(background))
	for _, a := range []*Archive{a, b} {
		require.EqualValues(t, 4, a.First())
		require.EqualValues(t, 5, a.Last())
		require.Len(t, all(t, a), 2)
		found, missing, err := a.ByHash(t.Context(), []common.Hash{expired(0).Hash(), alive.Hash()})
		require.NoError(t, err)
		require.Len(t, found, 1)
		require.Equal(t, []common.Hash{expired(0).Hash()}, missing)
		var gap *archive.GapError
		require.ErrorAs(t, a.Follow(t.Context(), 1, nil), &gap)
		require.Equal(t, archive.GapError{After: 1, Oldest: 4}, *gap)
		_, ok := a.HashAt(1)
		require.False(t, ok)
	}
	n, sure := a.Lost(0, 4)
	require.EqualValues(t, 3, n)
	require.True(t, sure)
	require.NoError(t, archived(a, alive), "archived already, in a part that is not the newest")
	require.EqualValues(t, 5, a.Last())
}

// Parts may be dropped while they are read.
func TestRetentionUnderReaders(t *testing.T) {
	address := database(t)
	a := opensArchive(t, opened(t, address, Options{}), ArchiveOptions{Retention: -1, width: eachItsPart})
	b := opensArchive(t, opened(t, address, Options{}), ArchiveOptions{Retention: time.Nanosecond, width: eachItsPart})
	b.opened = b.opened.Add(-2 * wipeDelay)
	ctx, stop := context.WithCancel(t.Context())
	errs := make(chan error, 1)
	var reading sync.WaitGroup
	reading.Go(func() {
		for n := uint64(0); ctx.Err() == nil; n++ {
			_, err := a.Query(background, archive.Query{Upper: math.MaxUint32, Descending: n%2 == 0})
			if err == nil {
				_, _, err = a.ByHash(background, []common.Hash{expired(n).Hash()})
			}
			if err != nil {
				errs <- err
				return
			}
		}
	})
	for n := range uint64(30) {
		require.NoError(t, archived(a, expired(n)))
		require.NoError(t, b.retain(background))
	}
	stop()
	reading.Wait()
	close(errs)
	require.NoError(t, <-errs)
	require.Greater(t, a.First(), uint64(25))
}

func TestSizeLimit(t *testing.T) {
	const limit = 64 << 10
	a := opensArchive(t, opened(t, database(t), Options{}), ArchiveOptions{MaxBytes: limit})
	large := func(n uint64, sent uint32) *whisper.Envelope {
		return envelope(n, topicOf(n), sent, 600, 3000)
	}
	n := uint64(0)
	for ; n < 100; n++ { // old ones give way
		require.NoError(t, archived(a, large(n, 1000)))
		require.NoError(t, a.retain(background))
	}
	require.Greater(t, a.First(), uint64(50))
	now := uint32(time.Now().Unix())
	var err error
	for ; n < 200 && err == nil; n++ { // those that are alive do not
		err = archived(a, large(n, now))
		require.NoError(t, a.retain(background))
	}
	require.ErrorIs(t, err, archive.ErrFull)
	last := a.Last()
	require.ErrorIs(t, archived(a, large(n, now)), archive.ErrFull)
	require.Equal(t, last, a.Last())
}

// A row that is not as it was written is told of and not handed over.
func TestDamagedRow(t *testing.T) {
	address := database(t)
	a := opensArchive(t, opened(t, address, Options{}), ArchiveOptions{})
	e := numbered(1)
	require.NoError(t, archived(a, e))
	execAs(t, address, "UPDATE whisperpush.log_1 SET raw = set_byte(raw, 30, get_byte(raw, 30) # 1)")
	_, err := a.Query(t.Context(), archive.Query{Upper: math.MaxUint32})
	require.ErrorIs(t, err, durable.ErrCorrupted)
	_, _, err = a.ByHash(t.Context(), []common.Hash{e.Hash()})
	require.ErrorIs(t, err, durable.ErrCorrupted)
	a.recent.forget() // what this node archived itself, a follower is given from memory
	require.ErrorIs(t, a.Follow(t.Context(), 0, nil), durable.ErrCorrupted)
}

// A log that was set back, by a restored backup or a standby that had not everything,
// leaves a follower no way to go on as if nothing had happened.
func TestLogIsSetBack(t *testing.T) {
	address := database(t)
	a := opensArchive(t, opened(t, address, Options{}), ArchiveOptions{})
	for n := range uint64(3) {
		require.NoError(t, archived(a, numbered(n)))
	}
	ended := make(chan error, 1)
	go func() { ended <- a.Follow(t.Context(), 3, func([]archive.Record) error { return nil }) }()
	execAs(t, address, "BEGIN; DELETE FROM whisperpush.log_1 WHERE seq > 1; UPDATE whisperpush.parts SET last = 1; UPDATE whisperpush.head SET seq = 1; COMMIT")
	require.EqualValues(t, 1, a.Last())
	var ahead *archive.AheadError
	require.ErrorAs(t, <-ended, &ahead)
	require.Equal(t, archive.AheadError{After: 3, Newest: 1}, *ahead)
}

// The metrics have the names of an archive's in a directory.
func TestMetrics(t *testing.T) {
	namesOf := func(open func(r prometheus.Registerer) (anArchive, error)) (names []string) {
		r := prometheus.NewPedanticRegistry()
		a, err := open(r)
		require.NoError(t, err)
		require.NoError(t, archived(a, numbered(1)))
		all(t, a)
		families, err := r.Gather()
		require.NoError(t, err)
		for _, f := range families {
			names = append(names, f.GetName())
		}
		require.NoError(t, a.Close())
		return names
	}
	d := opened(t, database(t), Options{})
	ours := namesOf(func(r prometheus.Registerer) (anArchive, error) {
		return d.Archive(background, ArchiveOptions{Registerer: r})
	})
	theirs := namesOf(func(r prometheus.Registerer) (anArchive, error) {
		return archive.Open(t.TempDir(), archive.Options{Registerer: r})
	})
	require.NotEmpty(t, ours)
	for _, name := range ours {
		require.True(t, slices.Contains(theirs, name), name)
	}
}
