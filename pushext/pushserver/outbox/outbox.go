// Package outbox remembers what each device still has to be woken for. It is ahead of the
// disk by 20 ms at most; a crash repeats one wake-up.
//
// outbox.go takes matches and keeps devices in memory; known.go tells who has a record on
// disk. The record of a device is in device.go, what a receipt does to it in receipt.go, and
// a receipt that comes before its envelope in early.go. wakeup.go makes up what a wake-up
// says, and chain.go the key that it is sealed under. twins.go and sieve.go tell a message
// that somebody posts again from a new one. commit.go writes, sweep.go ends what is too
// old, run.go counts the runs that crashed, bell.go is how others are told. telling.go keeps
// what other shards of a cluster are to be told of; moved.go and moves.go are for an archive
// that was recovered, transfer.go for records that go to other stores.
package outbox

import (
	"container/list"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/prometheus/client_golang/prometheus"

	"whisperpush/durable"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/vault"
)

const (
	// commitDelay groups the outbox's writes into one fsync. Nothing waits for it; after a
	// crash, what was not written yet is read again from the log.
	commitDelay = 20 * time.Millisecond
	// cursorDelay does so where nothing but the cursor moved, as nobody listens to what came: to
	// read that again costs little, and in a cluster each of sixteen shards sees all that comes.
	cursorDelay = time.Second
	// maxUncommitted is how many matches may be ahead of the disk before the
	// follower waits: the memory it costs, and the wake-ups a crash may repeat.
	maxUncommitted = 16384
	// maxCachedDevices bounds the devices kept in memory, besides those that
	// are not on disk yet. An idle one is read again when it is needed.
	maxCachedDevices = 65536
)

// Match says that a registration listens to an archived envelope.
type Match struct {
	ID   registration.ID
	Hash common.Hash
	At   time.Time // received by the archive
	Seq  uint64    // receive sequence; 0: it was not matched, but asked for

	// Crowd is set for an envelope that very many are to be woken for; they queue apart.
	// Left says how many before it were left out.
	Crowd bool
	Left  uint32

	// Quiet is set if nobody is woken for the envelope, because it came late or because they
	// were woken for it before. It is entered in the ledgers all the same.
	Quiet bool
}

func (mute) Ring(registration.ID, bool) {}
func (mute) Resume(registration.ID)     {}
func (mute) Calm(registration.ID)       {}
func (mute) Climb(registration.ID, int) {}

// Options say when the outbox gives something up.
type Options struct {
	TTL         time.Duration // how long a match is kept
	SilentAfter int           // wake-ups without a sign of life after which a device is left alone; 0 is never
	Logger      *slog.Logger
	Registerer  prometheus.Registerer // nil: metrics are not registered
}

// Outbox remembers durably what each registration has to be woken for. A match
// is pending until a wake-up that covers it was accepted, and then sent until
// the device fetches it, or says that it was seen, or it expires; every end is
// counted with its reason.
//
// Memory is ahead of the disk by at most commitDelay and maxUncommitted: one
// goroutine writes what changed, together with the follower's cursor, in one
// synced batch. After a crash the follower therefore reads again what the disk
// missed, and the worst is one repeated wake-up. Push sequence numbers are the
// exception: they are reserved on disk before they are used; but see firstNumber.
type Outbox struct {
	store *vault.Vault
	log   *slog.Logger
	m     *metrics

	bell Bell // set by begin

	// matched are the sequences after the cursor whose envelopes were matched before they
	// were archived again. It is the follower's.
	matched seqRanges

	// mu guards the following fields and the devices.
	mu          sync.Mutex
	ttl         time.Duration
	silent      uint32 // wake-ups without a sign of life after which a device is left alone, 0 = never
	devices     map[registration.ID]*device
	recent      list.List // of *device, least recently used first
	dirty       []*device
	removed     []registration.ID
	cursor      uint64
	cursorDirty bool
	ahead       ahead
	firmCursor  uint64 // the cursor on disk, where all matches before it are too
	breaks      uint64 // see keyBreaks
	breaksDirty bool
	uncommitted int           // matches that are not on disk
	committed   chan struct{} // closed and replaced after each commit
	collected   uint64        // batches begun
	settled     uint64        // the newest of them that is on disk
	early       earlyReads
	twins       twins
	tellings    tellings
	known       known
	starts      map[registration.ID]newStart // of chains that no wake-up was sent under; some of them
	crashes     uint64                       // runs that ended without finish, this one not counted: see firstNumber

	// batch and record are the writer's, and reused.
	batch  durable.Batch
	record []byte

	soon  chan struct{} // capacity 1: commit after commitDelay
	later chan struct{} // capacity 1: commit after cursorDelay
	now   chan struct{} // capacity 1: commit at once
	moved chan struct{} // capacity 1: the cursor may have moved, and its matches have rung
}

// KeyCursor holds the receive sequence (8 bytes, big-endian) up to which the
// log was matched.
var KeyCursor = []byte{vault.Meta, 'c'}

// New reads the cursor; started is false if the log was never followed.
func New(s *vault.Vault, d Options) (o *Outbox, started bool, err error) {
	o = &Outbox{
		store: s, log: d.Logger, m: newMetrics(d.Registerer), ttl: d.TTL, silent: uint32(d.SilentAfter), bell: mute{},
		devices:   make(map[registration.ID]*device),
		starts:    make(map[registration.ID]newStart),
		committed: make(chan struct{}),
		soon:      make(chan struct{}, 1),
		later:     make(chan struct{}, 1),
		now:       make(chan struct{}, 1),
		moved:     make(chan struct{}, 1),
	}
	if o.twins, err = readTwins(s, time.Now()); err != nil {
		return nil, false, err
	}
	if o.tellings, err = readTellings(s); err != nil {
		return nil, false, err
	}
	if o.breaks, o.breaksDirty, err = readBreaks(s, time.Now()); err != nil {
		return nil, false, err
	}
	value, err := s.Get(KeyCursor)
	switch {
	case errors.Is(err, durable.ErrNotFound):
		return o, false, nil
	case err != nil:
		return nil, false, fmt.Errorf("read cursor: %w", err)
	case len(value) != 8:
		return nil, false, fmt.Errorf("cursor record has %d bytes, want 8", len(value))
	}
	o.cursor = binary.BigEndian.Uint64(value)
	o.firmCursor = o.cursor
	if o.matched, err = movedRanges(s, o.cursor); err != nil {
		return nil, false, err
	}
	if o.ahead, err = readAhead(s, o.cursor); err != nil {
		return nil, false, err
	}
	return o, true, nil
}

// SetPatience changes when the outbox gives something up, from now on: see Options.
func (o *Outbox) SetPatience(ttl time.Duration, silentAfter int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ttl, o.silent = ttl, uint32(silentAfter)
}

// SetCursor moves the cursor without a match, durably, and ends all ledgers. A cursor
// that goes back stands for another log, of which nothing was matched.
func (o *Outbox) SetCursor(cursor uint64) error {
	o.Skipped() // before the cursor moves
	var b durable.Batch
	b.Put(KeyCursor, binary.BigEndian.AppendUint64(nil, cursor))
	b.Put(keyBreaks, breaksRecord(o.Breaks(), time.Now()))
	back := cursor < o.Position()
	if back {
		b.Delete(keyMoved)
		b.Delete(KeyAhead)
		o.matched = nil
	}
	if err := o.store.Write(&b); err != nil {
		return fmt.Errorf("write cursor: %w", err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if back {
		o.ahead = nil
	}
	o.cursor, o.cursorDirty = cursor, true // after any commit under way
	signal(o.soon)
	signal(o.moved)
	return nil
}

// Moved receives when the cursor may have moved, and its matches have rung.
func (o *Outbox) Moved() <-chan struct{} { return o.moved }

// MatchedBefore reports whether the envelope at a sequence after the cursor was matched
// before it was archived again. It is for the follower.
func (o *Outbox) MatchedBefore(seq uint64) bool { return o.matched.has(seq) }

// Position is the receive sequence up to which the log was matched.
func (o *Outbox) Position() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.cursor
}

// Begin begins the outbox's run. b is told of everything from then on. Before Begin
// returns, b is told of every device that has something pending from before a restart, or
// that was woken, has not fetched, and is to be woken through its next route. It holds
// one record at a time.
func (o *Outbox) Begin(ctx context.Context, b Bell) error {
	if err := o.beginRun(); err != nil {
		return err
	}
	o.bell = b
	err := o.records(ctx, func(id registration.ID, d *device, err error) error {
		o.mu.Lock()
		o.known.add(id)
		o.mu.Unlock()
		if err != nil {
			o.log.Error("record of a registration's outbox is damaged; its pending wake-ups are lost", "registration", uint64(id), "err", err)
			o.m.damaged.Inc()
			return nil
		}
		switch unread, pending := d.unread(); {
		case pending > 0:
			b.Resume(id)
		case unread > 0 && d.climb > 0:
			b.Climb(id, int(d.climb))
		}
		return nil
	})
	if err == nil {
		o.mu.Lock()
		o.known.whole = true
		o.mu.Unlock()
	}
	return err
}

// records calls each for every record on disk, one at a time; err says that the
// record is damaged. It ends with the first error of each, the disk's or ctx's.
func (o *Outbox) records(ctx context.Context, each func(id registration.ID, d *device, err error) error) error {
	it := o.store.Scan(Prefix)
	defer it.Release()
	for it.Next() && ctx.Err() == nil {
		id := registration.ID(binary.BigEndian.Uint64(it.Key()[1:]))
		d, err := decodeDevice(id, it.Value())
		if err := each(id, d, err); err != nil {
			return err
		}
	}
	if err := it.Release(); err != nil {
		return fmt.Errorf("read outbox: %w", err)
	}
	return ctx.Err()
}

// Match records that the log was matched up to cursor. It waits while the disk
// is behind. After an error the same matches may be given again.
func (o *Outbox) Match(ctx context.Context, matches []Match, cursor uint64, now time.Time) error {
	for {
		o.mu.Lock()
		if o.uncommitted < maxUncommitted {
			break
		}
		committed := o.committed
		o.mu.Unlock()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-committed:
		}
	}
	rings := make([]Match, 0, len(matches))
	defer func() {
		for i, m := range rings {
			if i == 0 || rings[i-1].ID != m.ID {
				o.bell.Ring(m.ID, m.Crowd)
			}
		}
		signal(o.moved)
	}()
	defer o.mu.Unlock() // before the rings
	for _, m := range matches {
		if o.ahead.has(m) {
			continue
		}
		if m.Left > 0 {
			d, err := o.load(m.ID)
			if err != nil {
				return err
			}
			o.closeLedger(d) // which ones they were is not known
			d.skip(m.Left)
			o.m.match(int(m.Left))
			o.m.ends(int(m.Left), outcomeOverflow, reasonCrowd)
			o.touch(d)
		}
		expired := now.Sub(m.At) > o.ttl
		quietly := m.Quiet || expired || o.early.has(m.ID, m.Hash)
		if quietly {
			if err := o.enterQuietly(m); err != nil {
				return err
			}
		}
		switch {
		case m.Quiet:
			continue
		case o.early.take(m.ID, m.Hash, now):
			o.m.match(1)
			o.m.ends(1, outcomeSeen, "before_match")
			o.unowe(m.ID, m.Hash)
			continue
		case expired:
			o.m.match(1)
			o.m.ends(1, outcomeExpired, "catch_up")
			continue
		}
		d, err := o.load(m.ID)
		if err != nil {
			return err
		}
		if !quietly && o.enter(d, m.Hash, m.Seq) {
			o.touch(d)
		}
		if m.Crowd && d.more && len(d.entries) == maxEntries && o.silenced(d) {
			o.m.match(1)
			o.m.ends(1, outcomeOverflow, reasonCrowd) // it will ask for everything, once it asks
			continue
		}
		added, dropped := d.insert(entry{hash: m.Hash, at: m.At.UnixMilli()})
		if !added {
			continue
		}
		if dropped != nil {
			o.ended(d, *dropped, outcomeOverflow, "overflow")
		}
		o.uncommitted++
		o.m.match(1)
		o.touch(d)
		if !o.silenced(d) {
			rings = append(rings, m)
			if d.used == d.reserved {
				signal(o.now) // its wake-up will wait for a number
			}
		}
	}
	if cursor > o.cursor {
		o.cursor, o.cursorDirty = cursor, true
		if len(o.dirty) > 0 || len(o.twins.fresh) > 0 {
			signal(o.soon)
		} else {
			signal(o.later)
		}
	}
	return nil
}

// unowe forgets the dismissal of an envelope that a device in memory was never told of.
// The caller holds mu.
func (o *Outbox) unowe(id registration.ID, h common.Hash) {
	if d := o.devices[id]; d != nil && len(d.dismissed) > 0 {
		d.settled(h)
		o.touch(d)
	}
}

// Status is what a registrant is told of its wake-ups.
type Status struct {
	Seq      uint64 // number of the newest wake-up
	Unread   int    // envelopes not fetched
	Pending  int    // of those, covered by no accepted wake-up
	Silenced bool   // left alone until it fetches or registers
	Lost     uint32 // matches that ended without an accepted wake-up, ever
	Reason   string // why the latest of those did

	Fetched  time.Time            // when the device last fetched; zero: it never did
	Accepted map[string]time.Time // when each provider last accepted a wake-up for it
}

// Status tells what a device still has to be woken for. The error is the disk's.
func (o *Outbox) Status(id registration.ID) (Status, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	d, err := o.load(id)
	if err != nil {
		return Status{}, err
	}
	s := Status{Seq: d.used, Silenced: o.silenced(d), Lost: d.lost, Reason: d.reason}
	s.Unread, s.Pending = d.unread()
	if d.fetched != 0 {
		s.Fetched = time.Unix(int64(d.fetched), 0)
	}
	for _, a := range d.accepted {
		if s.Accepted == nil {
			s.Accepted = make(map[string]time.Time, len(d.accepted))
		}
		s.Accepted[a.provider] = time.Unix(int64(a.at), 0)
	}
	return s, nil
}

// ended counts the end of an entry, and keeps the reason if it was never sent.
func (o *Outbox) ended(d *device, e entry, outcome, reason string) {
	provider := ""
	if e.seq != 0 && e.seq <= d.covered {
		provider = d.provider()
	}
	o.m.endsBy(provider, 1, outcome, reason)
	registration.Trace(o.log, "wake-up", d.id, "match ended", slog.String("outcome", outcome), slog.String("reason", o.m.reasons.Label(reason)))
	switch {
	case outcome == outcomeFetched:
		o.m.fetched(d.provider(), time.Since(e.received()))
	case outcome != outcomeSeen && e.seq > d.covered:
		d.lost++
		d.reason = reason[:min(len(reason), maxReason)]
	}
}

// existing is load for a device that had a match and was not forgotten since; nil if
// there is none: its registration ended while it was being woken. The caller holds mu.
func (o *Outbox) existing(id registration.ID) (*device, error) {
	d, err := o.load(id)
	if err != nil || d.unborn && d.matched == 0 {
		return nil, err
	}
	return d, nil
}

// load returns a device, from memory, from disk, or a new one. The error is
// the disk's, and says nothing of the device. The caller holds mu.
func (o *Outbox) load(id registration.ID) (*device, error) {
	if d := o.devices[id]; d != nil {
		o.recent.MoveToBack(d.recent)
		return d, nil
	}
	var value []byte
	err := durable.ErrNotFound
	if o.known.has(id) {
		value, err = o.store.Get(Key(id))
	}
	d := &device{id: id}
	switch {
	case errors.Is(err, durable.ErrNotFound):
		d.unborn = true
		d.used = o.firstNumber()
		d.reserved = d.used + seqBlock
	case err != nil:
		return nil, fmt.Errorf("read outbox: %w", err)
	default:
		old, err := decodeDevice(id, value)
		if err == nil {
			d = old
			o.openChain(d)
			break
		}
		// The database checks every byte it reads, so this is our fault. The clock is ahead of
		// any count of wake-ups: no number is given out twice.
		o.log.Error("a registration's outbox is damaged; it starts afresh", "registration", uint64(id), "err", err)
		o.m.damaged.Inc()
		d.used = uint64(time.Now().Unix())
		d.reserved, d.more = d.used, true
	}
	o.devices[id] = d
	d.recent = o.recent.PushBack(d)
	o.evict()
	return d, nil
}

// evict forgets the least recently used devices that are on disk as they are.
// The caller holds mu and may hold the newest.
func (o *Outbox) evict() {
	for e := o.recent.Front(); len(o.devices) > maxCachedDevices && e != nil && e != o.recent.Back(); {
		d, next := e.Value.(*device), e.Next()
		if !d.dirty && !d.writing {
			o.recent.Remove(e)
			delete(o.devices, d.id)
		}
		e = next
	}
}

// touch marks a device as changed. The caller holds mu.
func (o *Outbox) touch(d *device) {
	if !d.dirty {
		d.dirty = true
		o.dirty = append(o.dirty, d)
	}
	signal(o.soon)
}

// signal wakes the reader of a channel of capacity 1.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
