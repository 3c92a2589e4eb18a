package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"whisperpush/durable"
)

const (
	// ShardCount is how many stores the registrations of a database are divided into.
	// It is fixed: which registration is in which shard follows from it.
	ShardCount = 16
	// LeaseLife is how long a node has its shards after it was heard of last.
	LeaseLife = 3 * time.Second
	// BeatEvery is how often a node is to be heard of.
	BeatEvery = 500 * time.Millisecond
	// leaseMargin is how much earlier a node stops to believe in its leases than the
	// database ends them.
	leaseMargin = 500 * time.Millisecond
)

// ErrOtherKeys says that nodes with other keys share the database's registrations.
var ErrOtherKeys = errors.New("the nodes that share this database's registrations have another push key or disk key; give this one copies of theirs")

// ErrUndivided says that the registrations are as a version before shards kept them.
var ErrUndivided = errors.New("the registrations are in one store, as a version before kept them that knew no shards; this version does not divide them: use that version, or delete the rows of the store push in whisperpush.entries, and devices register again")

// formerStore is where that version kept them.
const formerStore = "push"

// Shards is one node's part in registrations that several nodes share. They are divided
// into ShardCount stores, each of which has one owner at a time: the node that has its
// lease. A lease is renewed by Beat, and ends LeaseLife after the last one. An owner
// opens the store with Open; from then on no former owner can write to it. Methods may be
// called concurrently.
type Shards struct {
	db      *DB
	node    int64
	address string

	mu    sync.Mutex // guards the following fields
	keys  []byte
	until time.Time // of the latest Leases
	terms uint64    // counts how often the leases have ended before they were renewed
	clock clock
	wrong bool   // the clock was found to be wrong, and not right since
	epoch uint64 // counts how often that was so
}

// Owner is the node that has a shard.
type Owner struct {
	Node    int64  // 0: nobody has it now
	Address string // where other nodes reach it
}

// Leases is who has which shard, as of one beat.
type Leases struct {
	Owners [ShardCount]Owner
	Part   int           // how many shards the node is to have
	Until  time.Time     // by this computer's clock: then the node has none any more, unless it was heard of meanwhile
	Ahead  time.Duration // by how much this computer's clock is ahead of the database's
}

// note records who has a shard.
func (l *Leases) note(shard int, owner Owner) error {
	if shard < 0 || shard >= ShardCount {
		return fmt.Errorf("%w: there is a shard %d", ErrForeign, shard)
	}
	l.Owners[shard] = owner
	return nil
}

// Mine returns which shards a node has.
func (l Leases) Mine(node int64) (list []int) {
	for shard, owner := range l.Owners {
		if owner.Node == node {
			list = append(list, shard)
		}
	}
	return list
}

// Shards returns the part of a new node, which joins with its first Beat. Others reach it
// at the address. keys are the same for all nodes that may share registrations, and for
// no others; they are stored as they are.
func (d *DB) Shards(address string, keys []byte) *Shards {
	return &Shards{db: d, node: newTerm(), address: address, keys: notNil(keys), clock: newClock()}
}

// Node is the number of this node.
func (s *Shards) Node() int64 { return s.node }

// Check says whether the database has registrations that are not divided: then the error
// wraps ErrUndivided.
func (s *Shards) Check(ctx context.Context) error {
	var undivided bool
	err := s.db.again(ctx, func(ctx context.Context) error {
		return s.db.pool.QueryRow(ctx, "SELECT EXISTS (SELECT FROM "+Schema+".entries e JOIN "+Schema+".stores s ON s.id = e.store WHERE s.name = $1)", formerStore).Scan(&undivided)
	})
	if err == nil && undivided {
		err = fmt.Errorf("%s: %w", s.db, ErrUndivided)
	}
	return err
}

// Beat renews the node's leases and gives it free shards up to its part. The node is to
// Release what it has above its part. The error wraps ErrOtherKeys or is one of this
// package's; the leases then go on until they end. It is a *ClockError if the node is to take
// no part: then the leases tell what others have, and the node is to Leave.
func (s *Shards) Beat(ctx context.Context) (l Leases, err error) {
	ctx, cancel := context.WithTimeout(ctx, LeaseLife)
	defer cancel()
	if l, err := s.agree(ctx); err != nil {
		return l, err
	}
	started := time.Now()
	rows, err := s.db.pool.Query(ctx, "SELECT a_shard, a_node, an_address, part, "+clockSQL+" FROM "+Schema+".shards_beat($1, $2, $3, $4)",
		s.node, s.address, s.mark(), LeaseLife.Milliseconds())
	if err != nil {
		return l, s.db.fault(err)
	}
	var shard, seen int
	var owner Owner
	var at int64
	_, err = pgx.ForEachRow(rows, []any{&shard, &owner.Node, &owner.Address, &l.Part, &at}, func() error {
		seen++
		return l.note(shard, owner)
	})
	switch {
	case err != nil:
		return l, s.db.fault(err)
	case seen == 0:
		return l, ErrOtherKeys
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l.Ahead = s.clock.measure(at, started)
	if !s.clock.right() { // it was set meanwhile
		s.wrongLocked()
		l.Part = 0
		return l, &ClockError{l.Ahead}
	}
	allowed := time.Duration(0)
	if l.Ahead.Abs() > MostSkew { // the database's was
		allowed = l.Ahead
	}
	s.clock.note(l.Ahead, allowed)
	l.Until = started.Add(LeaseLife - leaseMargin)
	if time.Now().After(s.until) {
		s.terms++ // others may have had its shards meanwhile
	}
	if l.Until.After(s.until) {
		s.until = l.Until
	}
	return l, nil
}

// holds tells whether the node's leases hold, so that nobody else writes to its shards, and
// a number that is the same as long as they have held all the time.
func (s *Shards) holds() (term uint64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.terms, time.Now().Before(s.until) && s.clock.right()
}

// Release gives a shard back, whose store is closed.
func (s *Shards) Release(ctx context.Context, shard int) error {
	_, err := s.db.pool.Exec(ctx, "UPDATE "+Schema+".shards SET node = NULL WHERE shard = $1 AND node = $2", shard, s.node)
	return s.db.fault(err)
}

// Leave gives all shards back. A Beat after it joins again.
func (s *Shards) Leave(ctx context.Context) error {
	_, err := s.db.pool.Exec(ctx, "DELETE FROM "+Schema+".nodes WHERE node = $1", s.node)
	return s.db.fault(err)
}

// shardName is what the store of a shard is called.
func shardName(shard int) string { return fmt.Sprintf("push_%02d", shard) }

// Open opens the store of a shard that the node has the lease of, and keeps every owner
// before from writing to it. durable.ErrLocked says that the node has no lease of it.
func (s *Shards) Open(ctx context.Context, shard int) (*Store, error) {
	epoch, _ := s.era()
	store, err := s.db.open(ctx, shardName(shard), func(ctx context.Context, store *Store) error {
		var writes *int64
		err := s.db.pool.QueryRow(ctx, "SELECT "+Schema+".shards_take($1, $2, $3)", shard, s.node, store.term).Scan(&writes)
		if err == nil && writes == nil {
			err = durable.ErrLocked
		}
		if err == nil {
			store.number = *writes
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open shard %d in %s: %w", shard, s.db, err)
	}
	store.holds, store.era, store.epoch = s.holds, s.era, epoch
	return store, nil
}

// ShardEntry is an entry of a shard's store.
type ShardEntry struct {
	Shard      int
	Key, Value []byte
}

// Others returns what shards other than one have committed under keys that begin with a
// prefix, at most so many entries of each shard. A shard of -1 leaves none out.
func (s *Shards) Others(ctx context.Context, shard int, prefix []byte, most int) (found []ShardEntry, err error) {
	from, to := durable.Prefix(prefix)
	err = s.db.again(ctx, func(ctx context.Context) error {
		rows, err := s.db.pool.Query(ctx, `SELECT h.shard, e.key, e.value FROM `+Schema+`.shards h CROSS JOIN LATERAL (
				SELECT key, value FROM `+Schema+`.entries WHERE store = h.store AND key >= $1 AND ($2::bytea IS NULL OR key < $2) ORDER BY key LIMIT $3
			) AS e WHERE h.shard <> $4`, from, to, most, shard)
		if err != nil {
			return err
		}
		found, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (e ShardEntry, err error) {
			err = row.Scan(&e.Shard, &e.Key, &e.Value)
			return e, err
		})
		return err
	})
	return found, err
}
