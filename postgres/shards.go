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
	// ShardCount is how many stores the registrations of a database are divided into. It is
	// fixed, because it decides which registration is in which shard.
	ShardCount = 16
	// LeaseLife is how long a node has its shards after its last beat.
	LeaseLife = 3 * time.Second
	// BeatEvery is how often a node should beat.
	BeatEvery = 500 * time.Millisecond
	// leaseMargin is how much earlier a node stops believing in its leases than the
	// database ends them.
	leaseMargin = 500 * time.Millisecond
)

// ErrOtherKeys says that nodes with other keys share the database's registrations.
var ErrOtherKeys = errors.New("the nodes that share this database's registrations have another push key or disk key; give this one copies of theirs")

// ErrUndivided says that the registrations are as a version without shards kept them.
var ErrUndivided = errors.New("the registrations are in one store, as a version before kept them that knew no shards; this version does not divide them: use that version, or delete the rows of the store push in whisperpush.entries, and devices register again")

// formerStore is the store in which that version kept them.
const formerStore = "push"

// Shards is one node's part in registrations that several nodes share. They are divided
// into ShardCount stores, each of which has one owner at a time: the node that has its
// lease. Beat renews a node's leases; they end LeaseLife after the last one. An owner opens
// the store with Open, and from then on no former owner can write to it. Methods may be
// called concurrently.
type Shards struct {
	db      *DB
	node    int64
	address string

	mu    sync.Mutex // guards the following fields
	keys  []byte
	until time.Time // of the latest Leases
	terms uint64    // counts how often the leases ended before they were renewed
	clock clock
	wrong bool   // the clock was found wrong, and not right since
	epoch uint64 // counts how often that happened
}

// Owner is the node that has a shard.
type Owner struct {
	Node    int64  // 0: nobody has the shard now
	Address string // where other nodes reach it
}

// Leases says which node has which shard, as of one beat.
type Leases struct {
	Owners [ShardCount]Owner
	Part   int           // how many shards the node should have
	Until  time.Time     // by this computer's clock; after that the node has none, unless a later beat succeeded
	Ahead  time.Duration // by how much this computer's clock is ahead of the database's
}

// note records the owner of a shard.
func (l *Leases) note(shard int, owner Owner) error {
	if shard < 0 || shard >= ShardCount {
		return fmt.Errorf("%w: there is a shard %d", ErrForeign, shard)
	}
	l.Owners[shard] = owner
	return nil
}

// Mine returns the shards that a node has.
func (l Leases) Mine(node int64) (list []int) {
	for shard, owner := range l.Owners {
		if owner.Node == node {
			list = append(list, shard)
		}
	}
	return list
}

// Shards returns the part of a new node, which joins with its first Beat. Other nodes reach
// it at the address. keys must be the same for all nodes that may share registrations, and
// for no others; they are stored as they are.
func (d *DB) Shards(address string, keys []byte) *Shards {
	return &Shards{db: d, node: newTerm(), address: address, keys: notNil(keys), clock: newClock()}
}

// Node is the number of this node.
func (s *Shards) Node() int64 { return s.node }

// Check returns an error that wraps ErrUndivided if the database has registrations that are
// not divided.
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

// Beat renews the node's leases and gives it free shards up to its part. The node must
// Release what it has above its part. The error wraps ErrOtherKeys or is another of this
// package's; the leases then go on until they end. If it is a *ClockError, the node must
// take no part: the leases say what the others have, and the node must Leave.
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
	if l.Ahead.Abs() > MostSkew { // the database's was set
		allowed = l.Ahead
	}
	s.clock.note(l.Ahead, allowed)
	l.Until = started.Add(LeaseLife - leaseMargin)
	if time.Now().After(s.until) {
		s.terms++ // others may have had these shards meanwhile
	}
	if l.Until.After(s.until) {
		s.until = l.Until
	}
	return l, nil
}

// holds reports whether the node's leases hold, so that nobody else writes to its shards.
// term stays the same as long as they hold without a break.
func (s *Shards) holds() (term uint64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.terms, time.Now().Before(s.until) && s.clock.right()
}

// Release gives a shard back. Its store must be closed.
func (s *Shards) Release(ctx context.Context, shard int) error {
	_, err := s.db.pool.Exec(ctx, "UPDATE "+Schema+".shards SET node = NULL WHERE shard = $1 AND node = $2", shard, s.node)
	return s.db.fault(err)
}

// Leave gives all shards back. A later Beat joins again.
func (s *Shards) Leave(ctx context.Context) error {
	_, err := s.db.pool.Exec(ctx, "DELETE FROM "+Schema+".nodes WHERE node = $1", s.node)
	return s.db.fault(err)
}

// shardName is the name of the store of a shard.
func shardName(shard int) string { return fmt.Sprintf("push_%02d", shard) }

// Open opens the store of a shard whose lease the node has, and keeps earlier owners from
// writing to it. durable.ErrLocked means that the node does not have the lease.
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

// Others returns what all shards except one have committed under keys with a prefix, at
// most most entries of each shard. A shard of -1 leaves none out.
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
