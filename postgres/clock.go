package postgres

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// MostSkew is how far a node's clock may be from the database's.
	MostSkew = 30 * time.Second
	// strangeWait is how long a node that finds its clock to be wrong at its start, and
	// nobody else there, waits at least for somebody to come, and strangeMore how much
	// longer at most: then the database's clock may as well be the wrong one.
	strangeWait = LeaseLife
	strangeMore = 3 * LeaseLife
)

// ClockError says that a node takes no part in registrations because its clock is wrong.
// They end, and wake-ups expire, by the clock of the node that has them: one that is months
// ahead would end all that it has.
type ClockError struct {
	Off time.Duration // by how much it is ahead of the database's
}

// Error implements error.
func (e *ClockError) Error() string {
	return fmt.Sprintf("this computer's clock is %v off the database server's, so that this node leaves the registrations to the others until it is right; turn on time synchronisation at both (timedatectl set-ntp true)",
		e.Off.Round(time.Second))
}

// clock is what a node knows of its clock and the database's. The clock of a computer may be
// set while a program runs, but its monotonic clock is not: where the two part, it was this
// computer's clock that was set. Where they do not, and the database's is another one than it
// was, it was that. Its methods take no lock.
type clock struct {
	wall func() time.Time // without a monotonic reading

	known   bool          // the rest is
	seen    time.Time     // when the database's clock was looked at last, with a monotonic reading
	shown   time.Time     // what this computer's showed then, without one
	off     time.Duration // by how much it was ahead of the database's
	allowed time.Duration // by how much it may be, give or take MostSkew: the database's is wrong
	stay    time.Time     // until when to wait for others, at the start; zero: there were some
}

func newClock() clock { return clock{wall: func() time.Time { return time.Now().Round(0) }} }

// ahead is by how much this computer's clock is ahead now, as far as it tells by itself.
func (c *clock) ahead() time.Duration {
	return c.off + c.wall().Sub(c.shown) - time.Since(c.seen)
}

// right tells whether this computer's clock has not been set to a wrong time.
func (c *clock) right() bool { return c.known && (c.ahead()-c.allowed).Abs() <= MostSkew }

// measure is by how much this computer's clock is ahead of the database's, which showed at,
// in Unix milliseconds, at some time since a question began. It is the least that may be so.
func (c *clock) measure(at int64, began time.Time) time.Duration {
	most := c.wall().Sub(time.UnixMilli(at))
	least := most - time.Since(began)
	switch {
	case least > 0:
		return least
	case most < 0:
		return most
	}
	return 0
}

// note records what was measured.
func (c *clock) note(off, allowed time.Duration) {
	c.known, c.off, c.allowed = true, off, allowed
	c.seen, c.shown = time.Now(), c.wall()
}

// judge takes what was measured of a clock that may be wrong. others tells whether other
// nodes are there.
func (c *clock) judge(off time.Duration, others bool) error {
	switch {
	case off.Abs() <= MostSkew:
		c.note(off, 0)
		return nil
	case c.known && (off-c.allowed).Abs() <= MostSkew:
		c.note(off, c.allowed)
		return nil
	case c.known: // it was set
		return &ClockError{off}
	case others:
		c.stay = time.Time{}
		return &ClockError{off}
	case c.stay.IsZero():
		c.stay = time.Now().Add(strangeWait + rand.N(strangeMore))
		return &ClockError{off}
	case time.Now().Before(c.stay):
		return &ClockError{off}
	}
	c.note(off, off)
	return nil
}

// agree looks at the clocks if this computer's may be wrong, before the node says that it is
// there. If it is wrong the error is a *ClockError, and the leases are those of others.
func (s *Shards) agree(ctx context.Context) (l Leases, err error) {
	s.mu.Lock()
	right := s.clock.right() && !s.wrong
	s.mu.Unlock()
	if right {
		return l, nil
	}
	began := time.Now()
	var at int64
	var others bool
	rows, err := s.db.pool.Query(ctx, `SELECT s.shard, coalesce(s.node, 0), coalesce(n.address, ''), t.at,
			EXISTS (SELECT FROM `+Schema+`.nodes o WHERE o.node <> $1 AND o.until > t.at)
		FROM (SELECT `+clockSQL+` AS at) AS t CROSS JOIN `+Schema+`.shards s LEFT JOIN `+Schema+`.nodes n ON n.node = s.node`, s.node)
	if err != nil {
		return l, s.db.fault(err)
	}
	var shard int
	var owner Owner
	_, err = pgx.ForEachRow(rows, []any{&shard, &owner.Node, &owner.Address, &at, &others}, func() error { return l.note(shard, owner) })
	if err != nil {
		return l, s.db.fault(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l.Ahead = s.clock.measure(at, began)
	if err := s.clock.judge(l.Ahead, others); err != nil {
		s.wrongLocked()
		return l, err
	}
	s.wrong = false
	return l, nil
}

// clockSQL is the database's clock, in Unix milliseconds.
const clockSQL = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"

// wrongLocked notes that this computer's clock is wrong: what was decided by it is not to
// be written, not even when it is right again. The caller holds mu.
func (s *Shards) wrongLocked() {
	if !s.wrong {
		s.wrong = true
		s.epoch++
	}
}

// Right tells whether this computer's clock has not been set to a wrong time since the last
// Beat, as far as it tells by itself.
func (s *Shards) Right() bool {
	_, right := s.era()
	return right
}

// era is a number that is the same as long as this computer's clock was right all the time,
// and whether it is.
func (s *Shards) era() (epoch uint64, right bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.clock.right() {
		s.wrongLocked()
	}
	return s.epoch, !s.wrong
}
