package postgres

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/durable"
)

// beat renews a node's leases.
func beat(t *testing.T, s *Shards) Leases {
	t.Helper()
	l, err := s.Beat(background)
	require.NoError(t, err)
	return l
}

// settle lets nodes beat, and give back what they have above their part, until each has it.
func settle(t *testing.T, nodes ...*Shards) {
	t.Helper()
	for range 4 {
		for _, s := range nodes {
			l := beat(t, s)
			mine := l.Mine(s.Node())
			for _, shard := range mine[min(l.Part, len(mine)):] {
				require.NoError(t, s.Release(background, shard))
			}
		}
	}
	owners := map[int64]int{}
	for _, owner := range beat(t, nodes[0]).Owners {
		owners[owner.Node]++
	}
	require.Zero(t, owners[0], "every shard has an owner")
	require.Len(t, owners, len(nodes))
	for _, s := range nodes {
		require.InDelta(t, ShardCount/len(nodes), owners[s.Node()], 1)
	}
}

// expire ends the leases of a node as if nothing had been heard of it for long.
func expire(t *testing.T, s *Shards) {
	t.Helper()
	_, err := s.db.pool.Exec(background, "UPDATE "+Schema+".nodes SET until = 0 WHERE node = $1", s.node)
	require.NoError(t, err)
}

// Shards are shared out evenly, and again whenever a node joins, leaves or dies.
func TestShardsMove(t *testing.T) {
	d := opened(t, database(t), Options{})
	var nodes []*Shards
	for range 5 {
		nodes = append(nodes, d.Shards("127.0.0.1:1", []byte("keys")))
	}
	first := beat(t, nodes[0])
	require.Len(t, first.Mine(nodes[0].Node()), ShardCount)
	require.Equal(t, "127.0.0.1:1", first.Owners[0].Address)
	settle(t, nodes[0], nodes[1])
	settle(t, nodes[:3]...)
	require.NoError(t, nodes[0].Leave(background))
	settle(t, nodes[1:3]...)
	expire(t, nodes[1])
	settle(t, nodes[2])
	settle(t, nodes...)

	stranger := d.Shards("127.0.0.1:1", []byte("other keys"))
	_, err := stranger.Beat(background)
	require.ErrorIs(t, err, ErrOtherKeys)
	settle(t, nodes...)
}

// While the database was away no lease went on: nobody could renew any.
func TestShardsOutliveTheDatabasesAbsence(t *testing.T) {
	d := opened(t, database(t), Options{})
	a, b := d.Shards("a", nil), d.Shards("b", nil)
	settle(t, a, b)
	before := beat(t, a)
	for _, jump := range []time.Duration{time.Hour, -2 * time.Hour} { // as the database sees it
		_, err := d.pool.Exec(background, "UPDATE "+Schema+".heard SET at = at - $1", jump.Milliseconds())
		require.NoError(t, err)
		_, err = d.pool.Exec(background, "UPDATE "+Schema+".nodes SET until = until - $1", jump.Milliseconds())
		require.NoError(t, err)
		require.Equal(t, before.Owners, beat(t, a).Owners)
		require.Equal(t, before.Owners, beat(t, b).Owners)
	}
	expire(t, b) // and a node that died is still noticed
	require.Len(t, beat(t, a).Mine(a.Node()), ShardCount)
}

// A node that was paused and wakes up late can change nothing in a shard that it had, nor
// open it.
func TestShardsFence(t *testing.T) {
	d := opened(t, database(t), Options{})
	late, heir := d.Shards("late", nil), d.Shards("heir", nil)
	beat(t, late)
	s, err := late.Open(background, 3)
	require.NoError(t, err)
	defer s.Close()
	require.NoError(t, s.Write(put("key", "the late one's")))
	_, err = heir.Open(background, 3)
	require.ErrorIs(t, err, durable.ErrLocked)

	expire(t, late)
	beat(t, heir)
	next, err := heir.Open(background, 3)
	require.NoError(t, err)
	defer next.Close()
	require.NoError(t, next.Write(put("other", "the heir's")))

	require.ErrorIs(t, s.Write(put("key", "too late")), durable.ErrLocked)
	<-s.Lost()
	_, err = late.Open(background, 3)
	require.ErrorIs(t, err, durable.ErrLocked)
	requireValue(t, next, "key", "the late one's")
	require.NoError(t, next.Write(put("key", "the heir's")))

	found, err := heir.Others(background, 4, []byte("k"), 10)
	require.NoError(t, err)
	require.Equal(t, []ShardEntry{{3, []byte("key"), []byte("the heir's")}}, found)
	found, err = heir.Others(background, 3, []byte("k"), 10)
	require.NoError(t, err)
	require.Empty(t, found)
}

// Registrations of a version that knew no shards are not passed over.
func TestUndividedRegistrations(t *testing.T) {
	d := opened(t, database(t), Options{})
	require.NoError(t, d.Shards("a", nil).Check(background))
	require.NoError(t, store(t, d, "push").Write(put("key", "a registration")))
	require.ErrorIs(t, d.Shards("a", nil).Check(background), ErrUndivided)
}

// Two nodes that beat at the same time never have one shard both.
func TestShardsHaveOneOwner(t *testing.T) {
	d := opened(t, database(t), Options{})
	ctx, cancel := context.WithCancel(background)
	defer cancel()
	results := make(chan error, 4)
	for range cap(results) {
		go func() {
			s := d.Shards("x", nil)
			for range 20 {
				l, err := s.Beat(ctx)
				if err != nil {
					results <- err
					return
				}
				mine := l.Mine(s.Node())
				for _, shard := range mine {
					store, err := s.Open(ctx, shard)
					if err != nil {
						results <- err
						return
					}
					err = store.Write(put("key", "value"))
					store.Close()
					if err != nil {
						results <- err
						return
					}
				}
				for _, shard := range mine[min(l.Part, len(mine)):] {
					if err := s.Release(ctx, shard); err != nil {
						results <- err
						return
					}
				}
			}
			results <- nil
		}()
	}
	for range cap(results) {
		require.NoError(t, <-results)
	}
}
