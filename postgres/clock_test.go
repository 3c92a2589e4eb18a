package postgres

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/durable"
)

// setClock gives a node a wall clock that can be set: to what is stored, ahead of the real one.
func setClock(s *Shards) *atomic.Int64 {
	var ahead atomic.Int64
	s.clock.wall = func() time.Time { return time.Now().Round(0).Add(time.Duration(ahead.Load())) }
	return &ahead
}

// requireWrong demands that a node takes no part, and returns what it is told of the others.
func requireWrong(t *testing.T, s *Shards, off time.Duration) Leases {
	t.Helper()
	l, err := s.Beat(background)
	var wrong *ClockError
	require.ErrorAs(t, err, &wrong)
	require.InDelta(t, off.Seconds(), wrong.Off.Seconds(), 10)
	require.ErrorContains(t, err, "time synchronisation")
	require.Zero(t, l.Part)
	require.True(t, l.Until.IsZero())
	require.False(t, s.Right())
	return l
}

// A node whose clock is set to a wrong time holds nothing from that moment, before it has
// asked anybody; what it has decided is not written then, and not when the clock is right
// again. Meanwhile another one has its shards.
func TestShardsOfAClockThatIsSet(t *testing.T) {
	d := opened(t, database(t), Options{})
	a, b := d.Shards("a", nil), d.Shards("b", nil)
	ahead := setClock(a)
	settle(t, a, b)
	shard := beat(t, a).Mine(a.Node())[0]
	store, err := a.Open(background, shard)
	require.NoError(t, err)
	defer func() { require.NoError(t, store.Close()) }()
	require.NoError(t, store.Write(put("k", "v")))

	for _, off := range []time.Duration{45 * 24 * time.Hour, -45 * 24 * time.Hour} {
		ahead.Store(int64(off))
		_, held := a.holds()
		require.False(t, held)
		require.False(t, a.Right())
		ahead.Store(0)
		require.True(t, beat(t, a).Owners[shard].Node == a.Node(), "it was wrong for less than a beat")
		_, held = a.holds()
		require.True(t, held)
		require.ErrorIs(t, store.Write(put("k", "decided by a wrong clock")), durable.ErrWrite)
		<-store.Lost()

		ahead.Store(int64(off))
		l := requireWrong(t, a, off)
		require.Equal(t, "a", l.Owners[shard].Address, "it knows who has what")
		require.NoError(t, a.Leave(background))
		require.Len(t, beat(t, b).Mine(b.Node()), ShardCount)
		l = requireWrong(t, a, off)
		require.Len(t, l.Mine(b.Node()), ShardCount)
		ahead.Store(0)
		settle(t, a, b)
		require.NoError(t, store.Close())
		store, err = a.Open(background, beat(t, a).Mine(a.Node())[0])
		require.NoError(t, err)
		require.NoError(t, store.Write(put("k", "v")))
		shard = beat(t, a).Mine(a.Node())[0]
	}
	ahead.Store(int64(MostSkew / 2))
	beat(t, a)
	require.True(t, a.Right())
	require.NoError(t, store.Write(put("k", "v")), "a little is no harm")
}

// Nobody steps aside for a database whose clock is set: all nodes would.
func TestShardsOfADatabaseWhoseClockIsSet(t *testing.T) {
	d := opened(t, database(t), Options{})
	a := d.Shards("a", nil)
	var real atomic.Int64
	// As the node sees it: its clock is another one than the database's, and was not set.
	a.clock.wall = func() time.Time { return time.Now().Round(0).Add(time.Duration(real.Load())) }
	beat(t, a)
	a.mu.Lock()
	real.Store(int64(2 * time.Hour))
	a.clock.shown = a.clock.shown.Add(2 * time.Hour)
	a.mu.Unlock()
	require.True(t, a.Right())
	l := beat(t, a)
	require.InDelta(t, (2 * time.Hour).Seconds(), l.Ahead.Seconds(), 10)
	require.Len(t, l.Mine(a.Node()), ShardCount)
	require.True(t, a.Right())

	real.Store(0) // its own clock is set now, to the database's wrong time
	require.False(t, a.Right())
	beat(t, a)
	require.True(t, a.Right(), "then both agree")
}

// A node that is started with a wrong clock takes no shards of others, and begins by itself
// when nobody comes.
func TestShardsOfAClockThatIsWrongFromTheStart(t *testing.T) {
	d := opened(t, database(t), Options{})
	a, b := d.Shards("a", nil), d.Shards("b", nil)
	ahead := setClock(a)
	ahead.Store(int64(time.Hour))
	beat(t, b)
	requireWrong(t, a, time.Hour)
	require.True(t, a.clock.stay.IsZero(), "somebody is there")
	require.NoError(t, b.Leave(background))
	requireWrong(t, a, time.Hour)
	require.False(t, a.clock.stay.IsZero())
	a.clock.stay = time.Now()
	require.Len(t, beat(t, a).Mine(a.Node()), ShardCount)
	require.True(t, a.Right())
	ahead.Store(0)
	require.False(t, a.Right(), "it is set right")
	require.Len(t, beat(t, a).Mine(a.Node()), ShardCount)
	require.True(t, a.Right())
}
