package archive

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"whisperpush/durable/faultstore"
)

// fillDir archives n envelopes in dir and returns the identity of the log.
func fillDir(t *testing.T, dir string, n int) logID {
	t.Helper()
	a := openArchive(t, dir, Options{Retention: -1})
	for i := range uint64(n) {
		require.NoError(t, store(a, testEnvelope(a.Last()+i, topicOf(i), 100, 50, 100)))
	}
	require.NoError(t, a.Close())
	return a.ID()
}

func identity(t *testing.T, dir string) logID {
	t.Helper()
	return fillDir(t, dir, 0)
}

// TestLogIdentity: it stays while the log goes on and changes when it does not.
func TestLogIdentity(t *testing.T) {
	const n = 12
	remove := func(names ...string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			for _, name := range names {
				paths, err := filepath.Glob(filepath.Join(dir, name))
				require.NoError(t, err)
				require.NotEmpty(t, paths, name)
				for _, path := range paths {
					require.NoError(t, os.RemoveAll(path))
				}
			}
		}
	}
	write := func(content string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			require.NoError(t, os.WriteFile(filepath.Join(dir, logStateName), []byte(content), 0o600))
		}
	}
	for _, tt := range []struct {
		name string
		do   func(t *testing.T, dir string)
		same bool
	}{
		{"restart", func(*testing.T, string) {}, true},
		{"lost partition", remove(partitionName(1) + "/CURRENT"), true},
		{"lost and salvaged partition", func(t *testing.T, dir string) {
			remove(partitionName(1)+"/CURRENT")(t, dir)
			_, err := Recover(t.Context(), dir, Options{Retention: -1}, nil, nil)
			require.NoError(t, err)
		}, true},
		{"reinstalled", remove("*"), false},
		{"emptied, its record left", remove(partitionName(1)), false},
		{"emptied partition", remove(partitionName(1) + "/*"), false},
		{"record lost", remove(logStateName), false},
		{"record emptied", write(""), false},
		{"record of nothing", write(`{"version":1}`), false},
		{"record of zeros", write(`{"version":1,"id":"00000000000000000000000000000000"}`), false},
		{"record of the future", write(`{"version":2,"id":"000102030405060708090a0b0c0d0e0f"}`), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			noLeaks(t)
			dir := t.TempDir()
			before := fillDir(t, dir, n)
			require.NotZero(t, before)
			tt.do(t, dir)
			after := identity(t, dir)
			require.NotZero(t, after)
			require.Equal(t, tt.same, before == after)
			require.Equal(t, after, identity(t, dir), "and it stays")
		})
	}
	require.NotEqual(t, fillDir(t, t.TempDir(), n), fillDir(t, t.TempDir(), n), "two archives are two logs")
}

// TestIdentityOfOlderArchive: an archive from before there were identities gets
// one at its first open, and the record says no more than is known.
func TestIdentityOfOlderArchive(t *testing.T) {
	noLeaks(t)
	dir := t.TempDir()
	fillDir(t, dir, 12)
	require.NoError(t, os.Remove(filepath.Join(dir, logStateName)))
	id := identity(t, dir)
	require.NotZero(t, id)
	require.Equal(t, id, identity(t, dir))

	// One whose only partition had been lost by then.
	require.NoError(t, os.Remove(filepath.Join(dir, partitionName(1), "CURRENT")))
	fillDir(t, dir, 1)
	require.NoError(t, os.Remove(filepath.Join(dir, logStateName)))
	a := openArchive(t, dir, Options{Retention: -1})
	lost, sure := a.Lost(12, a.First())
	require.Zero(t, lost)
	require.False(t, sure)
}

// TestLost: the sequences that a damaged partition leaves behind are told from
// envelopes that are gone.
func TestLost(t *testing.T) {
	const n = 12
	lose := func(t *testing.T, dir string) {
		require.NoError(t, os.Remove(filepath.Join(dir, partitionName(1), "CURRENT")))
	}
	t.Run("clean stop", func(t *testing.T) {
		noLeaks(t)
		dir := t.TempDir()
		fillDir(t, dir, n)
		lose(t, dir)
		a := openArchive(t, dir, Options{Retention: -1})
		require.Greater(t, a.First(), uint64(maxPartitionRecords))
		require.Len(t, a.Damage(), 1)
		require.EqualValues(t, 1, a.Damage()[0].From)
		require.EqualValues(t, n, a.Damage()[0].To)
		for after := range uint64(n + 1) {
			lost, sure := a.Lost(after, a.First())
			require.Equal(t, n-after, lost, "after %d", after)
			require.True(t, sure)
		}
		require.NoError(t, a.Close())

		// What is archived again under other sequences is not lost.
		var moves int
		_, err := Recover(t.Context(), dir, Options{Retention: -1}, func(old []uint64, _ uint64) error { moves += len(old); return nil }, nil)
		require.NoError(t, err)
		require.Equal(t, n, moves)
		a = openArchive(t, dir, Options{Retention: -1})
		lost, sure := a.Lost(5, a.First())
		require.Zero(t, lost)
		require.True(t, sure)
		require.Empty(t, a.DamagedParts())
	})
	t.Run("crash", func(t *testing.T) {
		noLeaks(t)
		dir := t.TempDir()
		fillDir(t, dir, 4)
		record, err := os.ReadFile(filepath.Join(dir, logStateName))
		require.NoError(t, err)
		fillDir(t, dir, n-4)
		// The record as a crash would have left it, which is how the open wrote it.
		record = []byte(fmt.Sprintf(`{"version":1,"id":%q,"partition":1,"last":4}`, idIn(t, record)))
		require.NoError(t, os.WriteFile(filepath.Join(dir, logStateName), record, 0o600))
		lose(t, dir)
		a := openArchive(t, dir, Options{Retention: -1})
		lost, sure := a.Lost(2, a.First())
		require.EqualValues(t, 2, lost, "3 and 4 are known to be gone")
		require.False(t, sure)
		lost, sure = a.Lost(n, a.First())
		require.Zero(t, lost)
		require.False(t, sure)
		require.NoError(t, a.Close())

		_, err = Recover(t.Context(), dir, Options{Retention: -1}, nil, nil)
		require.NoError(t, err)
		a = openArchive(t, dir, Options{Retention: -1})
		for after := range uint64(n + 1) {
			lost, sure = a.Lost(after, a.First())
			require.Zero(t, lost, "the salvage has found where the log ended")
			require.True(t, sure)
		}
	})
	t.Run("parts behind others", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			disk := faultstore.NewDisk()
			var log bytes.Buffer
			o := Options{Retention: 32 * time.Minute, Logger: slog.New(slog.NewTextHandler(&log, nil))}
			a := openVolume(t, disk, o)
			for i := range uint64(30) {
				require.NoError(t, store(a, testEnvelope(i, topicOf(i), uint32(time.Now().Unix()), 50, 100)))
				if i%10 == 9 && i < 29 {
					time.Sleep(time.Minute + time.Second)
					synctest.Wait()
				}
			}
			require.NoError(t, a.Close())
			for _, first := range []uint64{11, 21} {
				s := disk.Store(partitionName(first))
				for _, fd := range s.Files() {
					if fd.Type == faultstore.Manifest {
						s.Flip(fd, 4*len(s.Bytes(fd)))
					}
				}
			}
			for starts := range 3 {
				log.Reset()
				a = openVolume(t, disk, o)
				require.EqualValues(t, 1, a.First())
				lost, sure := a.Lost(10, a.Last()+1)
				require.EqualValues(t, 20, lost)
				require.True(t, sure)
				records := 0
				for _, d := range a.Damage() {
					records += int(d.To - d.From + 1)
				}
				require.Equal(t, 20, records, "start %d: %+v", starts, a.Damage())
				require.NoError(t, a.Close())
			}
			require.Contains(t, log.String(), "archive has a hole")
			require.Contains(t, log.String(), "missing=20")
		})
	})
	t.Run("retention", func(t *testing.T) {
		a := openArchive(t, t.TempDir(), Options{Retention: -1})
		lost, sure := a.Lost(4, 9)
		require.EqualValues(t, 4, lost)
		require.True(t, sure)
		for _, none := range [][2]uint64{{4, 4}, {4, 5}, {9, 4}, {0, 1}, {1 << 63, 0}} {
			lost, sure = a.Lost(none[0], none[1])
			require.Zero(t, lost)
			require.True(t, sure)
		}
	})
}

func idIn(t *testing.T, record []byte) string {
	t.Helper()
	s, _, err := decodeLogState(record)
	require.NoError(t, err)
	require.True(t, s.Closed)
	require.EqualValues(t, 4, s.Last)
	return s.ID
}

// TestDamagedParts is what an operator has to know.
func TestDamagedParts(t *testing.T) {
	noLeaks(t)
	dir := t.TempDir()
	none, err := DamagedParts(filepath.Join(dir, "none"))
	require.NoError(t, err)
	require.Empty(t, none)
	fillDir(t, dir, 12)
	require.NoError(t, os.Remove(filepath.Join(dir, partitionName(1), "CURRENT")))
	for range 2 { // the start that finds it, and the next
		a := openArchive(t, dir, Options{Retention: -1})
		require.Len(t, a.DamagedParts(), 1)
		parts, err := DamagedParts(dir)
		require.NoError(t, err)
		require.Equal(t, a.DamagedParts(), parts)
		require.DirExists(t, filepath.Join(dir, parts[0]))
		require.NoError(t, a.Close())
	}
	_, err = Recover(t.Context(), dir, Options{Retention: -1}, nil, nil)
	require.NoError(t, err)
	parts, err := DamagedParts(dir)
	require.NoError(t, err)
	require.Empty(t, parts)
}

// TestStateNotWritten: an archive whose record cannot be written works, and writes
// it when it can.
func TestStateNotWritten(t *testing.T) {
	noLeaks(t)
	dir := t.TempDir()
	fillDir(t, dir, 3)
	path := filepath.Join(dir, logStateName)
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.MkdirAll(path+".tmp/full", 0o700))
	a := openArchive(t, dir, Options{Retention: -1})
	require.NotZero(t, a.ID())
	require.True(t, a.book.pending())
	require.NoError(t, store(a, numbered(4)))
	require.NoError(t, os.RemoveAll(path+".tmp"))
	require.NoError(t, a.Close())
	require.False(t, a.book.pending())
	require.Equal(t, logID(a.ID()), identity(t, dir))
}

// TestSpans compares them with a table of every sequence.
func TestSpans(t *testing.T) {
	const most = 60
	rapid.Check(t, func(t *rapid.T) {
		var spans []seqSpan
		var table [most]byte // 0: nothing is known
		for _, s := range rapid.SliceOf(rapid.Custom(func(t *rapid.T) seqSpan {
			from := rapid.Uint64Range(1, most-1).Draw(t, "from")
			return seqSpan{from, rapid.Uint64Range(from, most-1).Draw(t, "to"), rapid.Bool().Draw(t, "unsure")}
		})).Draw(t, "spans") {
			spans = addSpan(spans, s)
			for seq := s.From; seq <= s.To; seq++ {
				table[seq] = 1
				if s.Unsure {
					table[seq] = 2
				}
			}
		}
		book := logBook{state: logState{Spans: spans}}
		for i, s := range spans {
			require.LessOrEqual(t, s.From, s.To)
			if i > 0 {
				require.True(t, spans[i-1].To+1 < s.From || spans[i-1].Unsure != s.Unsure && spans[i-1].To < s.From)
			}
		}
		after, before := rapid.Uint64Range(0, most).Draw(t, "after"), rapid.Uint64Range(0, most).Draw(t, "before")
		want, wantSure := uint64(0), true
		for seq := after + 1; seq < before; seq++ {
			if table[seq] == 0 {
				want++
			}
			wantSure = wantSure && table[seq] != 2
		}
		lost, sure := book.lost(after, before)
		require.Equal(t, want, lost)
		require.Equal(t, wantSure, sure)
	})
}

func TestSpansAreBounded(t *testing.T) {
	var spans []seqSpan
	for i := range uint64(2 * maxSpans) {
		spans = addSpan(spans, seqSpan{From: 10 * i, To: 10*i + 3})
	}
	require.Len(t, spans, maxSpans)
	require.Equal(t, seqSpan{From: 0, To: 10*maxSpans + 3, Unsure: true}, spans[0])
	require.Equal(t, seqSpan{From: 20*maxSpans - 10, To: 20*maxSpans - 7}, spans[maxSpans-1])
}

// TestLogStateDecodes: what is on disk may be anything.
func TestLogStateDecodes(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	good := []byte(`{"version":1,"id":"000102030405060708090a0b0c0d0e0f","partition":1,"last":9,"spans":[{"from":3,"to":4}]}`)
	_, _, err := decodeLogState(good)
	require.NoError(t, err)
	for range 2000 {
		b := slices.Clone(good)
		for range 1 + rng.IntN(3) {
			b[rng.IntN(len(b))] = byte(rng.UintN(256))
		}
		if s, id, err := decodeLogState(b); err == nil {
			require.NotZero(t, id)
			require.Equal(t, logStateVersion, s.Version)
		}
	}
	for _, bad := range []string{
		`{"version":1,"id":"000102030405060708090a0b0c0d0e0f","spans":[{"from":4,"to":3}]}`,
		`{"version":1,"id":"000102030405060708090a0b0c0d0e0f","spans":[{"from":4,"to":5},{"from":5,"to":6}]}`,
		`[]`, `null`,
	} {
		_, _, err := decodeLogState([]byte(bad))
		require.ErrorIs(t, err, errLogState, bad)
	}
}

// changed is a volume that gives back another state than was written.
type changed struct {
	volume
	read func([]byte, error) ([]byte, error)
}

func (v changed) readState() ([]byte, error) { return v.read(v.volume.readState()) }

// A probe writes and reads: a disk that loses or changes what it took is found out.
func TestProbeReadsBack(t *testing.T) {
	broken := errors.New("input/output error")
	other := func([]byte, error) ([]byte, error) {
		return []byte(`{"version":1,"id":"0102030405060708090a0b0c0d0e0f10"}`), nil
	}
	for name, row := range map[string]struct {
		read func([]byte, error) ([]byte, error)
		want error
	}{
		"well":    {func(b []byte, err error) ([]byte, error) { return b, err }, nil},
		"fails":   {func([]byte, error) ([]byte, error) { return nil, broken }, broken},
		"lost":    {func([]byte, error) ([]byte, error) { return nil, nil }, errLogState},
		"cut":     {func(b []byte, err error) ([]byte, error) { return b[:len(b)/2], err }, errLogState},
		"another": {other, errLogState},
	} {
		t.Run(name, func(t *testing.T) {
			a := openVolume(t, faultstore.New().Disk(), Options{Retention: -1})
			defer a.Close()
			before := a.book.vol
			a.book.vol = changed{before, row.read}
			require.ErrorIs(t, a.Probe(), row.want)
			a.book.vol = before
			require.NoError(t, a.Probe())
		})
	}
}
