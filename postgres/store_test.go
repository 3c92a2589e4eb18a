package postgres

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/durable"
	"whisperpush/durable/storetest"
)

func TestStore(t *testing.T) {
	storetest.Exercise(t, func(t *testing.T) func() (durable.Store, error) {
		d := opened(t, database(t), Options{})
		return func() (durable.Store, error) { return d.Store(background, "push") }
	})
}

// store opens one until the test ends.
func store(t *testing.T, d *DB, name string) *Store {
	s, err := d.Store(background, name)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func put(key, value string) *durable.Batch {
	b := new(durable.Batch)
	b.Put([]byte(key), []byte(value))
	return b
}

func requireValue(t *testing.T, s durable.Store, key, want string) {
	t.Helper()
	value, err := s.Get([]byte(key))
	require.NoError(t, err)
	require.Equal(t, want, string(value))
}

// Stores of one database know nothing of each other.
func TestStoresApart(t *testing.T) {
	d := opened(t, database(t), Options{})
	one, other := store(t, d, "one"), store(t, d, "other")
	require.NoError(t, one.Write(put("key", "one's")))
	require.NoError(t, other.Write(put("key", "other's")))
	requireValue(t, one, "key", "one's")
	requireValue(t, other, "key", "other's")
	_, err := d.Store(background, "Robert'); DROP TABLE")
	require.ErrorContains(t, err, "cannot be called")
}

// A scan that is longer than one answer is of one moment, ends with its store, and
// leaves no connection behind.
func TestScanOfMany(t *testing.T) {
	d := opened(t, database(t), Options{Connections: 2})
	s, err := d.Store(background, "push")
	require.NoError(t, err)
	const many = 10*scanRows + 1
	var b durable.Batch
	for n := range many {
		b.Put(fmt.Appendf(nil, "%06d", n), []byte("before"))
	}
	require.NoError(t, s.Write(&b))
	for range 5 {
		it := s.Scan(nil, nil)
		require.True(t, it.Next())
		require.NoError(t, s.Write(put("000001", "after")))
		n := 1
		for ; it.Next(); n++ {
			require.Equal(t, fmt.Sprintf("%06d", n), string(it.Key()))
			require.Equal(t, "before", string(it.Value()))
		}
		require.Equal(t, many, n)
		require.NoError(t, it.Release())
		require.NoError(t, s.Write(put("000001", "before")))
	}
	it := s.Scan(nil, nil)
	require.True(t, it.Next())
	require.NoError(t, s.Close())
	require.False(t, it.Next())
	require.ErrorIs(t, it.Release(), durable.ErrClosed)
}

// An owner whose lock was lost with its connection changes nothing after another has
// taken over, however late it comes.
func TestFormerOwnerChangesNothing(t *testing.T) {
	url := database(t)
	a, b := opened(t, url, Options{}), opened(t, url, Options{})
	first := store(t, a, "push")
	require.NoError(t, first.Write(put("key", "first")))
	_, err := b.Store(background, "push")
	require.ErrorIs(t, err, durable.ErrLocked)

	// The second waits at the door and gets in when the first one's connection is cut.
	first.lock.release()
	second := store(t, b, "push")
	first.lock, err = a.lock(background, -1) // to be released in its stead
	require.NoError(t, err)
	require.NoError(t, second.Write(put("key", "second")))
	err = first.Write(put("key", "late"))
	require.ErrorIs(t, err, durable.ErrLocked)
	require.ErrorIs(t, err, durable.ErrWrite)
	<-first.Lost()
	requireValue(t, second, "key", "second")
	_, err = first.Get([]byte("key"))
	require.ErrorIs(t, err, durable.ErrLocked)
}

// The lock comes back after its connection was cut, and nobody else gets it meanwhile
// for longer than that takes.
func TestLockIsTakenAgain(t *testing.T) {
	url := database(t)
	d := opened(t, url, Options{})
	s := store(t, d, "push")
	super, err := Open(background, server.Superuser(d.config.ConnConfig.Database), Options{})
	require.NoError(t, err)
	defer super.Close()
	holder := func() (pid int32) {
		require.Eventually(t, func() bool {
			return super.pool.QueryRow(background, "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND classid = $1 AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())", uint32(lockClass)).Scan(&pid) == nil
		}, 20*time.Second, 10*time.Millisecond)
		return pid
	}
	before := holder()
	_, err = super.pool.Exec(background, "SELECT pg_terminate_backend($1, 10000)", before)
	require.NoError(t, err)
	require.NotEqual(t, before, holder())
	require.NoError(t, s.Write(put("key", "value")))
	_, err = d.Store(background, "push")
	require.ErrorIs(t, err, durable.ErrLocked)
}

// The same attempt of a write counts once, and one that was given up does not count
// later.
func TestAttemptsCountOnce(t *testing.T) {
	d := opened(t, database(t), Options{})
	s := store(t, d, "push")
	attempt := func(term, number int64, value string) (answer string) {
		require.NoError(t, d.pool.QueryRow(background, "SELECT "+Schema+".store_write($1, $2, $3, $4, $5, $6)", s.id, term, number,
			[][]byte{}, [][]byte{[]byte("key")}, [][]byte{[]byte(value)}).Scan(&answer))
		return answer
	}
	require.NoError(t, s.Write(put("key", "1")))
	require.Equal(t, "before", attempt(s.term, s.number, "2"))
	require.Equal(t, "skipped", attempt(s.term, s.number+2, "2"))
	require.Equal(t, "fenced", attempt(s.term+1, s.number+1, "2"))
	requireValue(t, s, "key", "1")

	// An attempt whose answer was lost: it is committed, and the store does not know.
	require.Equal(t, "written", attempt(s.term, s.number+1, "given up"))
	term := s.term
	s.unsure = true
	require.NoError(t, s.Write(put("key", "3")))
	require.NotEqual(t, term, s.term)
	require.Equal(t, "fenced", attempt(term, s.number+1, "late"))
	requireValue(t, s, "key", "3")
}

// While the server is away writes wait; what was acknowledged is there when it is back.
func TestServerIsKilledWhileWriting(t *testing.T) {
	d := opened(t, database(t), Options{Patience: time.Minute})
	s := store(t, d, "push")
	const writers, each = 8, 150
	errs := make(chan error, writers)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for n := range each {
				if err := s.Write(put(fmt.Sprintf("%d-%d", w, n), "value")); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	for range 2 {
		require.NoError(t, server.Kill())
		require.NoError(t, server.Start(background))
	}
	wg.Wait()
	close(errs)
	require.NoError(t, <-errs)
	n := 0
	it := s.Scan(nil, nil)
	for it.Next() {
		n++
	}
	require.NoError(t, it.Release())
	require.Equal(t, writers*each, n)
}

// A server that stays away is told of, and used again when it is back.
func TestServerIsAway(t *testing.T) {
	d := opened(t, database(t), Options{Patience: time.Second})
	s := store(t, d, "push")
	require.NoError(t, s.Write(put("key", "before")))
	require.NoError(t, server.Halt())
	err := s.Write(put("key", "away"))
	require.ErrorIs(t, err, durable.ErrWrite)
	require.ErrorIs(t, err, ErrAway)
	_, err = s.Get([]byte("key"))
	require.ErrorIs(t, err, ErrAway)
	require.ErrorIs(t, s.Scan(nil, nil).Release(), ErrAway)
	require.NoError(t, server.Start(background))
	require.Eventually(t, func() bool { return s.Write(new(durable.Batch)) == nil }, 20*time.Second, time.Millisecond)
	requireValue(t, s, "key", "before")
	require.NoError(t, s.Write(put("key", "after")))
	requireValue(t, s, "key", "after")
}

func TestKeyTooLong(t *testing.T) {
	s := store(t, opened(t, database(t), Options{}), "push")
	var b durable.Batch
	b.Put(make([]byte, MaxKey+1), nil)
	require.ErrorIs(t, s.Write(&b), durable.ErrWrite)
	b.Reset()
	b.Put(make([]byte, MaxKey), nil)
	require.NoError(t, s.Write(&b))
}
