package postgres

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/prometheus/client_golang/prometheus"

	"whisperpush/durable"
	"whisperpush/mailserver/archive"
	"whisperpush/mailserver/archive/engine"
	"whisperpush/whisper"
)

const (
	// sizedParts is the least number of parts that MaxBytes is divided into.
	sizedParts = 8
	// freshPatience is how long Last, ID and HashAt, which have no context, wait for a
	// database that is away.
	freshPatience = 2 * time.Second
)

// ArchiveOptions of DB.Archive. The zero value is usable. All nodes of an archive should have
// the same options: the shortest retention and the smallest size win.
type ArchiveOptions struct {
	// Retention is how long envelopes are kept after they were received; 0 means
	// archive.DefaultRetention, negative means forever. They are dropped in parts of a 32nd
	// of it. A part is not dropped before its envelopes expire, unless that is much later.
	Retention time.Duration
	// MaxBytes bounds the estimated size of the envelopes; 0 means no limit. Above it the
	// oldest expired parts are dropped before their retention ends. If there are none,
	// envelopes are refused with archive.ErrFull.
	MaxBytes int64
	// QueueBytes bounds the envelopes that wait to be written; Archive blocks while there are
	// more. 0 means archive.DefaultQueueBytes.
	QueueBytes int64
	// Registerer may be nil.
	Registerer prometheus.Registerer

	width time.Duration // tests
}

// Archive is an archive.Archive in a database. Any number of them, in as many
// processes, share one log: each archives, answers and follows.
type Archive struct {
	db      *DB
	o       ArchiveOptions
	log     *slog.Logger
	metrics *engine.Metrics
	opened  time.Time

	ctx    context.Context // until Close
	cancel context.CancelFunc
	wg     sync.WaitGroup

	queue    *engine.Queue
	full     atomic.Bool   // MaxBytes is reached
	doubtful atomic.Bool   // some of the last envelopes were archived already
	kick     chan struct{} // holds one: look at retention and size now
	told     chan struct{} // holds one: others should hear of what was archived

	recent recent
	tell   atomic.Pointer[func(newest, part uint64)] // see Tell

	mu    sync.Mutex // guards the following field
	state *logState
}

// Archive opens the database's archive.
func (d *DB) Archive(ctx context.Context, o ArchiveOptions) (*Archive, error) {
	if o.Retention == 0 {
		o.Retention = archive.DefaultRetention
	}
	if o.QueueBytes <= 0 {
		o.QueueBytes = archive.DefaultQueueBytes
	}
	if o.width == 0 {
		o.width = engine.PartitionWidth(o.Retention)
	}
	a := &Archive{
		db: d, o: o, log: d.log, opened: time.Now(),
		queue: engine.NewQueue(o.QueueBytes, archive.ErrClosed),
		kick:  make(chan struct{}, 1),
		told:  make(chan struct{}, 1),
	}
	err := d.again(ctx, func(ctx context.Context) (err error) {
		a.state, err = d.readLog(ctx)
		return err
	})
	if err == nil {
		a.metrics, err = newArchiveMetrics(o.Registerer, a)
	}
	if err != nil {
		return nil, fmt.Errorf("open the archive in %s: %w", d, err)
	}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	var writing sync.WaitGroup
	writing.Go(a.writer)
	a.wg.Go(func() {
		writing.Wait()
		a.cancel()
	})
	a.wg.Go(a.watch)
	a.wg.Go(a.notify)
	a.wg.Go(a.keep)
	return a, nil
}

// Archive stores envs and calls done exactly once, from any goroutine: with nil once all of
// them are committed and can be read, or with the error if any is not. An envelope that any
// node has archived already is not stored again. Archive blocks while the queue is full; done
// must not block.
func (a *Archive) Archive(ctx context.Context, envs []*whisper.Envelope, done func(error)) {
	a.queue.Offer(ctx, envs, done)
}

// Tell makes the archive call fn after each commit that archived envelopes here, with the
// newest sequence and the part it is in. Hear of another node's archive takes both. fn must
// not block.
func (a *Archive) Tell(fn func(newest, part uint64)) { a.tell.Store(&fn) }

// Hear takes what another node's Tell has told, so that followers need not wait for the
// database to say it. Hear ignores news of a part that this node does not know; the node
// finds out soon anyway.
func (a *Archive) Hear(newest, part uint64) {
	s := a.known()
	if newest > s.last && part == s.parts[len(s.parts)-1].first {
		a.grown(newest, part)
	}
}

// First returns the oldest sequence that is kept. It is Last()+1 when nothing is.
func (a *Archive) First() uint64 { return a.fresh().first() }

// Last returns the newest sequence given to an envelope by any node, 0 if there never was
// one. It asks the database; if that is away, it returns the last known value.
func (a *Archive) Last() uint64 { return a.fresh().last }

// ID returns the identity of the log, which distinguishes its sequences from those of another
// archive. It is never zero.
func (a *Archive) ID() [archive.IDSize]byte { return a.known().id }

// Lost returns how many envelopes a follower missed that was given no record between the
// sequences after and before: n envelopes that the archive no longer has. The number is
// certain. It leaves out sequences that no envelope ever had, see archive.Copy.
func (a *Archive) Lost(after, before uint64) (n uint64, sure bool) {
	if before <= after {
		return 0, true
	}
	n = before - after - 1
	s := a.known()
	for seq := after + 1; seq < before; {
		end, ok := s.hole(seq)
		if ok {
			end = min(end, before-1)
			n -= end - seq + 1
			seq = end + 1
			continue
		}
		seq = s.nextHole(seq)
	}
	return n, true
}

// Probe returns nil if the database accepts envelopes. It may be called at any time.
func (a *Archive) Probe() error {
	ctx, cancel := context.WithTimeout(a.ctx, freshPatience)
	defer cancel()
	_, err := a.append(ctx, nil)
	return a.db.fault(err)
}

// DamagedParts is empty: PostgreSQL sets nothing aside.
func (a *Archive) DamagedParts() []string { return nil }

// HashAt returns the hash of the envelope with that sequence; false if there is none,
// or it cannot be read.
func (a *Archive) HashAt(seq uint64) (h common.Hash, ok bool) {
	s := a.known()
	if seq > s.last {
		s = a.fresh()
	}
	table, ok := s.holding(seq)
	if !ok {
		return h, false
	}
	ctx, cancel := context.WithTimeout(a.ctx, freshPatience)
	defer cancel()
	var hash []byte
	err := a.db.pool.QueryRow(ctx, "SELECT hash FROM "+table+" WHERE seq = $1", int64(seq)).Scan(&hash)
	if err != nil || len(hash) != len(h) {
		return h, false
	}
	return common.Hash(hash), true
}

// Close writes what is queued and stops. Later calls of Archive and later reads fail with
// archive.ErrClosed. It may be called twice.
func (a *Archive) Close() error {
	a.queue.Stop()
	a.wg.Wait()
	a.metrics.Unregister()
	return nil
}

// within returns a ctx that also ends when the archive is closed.
func (a *Archive) within(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(a.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

// readFailed is the error of a read. ctx is the caller's.
func (a *Archive) readFailed(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case a.ctx.Err() != nil:
		return archive.ErrClosed
	}
	a.metrics.ReadErrors.Inc()
	return fmt.Errorf("archive: %w", a.db.fault(err))
}

// record decodes a row, and checks that it is what was archived.
func record(seq, received int64, hash, raw []byte) (archive.Record, error) {
	e, err := whisper.DecodeEnvelope(raw)
	if err != nil || common.Hash(hash) != e.Hash() {
		return archive.Record{}, fmt.Errorf("%w: the row of envelope %d is not what was archived", durable.ErrCorrupted, seq)
	}
	return archive.Record{
		Seq: uint64(seq), Hash: e.Hash(), Topic: e.Topic, Sent: e.Sent(), Received: time.UnixMilli(received), Envelope: e,
	}, nil
}
