// Package storetest is a test suite of what every durable.Store must do:
//
//	func TestStore(t *testing.T) {
//		storetest.Exercise(t, func(t *testing.T) func() (durable.Store, error) {
//			dir := t.TempDir()
//			return func() (durable.Store, error) { return durable.Open(dir, durable.Options{}) }
//		})
//	}
//
// What a power cut, a full disk or a failing fsync leaves is for each store's own
// tests to check. Only tests import this package.
package storetest

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"whisperpush/durable"
)

// Exercise runs the suite. place is called once for each test. It returns a
// function that opens the test's own store, which is empty at first and is opened
// again after it was closed.
func Exercise(t *testing.T, place func(t *testing.T) func() (durable.Store, error)) {
	for name, test := range map[string]func(t *testing.T, open opener){
		"GetPutDelete":            getPutDelete,
		"CopiesBelongToTheCaller": copies,
		"BatchInOrder":            batchInOrder,
		"BatchIsAtomic":           batchIsAtomic,
		"BatchIsReused":           batchIsReused,
		"ScanBounds":              scanBounds,
		"ScanIsASnapshot":         scanIsASnapshot,
		"ScanIsReleased":          scanIsReleased,
		"WritersTogether":         writersTogether,
		"Closed":                  closed,
		"OneAtATime":              oneAtATime,
		"Model":                   model,
	} {
		t.Run(name, func(t *testing.T) { test(t, place(t)) })
	}
}

// opener opens the store of a test.
type opener func() (durable.Store, error)

func (open opener) must(t require.TestingT) durable.Store {
	s, err := open()
	require.NoError(t, err)
	return s
}

// with opens the store, which is closed when the test ends.
func (open opener) with(t *testing.T) durable.Store {
	s := open.must(t)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// batch makes a batch from "key=value" to put and "key" to delete.
func batch(changes ...string) *durable.Batch {
	b := new(durable.Batch)
	for _, c := range changes {
		if key, value, ok := strings.Cut(c, "="); ok {
			b.Put([]byte(key), []byte(value))
		} else {
			b.Delete([]byte(key))
		}
	}
	return b
}

// entries lists a scan as "key=value".
func entries(t require.TestingT, it durable.Iterator) []string {
	list := []string{}
	for it.Next() {
		list = append(list, fmt.Sprintf("%s=%s", it.Key(), it.Value()))
	}
	require.NoError(t, it.Release())
	return list
}

func getPutDelete(t *testing.T, open opener) {
	s := open.with(t)
	require.Empty(t, entries(t, s.Scan(nil, nil)), "a new store is empty")
	_, err := s.Get([]byte("a"))
	require.ErrorIs(t, err, durable.ErrNotFound)
	large := strings.Repeat("x", 1<<20)
	require.NoError(t, s.Write(batch("a=1", "empty=", "large="+large, "\x00\xff=binary")))
	for key, want := range map[string]string{"a": "1", "empty": "", "large": large, "\x00\xff": "binary"} {
		value, err := s.Get([]byte(key))
		require.NoError(t, err, "%q", key)
		require.Equal(t, want, string(value), "%q", key)
	}
	require.NoError(t, s.Write(batch("a=2")))
	value, err := s.Get([]byte("a"))
	require.NoError(t, err)
	require.Equal(t, "2", string(value))
	require.NoError(t, s.Write(batch("a", "never there")), "what is not there can be deleted")
	_, err = s.Get([]byte("a"))
	require.ErrorIs(t, err, durable.ErrNotFound)
	require.NoError(t, s.Write(batch()), "nothing can be written")
}

func copies(t *testing.T, open opener) {
	s := open.with(t)
	key, value := []byte("key"), []byte("value")
	var b durable.Batch
	b.Put(key, value)
	copy(key, "xxx")
	copy(value, "xxxxx")
	require.NoError(t, s.Write(&b))
	for range 2 {
		got, err := s.Get([]byte("key"))
		require.NoError(t, err)
		require.Equal(t, "value", string(got))
		copy(got, "xxxxx") // belongs to us
	}
	require.Equal(t, []string{"key=value"}, entries(t, s.Scan(nil, nil)))
}

func batchInOrder(t *testing.T, open opener) {
	s := open.with(t)
	require.NoError(t, s.Write(batch("a=1", "a", "b=1", "b=2", "c", "c=3")))
	require.Equal(t, []string{"b=2", "c=3"}, entries(t, s.Scan(nil, nil)))
}

// A reader sees each batch that is written meanwhile in full or not at all.
func batchIsAtomic(t *testing.T, open opener) {
	s := open.with(t)
	const keys, rounds = 20, 200
	write := func(round int) error {
		var b durable.Batch
		for k := range keys {
			b.Put(fmt.Appendf(nil, "%02d", k), fmt.Appendf(nil, "%d", round))
		}
		return s.Write(&b)
	}
	require.NoError(t, write(0))
	wrote := make(chan error, 1)
	go func() {
		for round := 1; round < rounds; round++ {
			if err := write(round); err != nil {
				wrote <- err
				return
			}
		}
		wrote <- nil
	}()
	for looks := 0; ; looks++ {
		seen := map[string]int{}
		it := s.Scan(nil, nil)
		for it.Next() {
			seen[string(it.Value())]++
		}
		require.NoError(t, it.Release())
		require.Len(t, seen, 1, "look %d: a batch was seen in part", looks)
		for round, n := range seen {
			require.Equal(t, keys, n, "look %d, round %s", looks, round)
		}
		select {
		case err := <-wrote:
			require.NoError(t, err)
			return
		default:
		}
	}
}

// A written batch belongs to the caller, who may write it again or empty it.
func batchIsReused(t *testing.T, open opener) {
	s := open.with(t)
	b := batch("a=1", "b=1")
	require.Equal(t, 2, b.Len())
	require.NoError(t, s.Write(b))
	require.Equal(t, 2, b.Len())
	require.NoError(t, s.Write(b))
	b.Reset()
	require.Zero(t, b.Len())
	require.NoError(t, s.Write(b))
	b.Delete([]byte("a"))
	require.NoError(t, s.Write(b))
	require.Equal(t, []string{"b=1"}, entries(t, s.Scan(nil, nil)))
}

func scanBounds(t *testing.T, open opener) {
	s := open.with(t)
	// Written out of order; bytes are compared, not letters.
	keys := []string{"b", "a\xff", "", "\xff", "a", "a\x00", "\x00", "aa", "\xff\xff"}
	for _, k := range keys {
		require.NoError(t, s.Write(batch(k+"="+k)))
	}
	slices.Sort(keys)
	bounds := append(slices.Clone(keys), "a\x7f", "c")
	scan := func(from, to []byte) {
		want := []string{}
		for _, k := range keys {
			if (from == nil || bytes.Compare([]byte(k), from) >= 0) && (to == nil || bytes.Compare([]byte(k), to) < 0) {
				want = append(want, k+"="+k)
			}
		}
		require.Equal(t, want, entries(t, s.Scan(from, to)), "from %q to %q", from, to)
	}
	scan(nil, nil)
	for _, from := range bounds {
		scan([]byte(from), nil)
		if from == "" {
			continue // as a bound to, it is below everything, or none
		}
		scan(nil, []byte(from))
		for _, to := range bounds[1:] {
			if from <= to {
				scan([]byte(from), []byte(to))
			}
		}
	}
	require.Equal(t, []string{"a=a", "a\x00=a\x00", "aa=aa", "a\xff=a\xff"}, entries(t, s.Scan(durable.Prefix([]byte("a")))))
	require.Equal(t, []string{"\xff=\xff", "\xff\xff=\xff\xff"}, entries(t, s.Scan(durable.Prefix([]byte("\xff")))))
	require.Len(t, entries(t, s.Scan(durable.Prefix(nil))), len(keys))
}

func scanIsASnapshot(t *testing.T, open opener) {
	s := open.with(t)
	require.NoError(t, s.Write(batch("a=1", "b=1", "c=1")))
	begun, unbegun := s.Scan(nil, nil), s.Scan(nil, nil)
	require.True(t, begun.Next())
	require.NoError(t, s.Write(batch("a=2", "b", "bb=2", "c=2", "d=2")))
	require.Equal(t, []string{"a=1", "b=1", "c=1"}, entries(t, unbegun))
	require.Equal(t, "a=1", fmt.Sprintf("%s=%s", begun.Key(), begun.Value()), "good until the next one")
	require.Equal(t, []string{"b=1", "c=1"}, entries(t, begun))
	require.Equal(t, []string{"a=2", "bb=2", "c=2", "d=2"}, entries(t, s.Scan(nil, nil)))
}

func scanIsReleased(t *testing.T, open opener) {
	s := open.with(t)
	require.NoError(t, s.Write(batch("a=1", "b=1")))
	for begun := range 4 {
		it := s.Scan(nil, nil)
		for n := range begun {
			require.Equal(t, n < 2, it.Next())
		}
		require.NoError(t, it.Release())
		require.NoError(t, it.Release(), "again")
		require.False(t, it.Next(), "after its release")
	}
	// A scan stays at its end.
	it := s.Scan(nil, nil)
	require.True(t, it.Next() && it.Next())
	require.False(t, it.Next() || it.Next() || it.Next())
	require.NoError(t, it.Release())
}

func writersTogether(t *testing.T, open opener) {
	s := open.must(t)
	const writers, each = 16, 25
	errs := make(chan error, writers)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for n := range each {
				key := fmt.Sprintf("%02d-%02d", w, n)
				if err := s.Write(batch(key + "=" + key)); err != nil {
					errs <- err
					return
				}
				if value, err := s.Get([]byte(key)); err != nil || string(value) != key {
					errs <- fmt.Errorf("read %s after it was written: %q, %w", key, value, err)
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	require.NoError(t, <-errs)
	require.NoError(t, s.Close())
	require.Len(t, entries(t, open.with(t).Scan(nil, nil)), writers*each, "after it was opened again")
}

func closed(t *testing.T, open opener) {
	s := open.must(t)
	require.NoError(t, s.Write(batch("a=1")))
	require.NoError(t, s.Close())
	require.NoError(t, s.Close(), "again")
	_, err := s.Get([]byte("a"))
	require.ErrorIs(t, err, durable.ErrClosed)
	require.ErrorIs(t, s.Write(batch("a=2")), durable.ErrClosed)
	it := s.Scan(nil, nil)
	require.False(t, it.Next())
	require.ErrorIs(t, it.Release(), durable.ErrClosed)
	require.ErrorIs(t, it.Release(), durable.ErrClosed, "again")
	require.Equal(t, []string{"a=1"}, entries(t, open.with(t).Scan(nil, nil)))
}

func oneAtATime(t *testing.T, open opener) {
	s := open.must(t)
	_, err := open()
	require.ErrorIs(t, err, durable.ErrLocked)
	require.NoError(t, s.Write(batch("a=1")), "the first is unharmed")
	require.NoError(t, s.Close())
	require.Equal(t, []string{"a=1"}, entries(t, open.with(t).Scan(nil, nil)))
}

// model does anything in any order and compares with a map.
func model(t *testing.T, open opener) {
	rapid.Check(t, func(rt *rapid.T) {
		s := open.must(rt)
		defer func() { require.NoError(rt, s.Close()) }()
		var all durable.Batch // the store is what the last check left
		it := s.Scan(nil, nil)
		for it.Next() {
			all.Delete(it.Key())
		}
		require.NoError(rt, it.Release())
		require.NoError(rt, s.Write(&all))

		want := map[string]string{}
		list := func(from, to []byte) []string {
			out := []string{}
			for _, k := range slices.Sorted(maps.Keys(want)) {
				if (from == nil || k >= string(from)) && (to == nil || k < string(to)) {
					out = append(out, k+"="+want[k])
				}
			}
			return out
		}
		key := rapid.Map(rapid.SliceOfN(rapid.SampledFrom([]byte{0, 'a', 'b', 0xff}), 0, 3), func(b []byte) string { return string(b) })
		value := rapid.StringN(0, 20, -1)
		bound := rapid.Custom(func(t *rapid.T) []byte {
			if b := key.Draw(t, "bound"); b != "" {
				return []byte(b)
			}
			return nil
		})
		type snapshot struct {
			it   durable.Iterator
			want []string
		}
		var scans []snapshot
		release := func() {
			for _, o := range scans {
				require.Equal(rt, o.want, entries(rt, o.it))
			}
			scans = nil
		}
		defer release()
		rt.Repeat(map[string]func(*rapid.T){
			"write": func(t *rapid.T) {
				var b durable.Batch
				for range rapid.IntRange(1, 5).Draw(t, "changes") {
					k := key.Draw(t, "key")
					if rapid.Bool().Draw(t, "delete") {
						b.Delete([]byte(k))
						delete(want, k)
						continue
					}
					v := value.Draw(t, "value")
					b.Put([]byte(k), []byte(v))
					want[k] = v
				}
				require.NoError(t, s.Write(&b))
			},
			"get": func(t *rapid.T) {
				k := key.Draw(t, "key")
				got, err := s.Get([]byte(k))
				if v, ok := want[k]; ok {
					require.NoError(t, err)
					require.Equal(t, v, string(got))
				} else {
					require.ErrorIs(t, err, durable.ErrNotFound)
				}
			},
			"scan": func(t *rapid.T) {
				from, to := bound.Draw(t, "from"), bound.Draw(t, "to")
				if to != nil && bytes.Compare(from, to) > 0 {
					from, to = to, from
				}
				scans = append(scans, snapshot{s.Scan(from, to), list(from, to)})
				if len(scans) > 3 {
					release()
				}
			},
			"reopen": func(t *rapid.T) {
				release()
				require.NoError(t, s.Close())
				s = open.must(t)
			},
			"": func(t *rapid.T) { require.Equal(t, list(nil, nil), entries(t, s.Scan(nil, nil))) },
		})
	})
}
