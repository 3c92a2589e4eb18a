package durable

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/syndtr/goleveldb/leveldb"
)

func put(k, v string) *leveldb.Batch {
	b := new(leveldb.Batch)
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
	require.ErrorIs(t, err, leveldb.ErrNotFound)
	it := d.NewIterator(nil)
	defer it.Release()
	var keys []string
	for it.Next() {
		keys = append(keys, string(it.Key()))
	}
	require.NoError(t, it.Error())
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
