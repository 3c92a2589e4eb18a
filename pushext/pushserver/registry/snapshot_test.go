package registry

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/rlp"
	"github.com/stretchr/testify/require"

	"whisperpush/durable"
	"whisperpush/durable/faultstore"
	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/topics"
	"whisperpush/pushext/pushserver/vault"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// shelf is a registry on a disk in memory, and its snapshots in a directory.
type shelf struct {
	*Registry
	t    testing.TB
	dir  string
	disk *faultstore.Store
	log  bytes.Buffer // since it was opened
}

func newShelf(t testing.TB) *shelf {
	s := &shelf{t: t, dir: t.TempDir(), disk: faultstore.New()}
	s.open()
	t.Cleanup(func() { s.store.Close() })
	return s
}

func (s *shelf) open() {
	s.t.Helper()
	s.log.Reset()
	store, err := vault.Open(s.dir, shelfSecret, durable.Options{Storage: s.disk})
	require.NoError(s.t, err)
	post := []pushext.Provider{box("post")}
	s.Registry, err = Open(store, Options{Limits: registration.Limits{PerSource: 1000}.WithDefaults(), Providers: post, SkipChallenge: []string{"post"}, Ends: noEnds{}, Logger: slog.New(slog.NewTextHandler(&s.log, nil))})
	require.NoError(s.t, err)
}

// enter writes edits in one change.
func (r *Registry) enter(edits ...edit) error {
	return r.apply(func(c *decision) error {
		for _, e := range edits {
			c.put(e)
		}
		return nil
	})
}

// add registers n devices with channels, which two of them share.
func (s *shelf) add(n, channels int) {
	s.t.Helper()
	var edits []edit
	for range n {
		i := s.count[classLive] + len(edits)
		rec := &Record{Registration: registration.Registration{
			ID: registration.ID(1000 + i), Key: shelfKey(i), Version: 1, State: registration.Active, Expires: time.Now().Add(time.Hour).Truncate(time.Second),
			Routes: []registration.Route{{Provider: "post", Address: pushext.Address{Token: fmt.Sprint(i)}, Proven: true}}, Plain: true,
		}, Proved: true}
		for c := range channels {
			rec.Channels = append(rec.Channels, registration.Channel{Topic: shelfTopic(uint32(i/2*channels + c))})
		}
		rec.due = rec.Expires
		edits = append(edits, edit{next: rec})
	}
	require.NoError(s.t, s.enter(edits...))
}

func shelfKey(i int) [33]byte { return [33]byte{1, byte(i), byte(i >> 8)} }

// stop is a clean stop.
func (s *shelf) stop() {
	s.t.Helper()
	require.NoError(s.t, s.Save(s.t.Context()))
	require.NoError(s.t, s.store.Close())
}

func (s *shelf) path() string { return filepath.Join(s.dir, snapshotName) }

// file is the snapshot's; nil if there is none.
func (s *shelf) file() []byte {
	b, err := os.ReadFile(s.path())
	if !errors.Is(err, os.ErrNotExist) {
		require.NoError(s.t, err)
	}
	return b
}

func (s *shelf) put(file []byte) { require.NoError(s.t, os.WriteFile(s.path(), file, 0o600)) }

// record changes the record in the database, which is closed; nil deletes it.
func (s *shelf) record(change func(*snapshot)) {
	s.t.Helper()
	store, err := vault.Open(s.dir, shelfSecret, durable.Options{Storage: s.disk})
	require.NoError(s.t, err)
	var b durable.Batch
	b.Delete(KeySnapshot)
	if change != nil {
		sealed, err := store.Get(KeySnapshot)
		require.NoError(s.t, err)
		plain, err := store.Open(KeySnapshot, sealed)
		require.NoError(s.t, err)
		var record snapshot
		require.NoError(s.t, rlp.DecodeBytes(plain, &record))
		change(&record)
		plain, err = rlp.EncodeToBytes(&record)
		require.NoError(s.t, err)
		b.Put(KeySnapshot, store.Seal(KeySnapshot, plain))
	}
	require.NoError(s.t, store.Write(&b))
	require.NoError(s.t, store.Close())
}

// restored says whether the registry was opened by a snapshot; it is what a
// registry is that reads everything, either way.
func (s *shelf) restored() bool {
	s.t.Helper()
	other := &Registry{store: s.store, log: s.Registry.log, m: s.m}
	other.next = s.next
	require.NoError(s.t, other.scan())
	require.Equal(s.t, other.tally, s.tally)
	require.Equal(s.t, other.index.Size(), s.index.Size())
	require.Equal(s.t, other.index.Image().Topics, s.index.Image().Topics)
	require.Equal(s.t, other.index.Registrations(), s.index.Registrations())
	require.NoError(s.t, s.index.Verify())
	for n := uint32(0); n < uint32(other.channels); n += 1 + uint32(other.channels)/500 {
		want, got := make(map[registration.ID]int), make(map[registration.ID]int)
		other.Match(shelfTopic(n), time.Now(), func(id registration.ID) { want[id]++ })
		s.Match(shelfTopic(n), time.Now(), func(id registration.ID) { got[id]++ })
		require.Equal(s.t, want, got)
	}
	return s.saved
}

func TestSnapshot(t *testing.T) {
	s := newShelf(t)
	require.False(t, s.restored(), "there is none yet")
	s.stop()
	s.open()
	require.True(t, s.restored(), "of nothing")
	s.add(150, 200) // several pieces of each array
	require.Nil(t, s.file(), "it ended with the first change")
	s.stop()
	first := s.file()
	require.Greater(t, len(first), 2*snapshotPiece)
	s.open()
	require.True(t, s.restored())
	require.Empty(t, s.log.String())

	s.stop()
	require.True(t, bytes.Equal(first, s.file()), "nothing has changed, so nothing is written")
	s.open()
	require.True(t, s.restored())

	// Removed channels and registrations are used again after it.
	_, err := s.Unregister(shelfKey(0), 2, time.Now())
	require.NoError(t, err)
	s.stop()
	s.open()
	require.True(t, s.restored())
	require.NotZero(t, s.index.Image().Spare)
	require.NotZero(t, s.index.Image().Free)
	_, _, err = s.Register(shelfKey(0), "", &pushwire.Register{
		Version: 3, Plain: true, Channels: []pushwire.Channel{{Topic: shelfTopic(0)}}, Routes: []pushwire.Route{{Provider: "post", Address: []byte("0")}},
	}, time.Now())
	require.NoError(t, err)
	require.Zero(t, s.index.Image().Spare)
	s.stop()
	s.open()
	require.True(t, s.restored())
}

// A crash at any step between a stop, a start and the next change.
func TestSnapshotCrash(t *testing.T) {
	for name, crash := range map[string]func(s *shelf, old []byte){
		"while the file is written": func(s *shelf, old []byte) {
			require.NoError(t, s.store.Close())
			require.NoError(t, os.WriteFile(filepath.Join(s.dir, snapshotTemp), old[:len(old)/2], 0o600))
		},
		"before the record": func(s *shelf, _ []byte) {
			_, err := writeSnapshot(context.Background(), s.dir, s.index, s.tally)
			require.NoError(t, err)
			require.NoError(t, s.store.Close())
		},
		"while the record is written": func(s *shelf, _ []byte) {
			var left *faultstore.Store
			s.disk.Disk().OnSync(func(int) {
				if left == nil { // later ones are of the closing
					left = s.disk.Disk().Crash(nil).Store("db")
				}
			})
			require.NoError(t, s.Save(t.Context()))
			require.NoError(t, s.store.Close())
			s.disk = left
		},
		"after a change, before the file is removed": func(s *shelf, _ []byte) {
			s.stop()
			s.open()
			require.True(t, s.restored())
			file := s.file()
			s.add(1, 5)
			require.NoError(t, s.store.Close())
			s.put(file)
		},
		"after a change, and a file of once comes back": func(s *shelf, old []byte) {
			s.stop()
			s.put(old)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShelf(t)
			s.add(20, 5)
			s.stop()
			old := s.file()
			s.open()
			s.add(1, 5)
			crash(s, old)
			s.open()
			require.False(t, s.restored())
			left, err := os.ReadDir(s.dir)
			require.NoError(t, err)
			require.Empty(t, left)
			s.stop()
			s.open()
			require.True(t, s.restored(), "the next stop writes one")
		})
	}
}

// A start after which nothing changed, and a crash: the snapshot still holds.
func TestSnapshotOutlivesAKill(t *testing.T) {
	s := newShelf(t)
	s.add(20, 5)
	s.stop()
	s.open()
	left := s.disk.Disk().Crash(nil).Store("db")
	require.NoError(t, s.store.Close())
	s.disk = left
	s.open()
	require.True(t, s.restored())
}

// What is not as it was written is not used, said once, and gone afterwards.
func TestSnapshotDamaged(t *testing.T) {
	const registrations = 20
	flip := func(at func(size int) int) func(*shelf) {
		return func(s *shelf) {
			file := s.file()
			file[at(len(file))] ^= 0x10
			s.put(file)
		}
	}
	for name, damage := range map[string]func(*shelf){
		"slots":      flip(func(int) int { return 0 }),
		"a tag":      flip(func(int) int { return (registrations+1)*topics.SlotSize + 3 }),
		"words":      flip(func(size int) int { return size / 3 }),
		"postings":   flip(func(size int) int { return size - 100 }),
		"last byte":  flip(func(size int) int { return size - 1 }),
		"cut":        func(s *shelf) { s.put(s.file()[:len(s.file())-1]) },
		"half":       func(s *shelf) { s.put(s.file()[:len(s.file())/2]) },
		"empty":      func(s *shelf) { s.put(nil) },
		"longer":     func(s *shelf) { s.put(append(s.file(), 0)) },
		"gone":       func(s *shelf) { require.NoError(t, os.Remove(s.path())) },
		"unreadable": func(s *shelf) { require.NoError(t, errors.Join(os.Remove(s.path()), os.Mkdir(s.path(), 0o700))) },
		"pieces change place": func(s *shelf) {
			file, at := s.file(), (registrations+1)*topics.SlotSize+gcmOverhead
			one := bytes.Clone(file[at : at+snapshotPiece+gcmOverhead])
			next := file[at+len(one) : at+2*len(one)]
			copy(file[at:], next)
			copy(next, one)
			s.put(file)
		},
		"format": func(s *shelf) { s.record(func(r *snapshot) { r.Format++ }) },
		"key":    func(s *shelf) { s.record(func(r *snapshot) { r.Key[5]++ }) },
		"large":  func(s *shelf) { s.record(func(r *snapshot) { r.Postings = 1 << 62 }) },
		"no power": func(s *shelf) {
			s.record(func(r *snapshot) { r.Words += topics.WordSize; r.Postings -= topics.PostingSize })
		},
		"full":  func(s *shelf) { s.record(func(r *snapshot) { r.Topics = r.Words / topics.WordSize }) },
		"free":  func(s *shelf) { s.record(func(r *snapshot) { r.Free = 1 << 31 }) },
		"spare": func(s *shelf) { s.record(func(r *snapshot) { r.Spare = 1 << 31 }) },
		"used":  func(s *shelf) { s.record(func(r *snapshot) { r.Used = r.Postings }) },
		"even":  func(s *shelf) { s.record(func(r *snapshot) { r.Multiplier = 2 }) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newShelf(t)
			if name == "pieces change place" {
				s.add(registrations, 2000)
			} else {
				s.add(registrations, 20)
			}
			s.stop()
			damage(s)
			s.open()
			require.Contains(t, s.log.String(), "its snapshot cannot be used")
			require.Equal(t, 1, bytes.Count(s.log.Bytes(), []byte("\n")))
			require.False(t, s.restored())
			require.NoFileExists(t, s.path())
			require.NoError(t, s.store.Close())
			s.open()
			require.Empty(t, s.log.String(), "it was said")
			require.False(t, s.restored())
		})
	}
}

// A stop that has no time, or whose disk is full, leaves what can be started from.
func TestSnapshotNotWritten(t *testing.T) {
	s := newShelf(t)
	s.add(20, 5)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.Save(ended), context.Canceled)
	left, err := os.ReadDir(s.dir)
	require.NoError(t, err)
	require.Empty(t, left)
	require.NoError(t, s.store.Close())
	s.open()
	require.False(t, s.restored())

	s.disk.Disk().SetFault(func(op faultstore.Op) error {
		if op.Kind == faultstore.Sync {
			return errors.New("no")
		}
		return nil
	})
	_, _, err = s.Register(shelfKey(1000), "", &pushwire.Register{
		Version: 1, Plain: true, Routes: []pushwire.Route{{Provider: "post", Address: []byte("x")}},
	}, time.Now())
	require.ErrorIs(t, err, durable.ErrWrite)
	s.disk.Disk().SetFault(nil)
	s.stop()
	require.Nil(t, s.file(), "the disk may hold what memory does not")
	s.open()
	require.False(t, s.restored())
}

// FuzzSnapshot reads any record with any file: what it takes for an index has the
// size of the file, and can be asked.
func FuzzSnapshot(f *testing.F) {
	s := newShelf(f)
	s.add(20, 5)
	record, err := writeSnapshot(f.Context(), s.dir, s.index, s.tally)
	require.NoError(f, err)
	file := s.file()
	f.Add(record, file)
	f.Add(record, file[1:])
	f.Add(record[1:], file)
	f.Add([]byte{0xc0}, []byte{})
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, record, file []byte) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, snapshotName), file, 0o600))
		x, _, err := readSnapshot(dir, record)
		if err != nil {
			require.ErrorIs(t, err, errSnapshot)
			return
		}
		size := 0
		for _, array := range x.Arrays() {
			size += len(array)
		}
		require.LessOrEqual(t, size, len(file))
		for n := range uint32(100) {
			x.Match(shelfTopic(n), time.Now(), func(registration.ID) {})
		}
	})
}

// shelfTopic is the n-th of topics that all differ.
func shelfTopic(n uint32) whisper.Topic {
	return whisper.Topic(binary.LittleEndian.AppendUint32(nil, n*2654435761))
}
