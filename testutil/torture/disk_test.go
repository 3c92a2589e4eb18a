//go:build linux

package torture

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

	"whisperpush/durable"
	"whisperpush/mailserver/archive"
	"whisperpush/testutil/smalldisk"
	"whisperpush/whisper"
)

// archived fills an archive in dir and returns the hashes by sequence, from 1.
func archived(t testing.TB, dir string, n int) (want []common.Hash) {
	t.Helper()
	a, err := archive.Open(dir, archive.Options{Retention: -1})
	require.NoError(t, err)
	for i := range n {
		e := envelope(uint64(i), 300)
		want = append(want, e.Hash())
		require.NoError(t, put(a, e))
		if i == n/2 { // what is before it is in tables
			require.NoError(t, a.Close())
			a, err = archive.Open(dir, archive.Options{Retention: -1})
			require.NoError(t, err)
		}
	}
	require.NoError(t, a.Close())
	return want
}

// put archives envelopes and waits for the word.
func put(a *archive.Archive, envs ...*whisper.Envelope) error {
	done := make(chan error, 1)
	a.Archive(context.Background(), envs, func(err error) { done <- err })
	return <-done
}

// readable reads the archive in every way and demands that nothing wrong is served:
// the result is how many it has, and err if it says that something is damaged.
func readable(t testing.TB, a *archive.Archive, want []common.Hash, where string) (n int, err error) {
	t.Helper()
	if len(a.Damage()) > 0 {
		err = a.Damage()[0].Err
	}
	for after, more := uint64(0), true; more; {
		page, failed := a.Query(t.Context(), archive.Query{Upper: math.MaxUint32, After: after})
		if failed != nil {
			require.ErrorIs(t, failed, durable.ErrCorrupted, where)
			return n, failed
		}
		for _, r := range page.Records {
			require.LessOrEqual(t, r.Seq, uint64(len(want)), where)
			require.Equal(t, want[r.Seq-1], r.Envelope.Hash(), where)
			n++
		}
		after, more = page.Next, page.Next != 0
	}
	_, missing, found := a.ByHash(t.Context(), want[:min(32, len(want))])
	if found != nil {
		require.ErrorIs(t, found, durable.ErrCorrupted, where)
		return n, found
	}
	if len(missing) > 0 && err == nil {
		require.Empty(t, missing, where)
	}
	return n, err
}

// TestBitFlips flips one random bit in a random file of an archive and of a
// push database, as real files: what is read then is right, or the damage is
// told, loudly, and what it is in is set aside.
func TestBitFlips(t *testing.T) {
	t.Run("archive", func(t *testing.T) {
		rng, p := newRand(t), &progress{t: t}
		image := filepath.Join(t.TempDir(), "archive")
		const n = 400
		want := archived(t, image, n)
		told := 0
		for seed := range *flipsFlag {
			dir := filepath.Join(t.TempDir(), "archive")
			copyDir(t, image, dir)
			where := flip(t, rng, dir)
			var log bytes.Buffer
			a, err := archive.Open(dir, archive.Options{Retention: -1, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			require.NoError(t, err, where)
			got, err := readable(t, a, want, where)
			if err == nil {
				require.Equal(t, n, got, "%s: lost in silence", where)
			} else {
				told++
				if len(a.Damage()) > 0 {
					require.Contains(t, log.String(), "DAMAGED", where)
					require.NoError(t, put(a, envelope(1<<40, 100)), "%s: it goes on", where)
					require.Greater(t, a.Last(), uint64(n), "%s: a sequence is given again", where)
				}
			}
			require.NoError(t, a.Close(), where)
			require.NoError(t, os.RemoveAll(dir))
			p.line("%d of %d bits, %d told", seed+1, *flipsFlag, told)
		}
		result(t, "%d bits flipped: %d told, %d harmless, 0 silent, 0 wrong envelopes", *flipsFlag, told, *flipsFlag-told)
	})
	t.Run("push", func(t *testing.T) {
		rng, p := newRand(t), &progress{t: t}
		image := filepath.Join(t.TempDir(), "push")
		const n = 400
		o := durable.Options{Name: "push", KeyFilter: true, WriteBuffer: 32 << 10}
		value := func(i int) []byte { return bytes.Repeat(fmt.Appendf(nil, "<%d>", i), 30) }
		d, err := durable.Open(image, o)
		require.NoError(t, err)
		for i := range n {
			var b durable.Batch
			b.Put(fmt.Appendf(nil, "%06d", i), value(i))
			require.NoError(t, d.Write(&b))
		}
		require.NoError(t, d.Close())
		told := 0
		for seed := range *flipsFlag {
			dir := filepath.Join(t.TempDir(), "push")
			copyDir(t, image, dir)
			where := flip(t, rng, dir)
			err := func() error {
				d, err := durable.Open(dir, o)
				if err != nil {
					return err
				}
				defer d.Close()
				for i := range n {
					v, err := d.Get(fmt.Appendf(nil, "%06d", i))
					if err != nil {
						require.NotErrorIs(t, err, durable.ErrNotFound, "%s: lost in silence", where)
						return err
					}
					require.Equal(t, value(i), v, where)
				}
				return nil
			}()
			if err != nil {
				require.ErrorIs(t, err, durable.ErrCorrupted, where)
				require.ErrorContains(t, err, "wnode recover", where)
				told++
				r, err := durable.Recover(t.Context(), dir, nil)
				require.NoError(t, err, where)
				require.DirExists(t, r.Aside)
				_, err = durable.Check(t.Context(), dir, nil)
				require.NoError(t, err, where)
			}
			require.NoError(t, os.RemoveAll(filepath.Dir(dir)))
			p.line("%d of %d bits, %d told", seed+1, *flipsFlag, told)
		}
		result(t, "%d bits flipped: %d told and recovered, %d harmless, 0 silent, 0 wrong values", *flipsFlag, told, *flipsFlag-told)
	})
}

// flip flips a bit of a file that holds data, weighted by nothing: each file is
// as likely as another.
func flip(t testing.TB, rng interface{ IntN(int) int }, dir string) (where string) {
	t.Helper()
	var files []string
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if name := filepath.Base(path); err == nil && !d.IsDir() && !strings.HasPrefix(name, "LO") {
			if info, err := d.Info(); err == nil && info.Size() > 0 {
				files = append(files, path)
			}
		}
		return err
	}))
	path := files[rng.IntN(len(files))]
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	bit := rng.IntN(len(data) * 8)
	data[bit/8] ^= 1 << (bit % 8)
	require.NoError(t, os.WriteFile(path, data, 0o600))
	return fmt.Sprintf("bit %d of %s", bit, filepath.Base(path))
}

// TestTornJournal truncates the journal of an archive at every byte of its last two
// records: it opens, without damage, with what is before the cut. What a power cut
// leaves of a write into the room, whole sectors and zeros, is in package durable.
func TestTornJournal(t *testing.T) {
	image := filepath.Join(t.TempDir(), "archive")
	a, err := archive.Open(image, archive.Options{Retention: -1})
	require.NoError(t, err)
	const n = 60
	var want []common.Hash
	for i := range n {
		e := envelope(uint64(i), 40)
		want = append(want, e.Hash())
		require.NoError(t, put(a, e))
	}
	killed := filepath.Join(t.TempDir(), "archive")
	copyDir(t, image, killed)
	require.NoError(t, a.Close())
	journal := func(dir string) string {
		names, err := filepath.Glob(filepath.Join(dir, "p*", "*.log"))
		require.NoError(t, err)
		require.Len(t, names, 1)
		return names[0]
	}
	data, err := os.ReadFile(journal(killed))
	require.NoError(t, err)
	ends := recordEnds(t, data)
	require.GreaterOrEqual(t, len(ends), n)
	ends = ends[len(ends)-3:]
	for size := ends[0]; size <= ends[2]; size++ {
		dir := filepath.Join(t.TempDir(), "archive")
		copyDir(t, killed, dir)
		require.NoError(t, os.Truncate(journal(dir), int64(size)))
		a, err := archive.Open(dir, archive.Options{Retention: -1})
		require.NoError(t, err)
		require.Empty(t, a.Damage(), "cut at %d of %d", size, ends[2])
		whole := n - 2
		for _, end := range ends[1:] {
			if size >= end {
				whole++
			}
		}
		got, err := readable(t, a, want, "")
		require.NoError(t, err)
		require.Equal(t, whole, got, "cut at %d of %d", size, ends[2])
		require.NoError(t, a.Close())
		require.NoError(t, os.RemoveAll(dir))
	}
	result(t, "%d cuts, an exact prefix after each", ends[2]-ends[0]+1)
}

// recordEnds returns where each record of a journal ends that fits into one of LevelDB's
// blocks of 32 KiB: a header of 7 bytes, of which two are the length, and the
// record. Zeros, the room, end it.
func recordEnds(t testing.TB, journal []byte) (ends []int) {
	t.Helper()
	for pos := 0; pos+7 <= len(journal); {
		length := int(binary.LittleEndian.Uint16(journal[pos+4:]))
		if length == 0 {
			break
		}
		require.Equal(t, byte(1), journal[pos+6], "a record in one piece")
		pos += 7 + length
		ends = append(ends, pos)
	}
	return ends
}

// smallDisk mounts a tmpfs of its own.
func smallDisk(t testing.TB, size string) *smalldisk.Disk {
	t.Helper()
	disk, err := smalldisk.Mount(size)
	if err != nil {
		fmt.Printf("torture: %s: not run: %v\n", t.Name(), err)
		t.Skip(err)
	}
	t.Cleanup(func() { require.NoError(t, disk.Unmount()) })
	return disk
}

// TestFullDisk fills a small tmpfs while an archive writes, writes its index and
// begins and drops partitions: nothing is acknowledged that is not there, reads go
// on or fail in words, and when there is space again it goes on by itself.
func TestFullDisk(t *testing.T) {
	rng := newRand(t)
	disk := smallDisk(t, "48m")
	dir := filepath.Join(disk.Dir, "archive")
	// Much is written for so few bytes: it keeps beginning partitions and dropping
	// old ones, whose envelopes have expired.
	o := archive.Options{Retention: time.Hour, MaxBytes: 8 << 20}
	a, err := archive.Open(dir, o)
	require.NoError(t, err)
	number, refused := uint64(0), 0
	var acked []common.Hash
	store := func() error {
		envs := make([]*whisper.Envelope, 50)
		for i := range envs {
			envs[i] = expired(number, 1000)
			number++
		}
		err := put(a, envs...)
		if err == nil {
			for _, e := range envs {
				acked = append(acked, e.Hash())
			}
		}
		return err
	}
	// sure stores something; while retention has not caught up with the size limit
	// it is refused.
	sure := func() {
		require.Eventually(t, func() bool {
			err := store()
			if err != nil {
				require.ErrorIs(t, err, archive.ErrFull)
			}
			return err == nil
		}, patience, 10*time.Millisecond)
	}
	check := func(a *archive.Archive, full bool) {
		var sample []common.Hash
		for range 64 { // of the latest, which no size limit drops
			sample = append(sample, acked[len(acked)-1-rng.IntN(1500)])
		}
		// A partition that was being sealed when the last byte went may be closed
		// until it can be opened again; to say so is no loss.
		var missing []common.Hash
		require.Eventually(t, func() bool {
			_, missing, err = a.ByHash(t.Context(), sample)
			return err == nil || full
		}, patience, 50*time.Millisecond)
		if err != nil {
			require.ErrorIs(t, err, durable.ErrClosed)
			return
		}
		require.Empty(t, missing, "acknowledged envelopes are lost")
	}
	for range 200 {
		sure()
	}
	rounds := max(6, *flipsFlag/20)
	for range rounds {
		require.NoError(t, disk.Fill(int64(rng.IntN(512<<10))))
		// The disk is full, or so full that no partition can be closed and dropped,
		// and then the size limit comes first; or what is dropped makes room for what
		// comes, and it holds out.
		limit := time.Now().Add(2 * time.Second)
		full := store()
		for (full == nil || errors.Is(full, archive.ErrFull)) && time.Now().Before(limit) {
			full = store()
		}
		if full != nil && !errors.Is(full, archive.ErrFull) {
			require.ErrorIs(t, full, durable.ErrWrite)
			require.ErrorContains(t, full, syscall.ENOSPC.Error()) // goleveldb does not wrap all that it passes on
			refused++
		}
		check(a, true) // reads go on
		require.NoError(t, disk.Free())
		require.Eventually(t, func() bool { return store() == nil }, patience, 10*time.Millisecond, "it does not recover by itself")
		for range 60 {
			sure()
		}
		check(a, false)
	}
	require.Greater(t, a.First(), uint64(1), "nothing was dropped")
	require.Positive(t, refused)
	require.NoError(t, a.Close())
	a, err = archive.Open(dir, o)
	require.NoError(t, err)
	require.Empty(t, a.Damage())
	check(a, false)
	require.NoError(t, a.Close())
	result(t, "%d times full in %d rounds, %d envelopes acknowledged, 0 lost", refused, rounds, len(acked))
}

// TestFailingFsync runs an archiving process under strace, which makes its k-th
// fsync fail with EIO: what had been acknowledged is there, and the process says
// that it could not write.
func TestFailingFsync(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		fmt.Printf("torture: %s: not run: there is no strace\n", t.Name())
		t.Skip("there is no strace")
	}
	self, err := os.Executable()
	require.NoError(t, err)
	fails := min(*killsFlag, 50)
	total := 0
	for k := range fails {
		dir := filepath.Join(t.TempDir(), "archive")
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		cmd := exec.CommandContext(ctx, strace, "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync",
			"-e", fmt.Sprintf("inject=fsync,fdatasync:error=EIO:when=%d", 10+k), self, dir, "0")
		cmd.Env = append(os.Environ(), childVar+"=archive")
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		err := cmd.Run()
		cancel()
		require.Error(t, err, "an fsync failed, and nobody was told")
		if strings.Contains(stderr.String(), "PTRACE") || strings.Contains(stderr.String(), "ptrace") {
			fmt.Printf("torture: %s: not run: strace may not trace here\n", t.Name())
			t.Skip("strace may not trace here")
		}
		require.Contains(t, stderr.String(), "input/output error")
		acked := make(map[common.Hash]bool)
		for b := stdout.Bytes(); len(b) >= common.HashLength; b = b[common.HashLength:] {
			acked[common.Hash(b[:common.HashLength])] = true
		}
		total += len(acked)
		checkArchive(t, dir, acked)
	}
	result(t, "%d failed fsyncs, %d envelopes acknowledged, 0 lost", fails, total)
}

// TestTwoProcesses: the second process on a data directory refuses in words, and
// the first is unharmed.
func TestTwoProcesses(t *testing.T) {
	s := newSite(t, nil)
	first := s.start()
	other := *s
	other.port, other.metrics = quietPort(t), quietPort(t)
	second, _ := other.spawn()
	require.Error(t, second.cmd.Wait())
	require.Equal(t, 1, second.cmd.ProcessState.ExitCode())
	require.Contains(t, second.stderr.String(), "is in use by another node")
	_, err := archive.Open(filepath.Join(s.dir, "archive"), archive.Options{})
	require.ErrorIs(t, err, durable.ErrLocked)
	_, err = durable.Open(filepath.Join(s.dir, "push"), durable.Options{})
	require.ErrorIs(t, err, durable.ErrLocked)
	require.True(t, first.alive())
	first.stop()
}
