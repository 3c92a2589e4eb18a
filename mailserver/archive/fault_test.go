package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

	"whisperpush/durable"
	"whisperpush/durable/faultstore"
	"whisperpush/mailserver/archive/engine"
	"whisperpush/whisper"
)

func openDisk(disk *faultstore.Disk) (*Archive, error) {
	return Open("mem", Options{volume: memVolume{disk}, runRecords: 64, Retention: -1})
}

// TestArchivePowerCutAtEverySyncPoint cuts the power before each sync of a run and
// checks that everything acknowledged until then is there, numbered without a hole,
// and found by hash, topic and range.
func TestArchivePowerCutAtEverySyncPoint(t *testing.T) {
	noLeaks(t)
	const ops = 120
	type cut struct {
		disk  *faultstore.Disk
		acked int
	}
	disk := faultstore.NewDisk()
	rng := rand.New(rand.NewPCG(2, 2))
	var mu sync.Mutex
	var cuts []cut
	acked := 0
	disk.OnSync(func(int) {
		mu.Lock()
		defer mu.Unlock()
		cuts = append(cuts, cut{disk.Crash(nil), acked}, cut{disk.Crash(rng), acked})
	})
	a, err := openDisk(disk)
	require.NoError(t, err)
	var envs []*whisper.Envelope
	for i := range uint64(ops) {
		e := testEnvelope(i, topicOf(i%7), uint32(i), 50, 100)
		envs = append(envs, e)
		require.NoError(t, store(a, e))
		mu.Lock()
		acked++
		mu.Unlock()
		if i == ops/2 { // a restart in between
			require.NoError(t, a.Close())
			a, err = openDisk(disk)
			require.NoError(t, err)
		}
	}
	require.NoError(t, a.Close())
	disk.OnSync(nil)
	cuts = append(cuts, cut{disk.Crash(nil), ops})
	for i, c := range cuts {
		a, err := openDisk(c.disk)
		require.NoError(t, err, "cut %d after %d", i, c.acked)
		require.Empty(t, a.Damage(), "cut %d", i)
		n := int(a.Last())
		require.GreaterOrEqual(t, n, c.acked, "cut %d", i)
		require.LessOrEqual(t, n, c.acked+1, "cut %d", i)
		for j, r := range readAll(t, a) {
			require.Equal(t, uint64(j+1), r.Seq)
			require.Equal(t, envs[j].Hash(), r.Hash)
		}
		if n > 0 {
			found, missing, err := a.ByHash(t.Context(), []common.Hash{envs[0].Hash(), envs[n/2].Hash(), envs[n-1].Hash()})
			require.NoError(t, err)
			require.Empty(t, missing, "cut %d", i)
			require.Len(t, found, 3)
			page, err := a.Query(t.Context(), Query{Upper: math.MaxUint32, Topics: []whisper.Topic{topicOf(0)}})
			require.NoError(t, err)
			require.Len(t, page.Records, (n+6)/7, "cut %d", i)
		}
		require.NoError(t, store(a, numbered(1<<40)))
		require.Equal(t, uint64(n+1), a.Last(), "the sequence goes on")
		require.NoError(t, a.Close())
	}
}

// TestArchiveBitFlipIsNeverSilent flips one bit of an archive and demands that what
// is read is right, or that damage is reported.
func TestArchiveBitFlipIsNeverSilent(t *testing.T) {
	noLeaks(t)
	const n, seeds = 300, 100
	disk := faultstore.NewDisk()
	a, err := openDisk(disk)
	require.NoError(t, err)
	var want []common.Hash
	for i := range uint64(n) {
		e := testEnvelope(i, topicOf(i%7), uint32(i), 50, 300)
		want = append(want, e.Hash())
		require.NoError(t, store(a, e))
	}
	image := disk.Crash(nil)
	require.NoError(t, a.Close())
	closed := disk.Crash(nil)
	reported := 0
	for seed := range uint64(seeds) {
		rng := rand.New(rand.NewPCG(seed, 1))
		after := image.Crash(nil)
		if seed%2 == 1 {
			after = closed.Crash(nil)
		}
		s := after.Store(partitionName(1))
		files := s.Files()
		fd := files[rng.IntN(len(files))]
		size := len(s.Bytes(fd))
		if size == 0 {
			continue
		}
		bit := rng.IntN(size * 8)
		s.Flip(fd, bit)
		where := fmt.Sprintf("seed %d: bit %d of %v", seed, bit, fd)
		var log bytes.Buffer
		a, err := Open("mem", Options{
			volume: memVolume{after}, runRecords: 64, Retention: -1, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		})
		require.NoError(t, err, where)
		if d := a.Damage(); len(d) > 0 {
			require.Equal(t, uint64(1), d[0].From)
			require.ErrorIs(t, d[0].Err, durable.ErrCorrupted)
			require.Contains(t, after.Dirs(), d[0].SetAside)
			require.Contains(t, log.String(), "DAMAGED")
			require.GreaterOrEqual(t, a.Last(), uint64(n), "%s: sequences must not be used again", where)
			require.NoError(t, store(a, numbered(1<<40)))
			require.Greater(t, a.Last(), uint64(n))
			reported++
		} else {
			require.Equal(t, uint64(n), a.Last(), where)
			for _, q := range []Query{{Upper: math.MaxUint32}, {Upper: math.MaxUint32, Topics: []whisper.Topic{topicOf(3)}}} {
				page, err := a.Query(t.Context(), q)
				if err != nil {
					require.ErrorIs(t, err, durable.ErrCorrupted, where)
					reported++
					break
				}
				for _, r := range page.Records {
					require.Equal(t, want[r.Seq-1], r.Hash, where)
				}
				if len(q.Topics) == 0 {
					require.Equal(t, want, hashes(page.Records), where)
				} else {
					require.Len(t, page.Records, n/7+1, where)
				}
			}
		}
		require.NoError(t, a.Close(), where)
	}
	require.Greater(t, reported, seeds/4)
}

func TestArchiveOnAFullDisk(t *testing.T) {
	noLeaks(t)
	disk := faultstore.NewDisk()
	a, err := openDisk(disk)
	require.NoError(t, err)
	var want []common.Hash
	n := uint64(0)
	size := 64
	put := func() error {
		e := testEnvelope(n, topicOf(n%10), uint32(n), 50, size)
		err := store(a, e)
		if err == nil {
			want = append(want, e.Hash())
			n++
		}
		return err
	}
	for range 50 {
		require.NoError(t, put())
	}
	disk.SetCapacity(disk.Used() + 2000)
	size = 8 << 10 // the journal has room for some of these
	for err == nil {
		err = put()
	}
	require.ErrorIs(t, err, durable.ErrWrite)
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.Error(t, put())
	require.Equal(t, want, hashes(readAll(t, a)), "reads go on")
	found, _, err := a.ByHash(t.Context(), want[len(want)-1:])
	require.NoError(t, err)
	require.Len(t, found, 1)

	disk.SetCapacity(0)
	require.Eventually(t, func() bool { return put() == nil }, 10*time.Second, 10*time.Millisecond)
	require.NoError(t, put())
	require.Equal(t, want, hashes(readAll(t, a)))
	require.Equal(t, n, a.Last())
	require.NoError(t, a.Close())
	a, err = openDisk(disk.Crash(nil))
	require.NoError(t, err)
	require.Equal(t, want, hashes(readAll(t, a)))
	require.NoError(t, a.Close())
}

// TestArchiveFailedSync: a failed fsync is an error for exactly the envelopes of
// its group, and they can be archived again, whether the disk kept them or not.
func TestArchiveFailedSync(t *testing.T) {
	noLeaks(t)
	eio := errors.New("input/output error")
	for k := 1; k <= 40; k++ {
		disk := faultstore.NewDisk()
		a, err := openDisk(disk)
		require.NoError(t, err)
		follower := follow(t, a, 0)
		var syncs atomic.Int64
		disk.SetFault(func(op faultstore.Op) error {
			if op.Kind == faultstore.Sync && op.File.Type == faultstore.Journal && syncs.Add(1) == int64(k) {
				return eio
			}
			return nil
		})
		failed := 0
		var want []common.Hash
		for i := range uint64(40) {
			e := numbered(i)
			want = append(want, e.Hash())
			for {
				err := store(a, e)
				if err == nil {
					break
				}
				require.ErrorIs(t, err, durable.ErrWrite)
				require.ErrorIs(t, err, eio)
				failed++
				require.Less(t, failed, 3)
			}
		}
		require.Equal(t, want, hashes(readAll(t, a)))
		require.Equal(t, want, hashes(follower.wait(len(want))))
		require.NoError(t, a.Close())
		follower.stopped(ErrClosed)
		a, err = openDisk(disk.Crash(nil))
		require.NoError(t, err)
		require.Equal(t, want, hashes(readAll(t, a)))
		require.NoError(t, a.Close())
	}
}

// TestArchiveFailedWriteUnderTheNextGroup: the group that was built while another
// one was being written survives the failure of that write, and is numbered anew.
func TestArchiveFailedWriteUnderTheNextGroup(t *testing.T) {
	noLeaks(t)
	for _, kind := range []faultstore.Kind{faultstore.Write, faultstore.Sync} {
		disk := faultstore.NewDisk()
		// One run, in which every duplicate is seen.
		a, err := Open("mem", Options{volume: memVolume{disk}, Retention: -1})
		require.NoError(t, err)
		var ops atomic.Int64
		started, queued := make(chan struct{}), make(chan struct{})
		disk.SetFault(func(op faultstore.Op) error {
			if op.Kind != kind || op.File.Type != faultstore.Journal {
				return nil
			}
			switch ops.Add(1) {
			case 1: // of the first group: the others queue behind it
				close(started)
				<-queued
			case 2:
				return syscall.EIO
			case 3:
				if kind == faultstore.Write { // the second laid zeros ahead, which can be done without
					return syscall.EIO
				}
			}
			return nil
		})
		const submissions, each = 6, 40
		first := numbered(1 << 40)
		done := make([]error, submissions)
		var pending sync.WaitGroup
		archive := func(envs []*whisper.Envelope, err *error) {
			pending.Add(1)
			a.Archive(t.Context(), envs, func(e error) { *err = e; pending.Done() })
		}
		var firstErr error
		archive([]*whisper.Envelope{first}, &firstErr)
		<-started
		want := []common.Hash{first.Hash()}
		var all []*whisper.Envelope
		for i := range done {
			var envs []*whisper.Envelope
			for range each {
				n := uint64(len(all))
				e := testEnvelope(n, topicOf(n%7), uint32(n), 50, groupBytes/each/2)
				envs, all, want = append(envs, e), append(all, e), append(want, e.Hash())
			}
			// It counts on what the group before it stores.
			archive(append(envs, all[max(0, len(all)-2*each)]), &done[i])
		}
		close(queued)
		pending.Wait()
		require.NoError(t, firstErr)
		failed := 0
		for i, err := range done {
			if err == nil {
				for _, e := range all[i*each : (i+1)*each] {
					found, _, err := a.ByHash(t.Context(), []common.Hash{e.Hash()})
					require.NoError(t, err)
					require.Len(t, found, 1)
				}
				continue
			}
			require.ErrorIs(t, err, syscall.EIO)
			failed++
			require.NoError(t, store(a, all[i*each:(i+1)*each]...))
		}
		require.NotZero(t, failed)
		require.Less(t, failed, submissions/2, "only the group whose write failed")
		check := func() {
			records := readAll(t, a)
			require.ElementsMatch(t, want, hashes(records))
			require.Equal(t, uint64(len(want)), a.Last())
			for i, r := range records {
				require.Equal(t, uint64(i+1), r.Seq)
			}
			page, err := a.Query(t.Context(), Query{Upper: math.MaxUint32, Topics: []whisper.Topic{topicOf(0)}, MaxBytes: 1 << 30})
			require.NoError(t, err)
			require.Len(t, page.Records, (len(all)+6)/7)
		}
		check()
		require.NoError(t, a.Close())
		a, err = openDisk(disk.Crash(nil))
		require.NoError(t, err)
		check()
		require.NoError(t, a.Close())
	}
}

// TestArchiveCorruptionWhileRunning: when the database turns out to be damaged on
// reopening, the archive goes on in a new partition with new sequences.
func TestArchiveCorruptionWhileRunning(t *testing.T) {
	noLeaks(t)
	disk := faultstore.NewDisk()
	a, err := openDisk(disk)
	require.NoError(t, err)
	for i := range uint64(20) {
		require.NoError(t, store(a, numbered(i)))
	}
	s := disk.Store(partitionName(1))
	for _, fd := range s.Files() {
		if fd.Type == faultstore.Manifest {
			s.Flip(fd, 8*(len(s.Bytes(fd))/2))
		}
	}
	var once atomic.Bool
	disk.SetFault(func(op faultstore.Op) error {
		if op.Kind == faultstore.Write && once.CompareAndSwap(false, true) {
			return syscall.EIO
		}
		return nil
	})
	require.Error(t, store(a, numbered(100)))
	require.NoError(t, store(a, numbered(100)))
	require.Equal(t, uint64(21), a.Last())
	require.Equal(t, uint64(21), a.First())
	require.Len(t, a.Damage(), 1)
	require.Len(t, readAll(t, a), 1)
	require.NoError(t, a.Close())
	a, err = openDisk(disk)
	require.NoError(t, err)
	require.Equal(t, uint64(21), a.Last())
	require.NoError(t, a.Close())
}

// follower collects what Follow gives it.
type follower struct {
	t      *testing.T
	mu     sync.Mutex
	got    []Record
	more   chan struct{}
	ended  chan error
	cancel context.CancelFunc
}

func follow(t *testing.T, a *Archive, after uint64) *follower {
	ctx, cancel := context.WithCancel(context.Background())
	f := &follower{t: t, more: make(chan struct{}, 1), ended: make(chan error, 1), cancel: cancel}
	t.Cleanup(cancel)
	go func() {
		f.ended <- a.Follow(ctx, after, func(rs []Record) error {
			f.mu.Lock()
			f.got = append(f.got, rs...)
			f.mu.Unlock()
			engine.Signal(f.more)
			return nil
		})
	}()
	return f
}

// wait returns the records once there are n.
func (f *follower) wait(n int) []Record {
	timeout := time.After(30 * time.Second)
	for {
		f.mu.Lock()
		got := f.got
		f.mu.Unlock()
		if len(got) >= n {
			return got
		}
		select {
		case <-f.more:
		case err := <-f.ended:
			f.t.Fatalf("follower ended after %d records: %v", len(got), err)
		case <-timeout:
			f.t.Fatalf("follower has %d records of %d", len(got), n)
		}
	}
}

func (f *follower) stopped(want error) {
	require.ErrorIs(f.t, <-f.ended, want)
	f.cancel()
}

// A full disk may leave partitions that were begun, and into which nothing was ever
// written as the one before them went on: they are no damage and no holes.
func TestPartitionsThatCameToNothing(t *testing.T) {
	noLeaks(t)
	dir := t.TempDir()
	a := openArchive(t, dir, Options{})
	const n = 20
	for i := range uint64(n) {
		require.NoError(t, store(a, numbered(i)))
	}
	require.NoError(t, a.Close())
	unborn, empty := filepath.Join(dir, partitionName(5)), filepath.Join(dir, partitionName(9))
	leave := func() {
		t.Helper()
		require.NoError(t, os.Mkdir(unborn, 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(unborn, "MANIFEST-000000"), nil, 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(unborn, "CURRENT.0"), nil, 0o600))
		d, err := durable.Open(empty, durable.Options{})
		require.NoError(t, err)
		require.NoError(t, d.Close())
	}
	leave()
	for range 2 {
		a = openArchive(t, dir, Options{})
		require.Empty(t, a.Damage())
		require.Len(t, readAll(t, a), n)
		require.Equal(t, uint64(n), a.Last())
		require.NoError(t, a.Close())
		require.NoDirExists(t, unborn)
		require.NoDirExists(t, empty)
	}
	leave()
	recovered, err := Recover(t.Context(), dir, Options{}, nil, nil)
	require.NoError(t, err)
	require.Empty(t, recovered)
	a = openArchive(t, dir, Options{})
	require.NoError(t, store(a, numbered(n)))
	require.Len(t, readAll(t, a), n+1)
	require.NoError(t, a.Close())
}
