package archive

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"whisperpush/durable"
	"whisperpush/mailserver/archive/engine"
	"whisperpush/whisper"
)

// Defaults of Options.
const (
	DefaultRetention  = 30 * 24 * time.Hour
	DefaultQueueBytes = 32 << 20
)

var (
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("archive is closed")
	// ErrFull refuses envelopes while the archive has MaxBytes on disk and
	// none of its partitions may be dropped yet.
	ErrFull = errors.New("archive has reached its size limit and nothing in it has expired")
)

// Options of Open. The zero value is usable.
type Options struct {
	// Retention is how long envelopes are kept after they were received; 0 means
	// DefaultRetention, and a negative value means forever. They are dropped in
	// partitions of a 32nd of it (at least a minute, at most a day), and not before they
	// expire, unless that is later than 30 days and the retention after their receipt.
	Retention time.Duration
	// MaxBytes bounds the disk space, checked as data is written; 0 means no limit.
	// Above it the oldest expired partitions are dropped before their retention
	// ends. If there are none, envelopes are refused with ErrFull.
	MaxBytes int64
	// QueueBytes bounds the envelopes that wait to be written. Archive blocks while
	// there are more. 0 means DefaultQueueBytes.
	QueueBytes int64
	// Logger and Registerer may be nil.
	Logger     *slog.Logger
	Registerer prometheus.Registerer

	volume     volume // tests
	runRecords int    // tests; 0 means runRecords
}

// Archive keeps envelopes, durably and numbered. Its methods may be called
// concurrently.
type Archive struct {
	o       Options
	vol     volume
	book    logBook
	width   time.Duration // of a partition, 0 = unlimited
	log     *slog.Logger
	metrics *metrics
	db      *durable.Metrics
	filters filterBudget
	opened  time.Time

	queue  *engine.Queue
	ctx    context.Context // of the goroutines
	cancel context.CancelFunc
	wg     sync.WaitGroup
	tail   tail
	last   atomic.Uint64 // the newest sequence that is durable and indexed
	full   atomic.Bool   // MaxBytes is reached
	keep   atomic.Pointer[bounds]

	// kick holds one element: check retention and size now.
	kick chan struct{}
	// prune passes calls of Prune to the keeper.
	prune chan pruning

	// w belongs to the writer goroutine.
	w writerState

	mu       sync.RWMutex // guards the following fields, and some of each partition
	parts    []*partition // ascending; the last one is written to
	run      *memoryRun   // the end of the last partition
	frozen   *memoryRun   // being written as a run, or nil
	unsealed []*partition // to be sealed by the flusher
	closed   bool
	damage   []Damage
	aside    []string      // directories that wait for Recover
	flushMe  chan struct{} // holds one element: frozen or unsealed was set
}

// Open opens the archive in dir, creating it if it does not exist. A damaged
// partition is set aside, reported by Damage, logged and counted. The archive
// then continues with the others and does not give their sequences again. The
// error is durable.ErrLocked when another process has the archive open.
func Open(dir string, o Options) (*Archive, error) {
	if o.Retention == 0 {
		o.Retention = DefaultRetention
	}
	if o.QueueBytes <= 0 {
		o.QueueBytes = DefaultQueueBytes
	}
	if o.runRecords == 0 {
		o.runRecords = runRecords
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	a := &Archive{
		o: o, vol: o.volume, log: o.Logger, width: engine.PartitionWidth(o.Retention),
		opened:  time.Now(),
		queue:   engine.NewQueue(o.QueueBytes, ErrClosed),
		kick:    make(chan struct{}, 1),
		prune:   make(chan pruning),
		flushMe: make(chan struct{}, 1),
	}
	a.keep.Store(&bounds{o.Retention, o.MaxBytes})
	a.filters.left.Store(filterMemory)
	a.tail.init()
	var err error
	if a.metrics, err = newMetrics(o.Registerer, a); err != nil {
		return nil, fmt.Errorf("open archive: %w", err)
	}
	a.db = durable.NewMetrics(o.Registerer)
	if a.vol == nil {
		if a.vol, err = openDirectory(dir); err != nil {
			a.metrics.Unregister()
			return nil, fmt.Errorf("open archive: %w", err)
		}
	}
	a.book.vol = a.vol
	if err := a.openPartitions(); err != nil {
		a.closePartitions()
		a.vol.close()
		a.metrics.Unregister()
		return nil, fmt.Errorf("open archive %s: %w", dir, err)
	}
	a.saveBook(false)
	a.tail.reset(a.last.Load())
	a.ctx, a.cancel = context.WithCancel(context.Background())
	a.wg.Go(a.writer)
	a.wg.Go(a.flusher)
	a.wg.Go(a.keeper)
	return a, nil
}

// Archive stores envs and calls done exactly once, from any goroutine: with nil
// after all of them are on disk and can be read, or with an error if any is not.
// An envelope that is already archived is not stored again. Archive blocks while
// the queue is full; done must not block.
func (a *Archive) Archive(ctx context.Context, envs []*whisper.Envelope, done func(error)) {
	a.queue.Offer(ctx, envs, done)
}

// First returns the oldest sequence that is kept. It is Last()+1 when nothing is.
func (a *Archive) First() uint64 {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.parts[0].first
}

// Last returns the newest sequence that was given to an envelope on disk, or 0 if
// there never was one.
func (a *Archive) Last() uint64 { return a.last.Load() }

// Close writes what is queued, stops the goroutines and closes the files. Later
// calls of Archive fail with ErrClosed, and so do reads. It may be called
// twice.
func (a *Archive) Close() error {
	if a.queue.Stop() {
		a.wg.Wait()
		return nil
	}
	a.wg.Wait()
	a.tail.close()
	err := a.closePartitions()
	a.saveBook(err == nil)
	a.metrics.Unregister()
	return errors.Join(err, a.vol.close())
}

// closePartitions closes everything that is open.
func (a *Archive) closePartitions() (err error) {
	a.mu.Lock()
	a.closed = true
	parts := a.parts
	a.mu.Unlock()
	for _, p := range parts {
		p.mu.Lock()
		if p.db != nil {
			err = errors.Join(err, p.db.Close())
			p.db = nil
		}
		p.mu.Unlock()
	}
	return err
}

// now is the wall clock at Open plus the time since then, so that a clock
// that jumps does not affect retention.
func (a *Archive) now() time.Time { return a.opened.Add(time.Since(a.opened)) }
