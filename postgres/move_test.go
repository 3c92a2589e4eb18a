package postgres

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"whisperpush/durable"
)

// Nodes share a database, a move has it alone, and each is told what is in its way.
func TestAlone(t *testing.T) {
	url := database(t)
	_, err := OpenAsIs(background, url, Options{})
	require.ErrorIs(t, err, ErrOlder)
	d, other := opened(t, url, Options{}), opened(t, url, Options{})
	one, err := d.Join(background)
	require.NoError(t, err)
	two, err := other.Join(background)
	require.NoError(t, err)
	_, err = other.Alone(background)
	require.ErrorIs(t, err, ErrInUse)
	require.ErrorContains(t, err, "by a node on 127.0.0.1; stop that first")
	one.End()
	_, err = other.Alone(background)
	require.ErrorIs(t, err, ErrInUse)
	two.End()

	alone, err := other.Alone(background)
	require.NoError(t, err)
	_, err = d.Join(background)
	require.ErrorIs(t, err, ErrInUse)
	require.ErrorContains(t, err, "by wnode move on 127.0.0.1")
	_, err = d.Alone(background)
	require.ErrorIs(t, err, ErrInUse)
	select {
	case <-alone.Lost():
		t.Fatal("it is there")
	default:
	}
	_, err = d.pool.Exec(background, "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND classid = $1", uint32(presenceClass))
	require.NoError(t, err)
	<-alone.Lost()
	alone.End()

	// A node of before is known by its leases.
	before := d.Shards("10.0.0.7:30310", nil)
	_, err = before.Beat(background)
	require.NoError(t, err)
	_, err = other.Alone(background)
	require.ErrorIs(t, err, ErrInUse)
	require.ErrorContains(t, err, "10.0.0.7:30310")
	require.NoError(t, before.Leave(background))
	alone, err = other.Alone(background)
	require.NoError(t, err)
	alone.End()
	asIs, err := OpenAsIs(background, url, Options{})
	require.NoError(t, err)
	asIs.Close()
}

// No node starts on the half of what is moved.
func TestMoveMark(t *testing.T) {
	d := OpenForTest(t)
	mark, err := d.MoveMark(background)
	require.NoError(t, err)
	require.Nil(t, mark)
	for _, text := range []string{"first", "second"} {
		require.NoError(t, d.SetMoveMark(background, []byte(text)))
		mark, err = d.MoveMark(background)
		require.NoError(t, err)
		require.Equal(t, text, string(mark))
	}
	_, err = d.Join(background)
	require.ErrorIs(t, err, ErrMoving)
	alone, err := d.Alone(background)
	require.NoError(t, err)
	archived, registered, err := d.Contents(background)
	require.NoError(t, err)
	require.False(t, archived || registered, "the mark is none of it")
	require.NoError(t, d.SetMoveMark(background, nil))
	require.NoError(t, d.SetMoveMark(background, nil), "again")
	alone.End()
	p, err := d.Join(background)
	require.NoError(t, err)
	p.End()
}

// Entries written into shards that nobody has open are there for the next owner, and for a reader. An owner that had one
// open before can no longer write to it.
func TestPutShards(t *testing.T) {
	d := OpenForTest(t)
	former, err := d.Store(background, shardName(3))
	require.NoError(t, err)
	write := func(key string) error {
		var b durable.Batch
		b.Put([]byte(key), nil)
		return former.Write(&b)
	}
	require.NoError(t, write("before"))
	_, registered, err := d.Contents(background)
	require.NoError(t, err)
	require.True(t, registered)
	require.NoError(t, d.ClearShards(background))
	require.ErrorIs(t, write("after"), durable.ErrLocked)
	require.NoError(t, former.Close())
	var entries []ShardEntry
	const n = 2500
	for i := range n {
		entries = append(entries, ShardEntry{i % ShardCount, []byte(fmt.Sprintf("key %04d", i)), []byte{byte(i)}})
		entries = append(entries, ShardEntry{3, []byte(fmt.Sprintf("more %04d", i)), nil})
	}
	for _, some := range slices.Collect(slices.Chunk(entries, 999)) {
		require.NoError(t, d.PutShards(background, some))
		require.NoError(t, d.PutShards(background, some), "again")
	}
	require.NoError(t, d.Analyze(background))
	read := func(s durable.Store, from, to []byte) (keys []string) {
		it := s.Scan(from, to)
		for it.Next() {
			keys = append(keys, string(it.Key()))
			if it.Key()[0] == 'm' {
				require.Empty(t, it.Value())
			}
		}
		require.NoError(t, it.Release())
		return keys
	}
	for _, shard := range []int{0, 3, 15} {
		asIs := d.ReadShard(shard)
		opened, err := d.Store(background, shardName(shard))
		require.NoError(t, err)
		for _, prefix := range []string{"", "key 1", "more", "nothing"} {
			from, to := durable.Prefix([]byte(prefix))
			require.Equal(t, read(opened, from, to), read(asIs, from, to), "shard %d, %q", shard, prefix)
		}
		require.NoError(t, opened.Close())
		_, err = asIs.Get([]byte("none"))
		require.ErrorIs(t, err, durable.ErrNotFound)
		require.ErrorIs(t, asIs.Write(new(durable.Batch)), durable.ErrWrite)
	}
	value, err := d.ReadShard(0).Get([]byte("key 0016"))
	require.NoError(t, err)
	require.Equal(t, []byte{16}, value)
	require.Len(t, read(d.ReadShard(3), nil, nil), n+n/ShardCount+1)
	require.NoError(t, d.ClearShards(background))
	require.Empty(t, read(d.ReadShard(3), nil, nil))
}
