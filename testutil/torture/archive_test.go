//go:build linux

package torture

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/stretchr/testify/require"

	"whisperpush/mailserver/archive"
	"whisperpush/whisper"
)

// envelope makes the envelope of a number: one that no key opens, and that has
// not expired for years.
func envelope(number uint64, size int) *whisper.Envelope {
	return makeEnvelope(number, 1_900_000_000, size)
}

// expired makes one that has expired long ago.
func expired(number uint64, size int) *whisper.Envelope {
	return makeEnvelope(number, 1_600_000_000, size)
}

func makeEnvelope(number, expiry uint64, size int) *whisper.Envelope {
	topic := whisper.Topic{1, 2, 3, byte(number % 7)}
	data := make([]byte, max(size, 8))
	rand.NewChaCha8([32]byte(binary.BigEndian.AppendUint64(make([]byte, 24), number))).Read(data)
	raw, err := rlp.EncodeToBytes([]any{uint32(expiry + number%1000), uint32(3600), topic, data, number})
	if err != nil {
		panic(err) // every field has an encoding
	}
	e, err := whisper.DecodeEnvelope(raw)
	if err != nil {
		panic(err)
	}
	return e
}

// archiveChild archives as fast as it can, and writes the hash of each envelope
// to the standard output as soon as it is acknowledged.
// Arguments: directory, first number.
func archiveChild(args []string) int {
	first, err := strconv.ParseUint(args[1], 10, 64)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	a, err := archive.Open(args[0], archive.Options{Retention: -1})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if d := a.Damage(); len(d) > 0 {
		fmt.Fprintln(os.Stderr, "damage:", d[0].Err)
		return 1
	}
	const writers = 8
	var out sync.Mutex
	for w := range uint64(writers) {
		go func() {
			rng := rand.New(rand.NewPCG(first, w))
			for next := first + w*1e6; ; {
				envs := make([]*whisper.Envelope, 1+rng.IntN(20))
				var acked []byte
				for i := range envs {
					envs[i] = envelope(next, 50+rng.IntN(500))
					next++
					hash := envs[i].Hash()
					acked = append(acked, hash[:]...)
				}
				done := make(chan error, 1)
				a.Archive(context.Background(), envs, func(err error) { done <- err })
				if err := <-done; err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				out.Lock()
				os.Stdout.Write(acked) // less than a pipe writes at once
				out.Unlock()
			}
		}()
	}
	select {}
}

// copyDir copies a directory tree; what vanishes meanwhile is left out.
func copyDir(t testing.TB, from, to string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, name), 0o700)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), data, 0o600)
	}))
}

// TestKillArchive kills a process that archives, at a random moment after its first
// acknowledgement, or before it, again and again on the same files, which nobody closes
// in between: what it acknowledged through a pipe must be in a copy of them, numbered
// without a hole.
func TestKillArchive(t *testing.T) {
	rng := newRand(t)
	self, err := os.Executable()
	require.NoError(t, err)
	p := &progress{t: t}
	const fresh = 20 // rounds on the same files
	var dir string
	var acked map[common.Hash]bool
	total := 0
	for round := range *killsFlag {
		if round%fresh == 0 {
			dir, acked = filepath.Join(t.TempDir(), "archive"), map[common.Hash]bool{}
		}
		cmd := exec.Command(self, dir, strconv.FormatUint(uint64(round)*1e8, 10))
		cmd.Env = append(os.Environ(), childVar+"=archive")
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		stderr := new(tail)
		cmd.Stderr = stderr
		stdout, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		kill := func(least time.Duration) *time.Timer {
			return time.AfterFunc(between(rng, least, 400*time.Millisecond), func() { cmd.Process.Kill() })
		}
		var timer *time.Timer
		if round%4 == 3 {
			timer = kill(20 * time.Millisecond) // perhaps while it starts
		}
		for {
			var h common.Hash
			if _, err := io.ReadFull(stdout, h[:]); err != nil {
				break
			}
			acked[h] = true
			total++
			if timer == nil {
				timer = kill(time.Millisecond)
			}
		}
		cmd.Wait()
		if timer != nil {
			timer.Stop()
		}
		require.Empty(t, stderr.String(), "round %d", round)

		image := filepath.Join(t.TempDir(), "image")
		copyDir(t, dir, image)
		checkArchive(t, image, acked)
		require.NoError(t, os.RemoveAll(image))
		p.line("round %d of %d, %d envelopes acknowledged", round+1, *killsFlag, total)
	}
	require.Positive(t, total)
	result(t, "%d kills, %d envelopes acknowledged, 0 lost", *killsFlag, total)
}

// checkArchive demands that the archive in dir is sound, numbered from 1 without
// a hole or a repetition, and holds all of acked.
func checkArchive(t *testing.T, dir string, acked map[common.Hash]bool) {
	t.Helper()
	a, err := archive.Open(dir, archive.Options{Retention: -1})
	require.NoError(t, err)
	defer func() { require.NoError(t, a.Close()) }()
	require.Empty(t, a.Damage())
	seen := make(map[common.Hash]bool)
	if a.Last() > 0 {
		next := uint64(1)
		stop := fmt.Errorf("enough")
		err = a.Follow(t.Context(), 0, func(records []archive.Record) error {
			for _, r := range records {
				if r.Seq != next || seen[r.Hash] {
					return fmt.Errorf("sequence %d follows %d, or repeats an envelope", r.Seq, next-1)
				}
				seen[r.Hash] = true
				next++
			}
			if next > a.Last() {
				return stop
			}
			return nil
		})
		require.ErrorIs(t, err, stop)
	}
	sample := make([]common.Hash, 0, 64)
	for h := range acked {
		require.True(t, seen[h], "an acknowledged envelope is lost")
		if len(sample) < cap(sample) {
			sample = append(sample, h)
		}
	}
	_, missing, err := a.ByHash(t.Context(), sample)
	require.NoError(t, err)
	require.Empty(t, missing)
}
