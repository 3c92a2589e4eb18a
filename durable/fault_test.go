package durable

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/syndtr/goleveldb/leveldb/storage"
	"go.uber.org/goleak"

	"whisperpush/durable/faultstore"
)

// noLeaks checks at the test's end that no goroutine of it is left. goleveldb's
// buffer pool drains for a second after Close.
func noLeaks(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		goleak.VerifyNone(t, before, goleak.IgnoreTopFunction("github.com/syndtr/goleveldb/leveldb.(*DB).mpoolDrain"))
	})
}

// small makes journals rotate and tables compact within a few hundred writes.
var small = Options{WriteBuffer: 16 << 10, TableSize: 16 << 10, NoCompression: true}

func openStore(s *faultstore.Store) (*DB, error) {
	o := small
	o.Storage = s
	return Open("mem", o)
}

func key(i int) []byte { return fmt.Appendf(nil, "%06d", i) }

// value is as long as an envelope or so and belongs to key i only.
func value(i int) []byte {
	return bytes.Repeat(fmt.Appendf(nil, "<%d>", i), 20+i%50)
}

func writeOne(d *DB, i int) error {
	b := new(Batch)
	b.Put(key(i), value(i))
	return d.Write(b)
}

// count checks that d holds exactly the first n writes for some n and returns n.
func count(t *testing.T, d *DB) int {
	it := d.Scan(nil, nil)
	defer it.Release()
	n := 0
	for it.Next() {
		require.Equal(t, string(key(n)), string(it.Key()))
		require.Equal(t, value(n), it.Value())
		n++
	}
	require.NoError(t, it.Release())
	return n
}

func TestPowerCutAtEverySyncPoint(t *testing.T) {
	noLeaks(t)
	const ops = 200
	type cut struct {
		disk  *faultstore.Disk
		acked int
	}
	rng := rand.New(rand.NewPCG(1, 1))
	s := faultstore.New()
	var mu sync.Mutex // a compaction syncs beside the writer
	var cuts []cut
	acked := 0
	s.Disk().OnSync(func(int) {
		mu.Lock()
		defer mu.Unlock()
		cuts = append(cuts, cut{s.Disk().Crash(nil), acked}, cut{s.Disk().Crash(rng), acked})
	})
	d, err := openStore(s)
	require.NoError(t, err)
	for i := range ops {
		require.NoError(t, writeOne(d, i))
		mu.Lock()
		acked++
		mu.Unlock()
	}
	require.NoError(t, d.Close())
	s.Disk().OnSync(nil)
	cuts = append(cuts, cut{s.Disk().Crash(nil), ops})
	require.Greater(t, len(cuts), 2*ops)
	for i, c := range cuts {
		d, err := openStore(c.disk.Store("db"))
		require.NoError(t, err, "cut %d after %d writes", i, c.acked)
		n := count(t, d)
		require.NoError(t, d.Close())
		require.GreaterOrEqual(t, n, c.acked, "cut %d", i)
		require.LessOrEqual(t, n, c.acked+1, "cut %d", i)
	}
}

// journalOf returns the newest journal of s.
func journalOf(s *faultstore.Store) (newest storage.FileDesc) {
	for _, fd := range s.Files() {
		if fd.Type == storage.TypeJournal && fd.Num >= newest.Num {
			newest = fd
		}
	}
	return newest
}

func TestTornJournalTail(t *testing.T) {
	noLeaks(t)
	s := faultstore.New()
	o := Options{Storage: appendOnly{s}, WriteBuffer: 128 << 10}
	d, err := Open("mem", o)
	require.NoError(t, err)
	const n = 200 // crosses the 32 KiB blocks of a journal
	var sizes []int
	for i := range n {
		sizes = append(sizes, len(s.Bytes(journalOf(s))))
		require.NoError(t, writeOne(d, i))
	}
	image := s.Disk().Crash(nil)
	require.NoError(t, d.Close())
	end := len(image.Store("db").Bytes(journalOf(image.Store("db"))))
	require.Greater(t, end, journalBlock)
	for size := sizes[n-2]; size <= end; size++ {
		for _, fill := range []bool{false, true} {
			after := image.Crash(nil).Store("db")
			fd := journalOf(after)
			after.Truncate(fd, size)
			if fill && size%sector != 0 {
				continue // disks tear at sectors
			}
			if fill { // the file had grown, the bytes had not been written
				w, err := after.Create(fd)
				require.NoError(t, err)
				_, err = w.Write(append(bytes.Clone(image.Store("db").Bytes(fd)[:size]), make([]byte, end-size)...))
				require.NoError(t, err)
			}
			o.Storage = after
			d, err := Open("mem", o)
			require.NoError(t, err, "cut at %d of %d, filled %v", size, end, fill)
			want := n - 2
			if size >= sizes[n-1] {
				want = n - 1
			}
			if size == end {
				want = n
			}
			got := count(t, d)
			require.NoError(t, d.Close())
			require.Equal(t, want, got, "cut at %d", size)
		}
	}
}

func TestBitFlipIsNeverSilent(t *testing.T) {
	noLeaks(t)
	const n, seeds = 200, 300
	s := faultstore.New()
	d, err := openStore(s)
	require.NoError(t, err)
	for i := range n {
		require.NoError(t, writeOne(d, i))
	}
	image := s.Disk().Crash(nil)
	require.NoError(t, d.Close())
	detected := 0
	for seed := range uint64(seeds) {
		rng := rand.New(rand.NewPCG(seed, 0))
		after := image.Crash(nil).Store("db")
		files := after.Files()
		fd := files[rng.IntN(len(files))]
		size := len(after.Bytes(fd))
		if size == 0 {
			continue
		}
		bit := rng.IntN(size * 8)
		after.Flip(fd, bit)
		err := func() error {
			d, err := openStore(after)
			if err != nil {
				return err
			}
			defer d.Close()
			it := d.Scan(nil, nil)
			defer it.Release()
			got := 0
			for it.Next() {
				require.Equal(t, string(key(got)), string(it.Key()), "seed %d", seed)
				require.Equal(t, value(got), it.Value(), "seed %d", seed)
				got++
			}
			if it.Release() == nil {
				require.Equal(t, n, got, "seed %d: bit %d of %v lost records silently", seed, bit, fd)
			}
			return it.Release()
		}()
		if err != nil {
			require.ErrorIs(t, err, ErrCorrupted, "seed %d", seed)
			detected++
		}
	}
	require.Greater(t, detected, seeds/2)
}

func TestDiskFullRecoversByItself(t *testing.T) {
	noLeaks(t)
	s := faultstore.New()
	d, err := openStore(s)
	require.NoError(t, err)
	acked := 0
	for range 50 {
		require.NoError(t, writeOne(d, acked))
		acked++
	}
	s.Disk().SetCapacity(s.Disk().Used() + 5000)
	for err == nil {
		if err = writeOne(d, acked); err == nil {
			acked++
		}
	}
	require.ErrorIs(t, err, ErrWrite)
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.ErrorIs(t, writeOne(d, acked), ErrWrite, "no false acknowledgement on a full disk")
	require.Equal(t, acked, count(t, d), "reads go on")

	s.Disk().SetCapacity(0)
	require.Eventually(t, func() bool { return writeOne(d, acked) == nil }, 10*time.Second, 10*time.Millisecond)
	acked++
	require.Equal(t, acked, count(t, d))
	require.NoError(t, d.Close())
	d, err = openStore(s.Disk().Crash(nil).Store("db"))
	require.NoError(t, err)
	require.Equal(t, acked, count(t, d))
	require.NoError(t, d.Close())
}

func TestFailedSyncIsNotAcknowledged(t *testing.T) {
	noLeaks(t)
	eio := errors.New("input/output error")
	for k := 1; k <= 60; k++ {
		s := faultstore.New()
		d, err := openStore(s)
		require.NoError(t, err)
		syncs := 0
		s.Disk().SetFault(func(op faultstore.Op) error {
			if op.Kind == faultstore.Sync && op.File.Type == storage.TypeJournal {
				if syncs++; syncs == k {
					return eio
				}
			}
			return nil
		})
		failed := 0
		for i := range 60 {
			for {
				err := writeOne(d, i)
				if err == nil {
					break
				}
				require.ErrorIs(t, err, ErrWrite)
				require.ErrorIs(t, err, eio)
				failed++
				require.Less(t, failed, 3)
			}
		}
		require.Equal(t, 1, failed)
		after, err := openStore(s.Disk().Crash(nil).Store("db"))
		require.NoError(t, err)
		require.Equal(t, 60, count(t, after))
		require.NoError(t, after.Close())
		require.NoError(t, d.Close())
	}
}

func TestReopenWithAnIteratorOpen(t *testing.T) {
	noLeaks(t)
	s := faultstore.New()
	d, err := openStore(s)
	require.NoError(t, err)
	for i := range 100 {
		require.NoError(t, writeOne(d, i))
	}
	it := d.Scan(nil, nil)
	require.True(t, it.Next())
	var failed atomic.Bool
	s.Disk().SetFault(func(op faultstore.Op) error {
		if op.Kind == faultstore.Write && op.File.Type == storage.TypeJournal && failed.CompareAndSwap(false, true) {
			return syscall.EIO
		}
		return nil
	})
	require.ErrorIs(t, writeOne(d, 100), ErrWrite)
	wrote := make(chan error)
	go func() { wrote <- writeOne(d, 100) }()
	n := 1
	for it.Next() {
		n++
		_, err := d.Get(key(n - 1)) // must not deadlock with the waiting reopen
		require.NoError(t, err)
	}
	require.Equal(t, 100, n)
	it.Release()
	require.NoError(t, <-wrote)
	require.Equal(t, 101, count(t, d))
	require.NoError(t, d.Close())
}

func TestPanicOfTheEngineIsAnError(t *testing.T) {
	s := faultstore.New()
	d, err := openStore(s)
	require.NoError(t, err)
	require.NoError(t, writeOne(d, 0))
	var armed atomic.Bool
	s.Disk().SetFault(func(op faultstore.Op) error {
		if op.Kind == faultstore.Write && op.File.Type == storage.TypeJournal && armed.CompareAndSwap(true, false) {
			panic("as goleveldb does")
		}
		return nil
	})
	armed.Store(true)
	err = writeOne(d, 1)
	require.ErrorIs(t, err, ErrWrite)
	require.ErrorIs(t, err, ErrPanic)
	require.NoError(t, writeOne(d, 1))
	require.Equal(t, 2, count(t, d))
	require.NoError(t, d.Close())
}

// A disk that fails for a while leaves a part of a write, of any length, and lets nobody
// cut it off; when it works again, so does the database, with all that was acknowledged.
func TestPartOfAWriteOnADiskThatGoesOnFailing(t *testing.T) {
	for size := 1; size < 4*512; size += 97 {
		synctest.Test(t, func(t *testing.T) {
			s := faultstore.New()
			d, err := openStore(s)
			require.NoError(t, err)
			for i := range 5 {
				require.NoError(t, writeOne(d, i))
			}
			s.Disk().SetFault(func(faultstore.Op) error { return syscall.EIO }) // half of a write comes through
			b := new(Batch)
			b.Put([]byte("lost"), bytes.Repeat([]byte{0xee}, size))
			for range 3 {
				require.ErrorIs(t, d.Write(b), ErrWrite)
				time.Sleep(2 * reopenPause)
			}
			s.Disk().SetFault(nil)
			time.Sleep(2 * reopenPause)
			require.NoError(t, writeOne(d, 5))
			require.Equal(t, 6, count(t, d))
			require.NoError(t, d.Close())
			time.Sleep(2 * time.Second) // goleveldb's pool lingers for one
			d, err = openStore(s)
			require.NoError(t, err)
			require.Equal(t, 6, count(t, d))
			require.NoError(t, d.Close())
			time.Sleep(2 * time.Second)
		})
	}
}

func TestConcurrentWritersShareTheSync(t *testing.T) {
	noLeaks(t)
	s := faultstore.New()
	d, err := Open("mem", Options{Storage: s})
	require.NoError(t, err)
	// Hold the first fsync until all others are queued.
	const writers = 50
	before := s.Disk().Syncs()
	var once sync.Once
	s.Disk().SetFault(func(op faultstore.Op) error {
		if op.Kind == faultstore.Sync {
			once.Do(func() {
				require.Eventually(t, func() bool {
					d.queueMu.Lock()
					defer d.queueMu.Unlock()
					return len(d.queue) == writers-1
				}, 10*time.Second, time.Millisecond)
			})
		}
		return nil
	})
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() { require.NoError(t, writeOne(d, i)) })
	}
	wg.Wait()
	require.LessOrEqual(t, s.Disk().Syncs()-before, 3)
	require.Equal(t, writers, count(t, d))
	require.NoError(t, d.Close())
}

func FuzzScanJournal(f *testing.F) {
	s := faultstore.New()
	d, err := Open("mem", Options{Storage: s})
	if err != nil {
		f.Fatal(err)
	}
	for i := range 20 {
		if err := writeOne(d, i); err != nil {
			f.Fatal(err)
		}
	}
	journal := bytes.Clone(s.Bytes(journalOf(s)))
	if err := d.Close(); err != nil {
		f.Fatal(err)
	}
	f.Add(journal)
	f.Add(journal[:len(journal)-3])
	f.Add(append(bytes.Clone(journal), 0, 0, 0, 0, 0, 0, 0, 0, 0))
	f.Fuzz(func(t *testing.T, data []byte) {
		good, state := scanJournal(data)
		if good < 0 || good > len(data) {
			t.Fatalf("good %d of %d", good, len(data))
		}
		if again, s := scanJournal(data[:good]); again != good || s != journalWhole {
			t.Fatalf("the good prefix of %d bytes is %v at %d (was %v)", good, s, again, state)
		}
	})
}
