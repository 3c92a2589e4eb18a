package durable

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func put(k, v string) *Batch {
	b := new(Batch)
	b.Put([]byte(k), []byte(v))
	return b
}

func TestWriteSurvivesReopen(t *testing.T) {
	dir := t.TempDir() + "/a/b"
	d, err := Open(dir, Options{})
	require.NoError(t, err)
	require.NoError(t, d.Write(put("k", "v")))
	require.NoError(t, d.WriteUnsynced(put("l", "w")))
	require.NoError(t, d.Close())
	require.NoError(t, d.Close())
	require.ErrorIs(t, d.Write(put("x", "y")), ErrClosed)

	d, err = Open(dir, Options{})
	require.NoError(t, err)
	defer d.Close()
	v, err := d.Get([]byte("k"))
	require.NoError(t, err)
	require.Equal(t, "v", string(v))
	_, err = d.Get([]byte("nothing"))
	require.ErrorIs(t, err, ErrNotFound)
	it := d.Scan(nil, nil)
	defer it.Release()
	var keys []string
	for it.Next() {
		keys = append(keys, string(it.Key()))
	}
	require.NoError(t, it.Release())
	require.Equal(t, []string{"k", "l"}, keys)
}

func TestSecondOpenIsRefused(t *testing.T) {
	dir := t.TempDir()
	d, err := Open(dir, Options{})
	require.NoError(t, err)
	defer d.Close()
	_, err = Open(dir, Options{})
	require.ErrorIs(t, err, ErrLocked)
	require.ErrorContains(t, err, dir)
	require.NoError(t, d.Write(put("k", "v")), "the first is unharmed")
}

func TestBackwardAndOnce(t *testing.T) {
	d, err := Open(t.TempDir(), Options{})
	require.NoError(t, err)
	defer d.Close()
	for _, k := range []string{"c", "a", "d", "b"} {
		require.NoError(t, d.Write(put(k, k)))
	}
	list := func(it Iterator) (keys string) {
		for it.Next() {
			require.Equal(t, it.Key(), it.Value())
			keys += string(it.Key())
		}
		require.False(t, it.Next(), "it stays at its end")
		require.NoError(t, it.Release())
		return keys
	}
	for _, bounds := range [][2]string{{"", ""}, {"b", ""}, {"", "d"}, {"b", "d"}, {"bb", "cc"}, {"e", ""}, {"", "a"}, {"b", "b"}} {
		from, to := []byte(bounds[0]), []byte(bounds[1])
		if len(to) == 0 {
			to = nil
		}
		forward := list(d.Scan(from, to))
		require.Equal(t, forward, list(d.ScanOnce(from, to)), "%q", bounds)
		reversed := []byte(forward)
		slices.Reverse(reversed)
		require.Equal(t, string(reversed), list(d.Backward(from, to)), "%q", bounds)
	}
	require.Equal(t, "dcba", list(d.Backward(nil, nil)))
}
