package durable

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/syndtr/goleveldb/leveldb/storage"

	"whisperpush/durable/faultstore"
)

// appendOnly is a store whose journals cannot be written in the middle.
type appendOnly struct{ *faultstore.Store }

func (s appendOnly) Create(fd storage.FileDesc) (storage.Writer, error) {
	w, err := s.Store.Create(fd)
	return struct{ storage.Writer }{w}, err
}

// memoryFile is a rewriter that counts.
type memoryFile struct {
	data            []byte
	syncs, partials int
	full            bool // cannot grow
}

func (f *memoryFile) Write(p []byte) (int, error) { return f.WriteAt(p, int64(len(f.data))) }

func (f *memoryFile) WriteAt(p []byte, off int64) (int, error) {
	if f.full && int(off)+len(p) > len(f.data) {
		return 0, syscall.ENOSPC
	}
	n := copy(f.data[off:], p)
	f.data = append(f.data, p[n:]...)
	return len(p), nil
}

func (f *memoryFile) Truncate(size int64) error { f.data = f.data[:size]; return nil }
func (f *memoryFile) Sync() error               { f.syncs++; return nil }
func (f *memoryFile) SyncData() error           { f.partials++; return nil }
func (f *memoryFile) Close() error              { return nil }

func TestRoomSparesTheLength(t *testing.T) {
	file := new(memoryFile)
	f := &roomy{rewriter: file, ahead: 1000}
	var want []byte
	write := func(n int) {
		p := bytes.Repeat([]byte{byte(len(want))%255 + 1}, n)
		want = append(want, p...)
		_, err := f.Write(p)
		require.NoError(t, err)
		require.NoError(t, f.Sync())
		require.Equal(t, want, file.data[:len(want)])
		require.True(t, zeros(file.data[len(want):]))
	}
	for range 100 {
		write(100)
	}
	require.Equal(t, 100/11+1, file.syncs, "one of eleven makes the file longer")
	require.Equal(t, 100-100/11-1, file.partials)

	write(2 * smallSync)
	require.Len(t, file.data, len(want), "no zeros behind much at a time")
	write(1)
	require.Len(t, file.data, len(want)+1000)
	require.NoError(t, f.trim())
	require.Equal(t, want, file.data)

	file.full = true
	syncs := file.syncs
	require.NoError(t, f.Sync())
	require.Equal(t, syncs, file.syncs, "nothing is new")
	_, err := f.Write([]byte{1})
	require.ErrorIs(t, err, syscall.ENOSPC)
}

// A disk too full for room holds what was written all the same.
func TestRoomOnAFullDisk(t *testing.T) {
	file := new(memoryFile)
	f := &roomy{rewriter: file, ahead: 1000}
	_, err := f.Write([]byte("record"))
	require.NoError(t, err)
	file.full = true
	require.NoError(t, f.Sync())
	require.Equal(t, "record", string(file.data))
	require.Equal(t, 1, file.syncs)
}

// A power cut in a write leaves any of its sectors: the records before it are
// there, and it is there as a whole or not at all.
func TestPowerCutInTheRoom(t *testing.T) {
	noLeaks(t)
	for _, size := range []int{40, 600, 1700, 12 << 10} { // within a sector, across some, across a block of the journal
		s := faultstore.New()
		o := Options{Storage: s, WriteBuffer: 2 << 20} // 128 KiB of room
		d, err := Open("mem", o)
		require.NoError(t, err)
		const n = 5
		write := func(i int) error {
			b := new(Batch)
			b.Put(key(i), bytes.Repeat([]byte{byte(i) + 1}, size))
			return d.Write(b)
		}
		for i := range n {
			require.NoError(t, write(i))
		}
		before := bytes.Clone(s.Bytes(journalOf(s)))
		require.NoError(t, write(n))
		after := bytes.Clone(s.Bytes(journalOf(s)))
		image := s.Disk().Crash(nil)
		require.NoError(t, d.Close())

		first, last := 0, len(after)-1
		for before[first] == after[first] {
			first++
		}
		for before[last] == after[last] {
			last--
		}
		from, to := first/sector, last/sector+1
		rng := rand.New(rand.NewPCG(uint64(size), 0))
		every := to-from <= 6 // way in which it can be cut, or else some
		for try := range 1 << min(to-from, 6) {
			cut := bytes.Clone(before)
			for number := from; number < to; number++ {
				if written := try>>(number-from)&1 == 1; every && written || !every && rng.IntN(2) == 0 {
					copy(cut[number*sector:], after[number*sector:min((number+1)*sector, len(after))])
				}
			}
			whole := bytes.Equal(cut, after)
			crashed := image.Crash(nil).Store("db")
			w, err := crashed.Create(journalOf(crashed))
			require.NoError(t, err)
			_, err = w.Write(cut)
			require.NoError(t, err)
			o.Storage = crashed
			d, err := Open("mem", o)
			require.NoError(t, err, "size %d, try %d", size, try)
			for i := range n {
				value, err := d.Get(key(i))
				require.NoError(t, err, "size %d, try %d", size, try)
				require.Equal(t, bytes.Repeat([]byte{byte(i) + 1}, size), value)
			}
			if _, err := d.Get(key(n)); whole {
				require.NoError(t, err, "size %d, try %d", size, try)
			} else {
				require.ErrorIs(t, err, ErrNotFound, "size %d, try %d", size, try)
			}
			require.NoError(t, d.Close())
		}
	}
}

// Every bit of the latest record is missed, although zeros follow it.
func TestFlipBeforeTheRoom(t *testing.T) {
	noLeaks(t)
	s := faultstore.New()
	o := small
	o.Storage = s
	d, err := Open("mem", o)
	require.NoError(t, err)
	var ends []int
	for i := range 4 {
		require.NoError(t, writeOne(d, i))
		data := s.Bytes(journalOf(s))
		ends = append(ends, len(bytes.TrimRight(data, "\x00")))
	}
	image := s.Disk().Crash(nil)
	require.NoError(t, d.Close())
	for bit := ends[2] * 8; bit < ends[3]*8; bit++ {
		after := image.Crash(nil).Store("db")
		after.Flip(journalOf(after), bit)
		good, state := scanJournal(after.Bytes(journalOf(after)))
		require.Equal(t, journalDamaged, state, "bit %d", bit-ends[2]*8)
		require.Equal(t, ends[2], good)
	}
	// One in the room does no harm, or is told.
	for bit := ends[3] * 8; bit < (ends[3]+sector)*8; bit++ {
		after := image.Crash(nil).Store("db")
		after.Flip(journalOf(after), bit)
		good, state := scanJournal(after.Bytes(journalOf(after)))
		require.Equal(t, ends[3], good)
		require.Contains(t, []journalState{journalTorn, journalDamaged}, state)
	}
}

func TestRoomInFiles(t *testing.T) {
	noLeaks(t)
	dir := filepath.Join(t.TempDir(), "db")
	d, err := Open(dir, Options{})
	require.NoError(t, err)
	for i := range 20 {
		require.NoError(t, writeOne(d, i))
	}
	journals, err := filepath.Glob(filepath.Join(dir, "*.log"))
	require.NoError(t, err)
	require.Len(t, journals, 1)
	running, err := os.ReadFile(journals[0])
	require.NoError(t, err)
	good, state := scanJournal(running)
	require.Equal(t, journalRoom, state)
	require.Greater(t, len(running)-good, DefaultWriteBuffer/roomShare/2)

	killed := filepath.Join(t.TempDir(), "killed") // as it is now
	require.NoError(t, os.CopyFS(killed, os.DirFS(dir)))
	require.NoError(t, d.Close())
	stopped, err := os.ReadFile(journals[0])
	require.NoError(t, err)
	require.Equal(t, running[:good], stopped, "the room is cut off")

	for _, dir := range []string{dir, killed} {
		ro, err := Open(dir, Options{ReadOnly: true})
		require.NoError(t, err)
		require.Equal(t, 20, count(t, ro))
		require.NoError(t, ro.Close())
		d, err := Open(dir, Options{})
		require.NoError(t, err)
		require.Equal(t, 20, count(t, d))
		require.NoError(t, d.Close())
	}
}

func TestFailedSyncInTheRoom(t *testing.T) {
	noLeaks(t)
	s := faultstore.New()
	d, err := openStore(s)
	require.NoError(t, err)
	eio := errors.New("input/output error")
	for i := range 40 {
		require.NoError(t, writeOne(d, i))
	}
	var failed atomic.Bool
	s.Disk().SetFault(func(op faultstore.Op) error {
		if op.Kind == faultstore.Sync && op.File.Type == storage.TypeJournal && failed.CompareAndSwap(false, true) {
			return eio
		}
		return nil
	})
	require.ErrorIs(t, writeOne(d, 40), eio)
	require.NoError(t, writeOne(d, 40))
	require.NoError(t, writeOne(d, 41))
	after, err := openStore(s.Disk().Crash(nil).Store("db"))
	require.NoError(t, err)
	require.Equal(t, 42, count(t, after))
	require.NoError(t, after.Close())
	require.NoError(t, d.Close())
}
