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
	// strangeWait is the least time that a node waits for others when it finds its clock
	// wrong at its start and no other node there, and strangeMore bounds the random time
	// added to it. After that the database's clock may just as well be the wrong one.
	strangeWait = LeaseLife
	strangeMore = 3 * LeaseLife
)

// ClockError says that a node takes no part in registrations because its clock is wrong.
// Registrations end, and wake-ups expire, by the clock of the node that has them: a clock
// that is months ahead would end all of them.
type ClockError struct {
	Off time.Duration // by how much the clock is ahead of the database's
}

// Error implements error.
func (e *ClockError) Error() string {
	return fmt.Sprintf("this computer's clock is %v off the database server's, so that this node leaves the registrations to the others until it is right; turn on time synchronisation at both (timedatectl set-ntp true)",
		e.Off.Round(time.Second))
}

// clock is what a node knows of its own clock and the database's. The wall clock of a
// computer may be set while a program runs, but its monotonic clock cannot be. If the two
// drift apart, this computer's clock was set. If they do not, and the database's clock has
// moved, that one was set. Its methods take no lock.
type clock struct {
	wall func() time.Time // without a monotonic reading

	known   bool          // the other fields are set
	seen    time.Time     // when the database's clock was last read, with a monotonic reading
	shown   time.Time     // what this computer's clock showed then, without one
	off     time.Duration // by how much it was ahead of the database's clock
	allowed time.Duration // by how much it may be ahead, give or take MostSkew: the database's is wrong
	stay    time.Time     // until when to wait for others, at the start; zero: not waiting
}

func newClock() clock { return clock{wall: func() time.Time { return time.Now().Round(0) }} }

// ahead is by how much this computer's clock is ahead now, judged without asking the
// database.
func (c *clock) ahead() time.Duration {
	return c.off + c.wall().Sub(c.shown) - time.Since(c.seen)
}

// right reports whether this computer's clock is known and was not set to a wrong time.
func (c *clock) right() bool { return c.known && (c.ahead()-c.allowed).Abs() <= MostSkew }

// measure returns by how much this computer's clock is ahead of the database's, which showed
// at, in Unix milliseconds, at some time after the query began. It returns the least possible
// value.
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

// note records a measurement.
func (c *clock) note(off, allowed time.Duration) {
	c.known, c.off, c.allowed = true, off, allowed
	c.seen, c.shown = time.Now(), c.wall()
}

// judge judges the measurement of a clock that may be wrong. others reports whether other
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

// agree compares the clocks if this computer's may be wrong, before the node beats. If it is
// wrong the error is a *ClockError, and the leases are those of the other nodes.
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

// wrongLocked notes that this computer's clock is wrong. What was decided by it must not be
// written, even after it is right again. The caller holds mu.
func (s *Shards) wrongLocked() {
	if !s.wrong {
		s.wrong = true
		s.epoch++
	}
}

// Right reports whether this computer's clock was not set to a wrong time since the last
// Beat, judged without asking the database.
func (s *Shards) Right() bool {
	_, right := s.era()
	return right
}

// era returns a number that stays the same as long as this computer's clock is right, and
// whether it is right now.
func (s *Shards) era() (epoch uint64, right bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.clock.right() {
		s.wrongLocked()
	}
	return s.epoch, !s.wrong
}
