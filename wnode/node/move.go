package node

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"whisperpush/cluster"
	"whisperpush/config"
	"whisperpush/durable"
	"whisperpush/mailserver/archive"
	"whisperpush/postgres"
	"whisperpush/pushext/pushserver"
	"whisperpush/whisper"
)

// Stages of a move, in order.
const (
	MoveArchive       = "envelopes"
	CheckArchive      = "envelopes checked"
	MoveRegistrations = "registrations"
	CheckRegistered   = "registrations checked"
)

// MoveReport is what was moved and compared with the original.
type MoveReport struct {
	From          string   `json:"from"`
	To            string   `json:"to"`
	Log           string   `json:"log"`           // identity of the log; empty: there is none
	First         uint64   `json:"first"`         // sequence
	Last          uint64   `json:"last"`          // sequence; below First: there is no envelope
	Envelopes     uint64   `json:"envelopes"`     // compared hash by hash
	Bytes         uint64   `json:"bytes"`         // of the envelopes
	Registrations int      `json:"registrations"` // including ended ones that are remembered
	Outboxes      int      `json:"outboxes"`      // devices that the outbox has
	Waiting       int      `json:"waiting"`       // envelopes in it that their devices have not fetched
	Records       int      `json:"records"`       // of registrations and outbox, of any kind
	Damaged       int      `json:"damaged"`       // records that could not be read before the move, and are left out
	Cursors       []uint64 `json:"cursors"`       // sequences up to which the log was matched, for each store that was written
}

// MoveProgress is called with how many records of a stage are done; total is 0 if it is not known.
type MoveProgress func(stage string, done, total uint64)

// ErrSourceEmpty says that there is nothing to move.
var ErrSourceEmpty = errors.New("there is nothing to move")

// moveMark is the note at the destination while a move is unfinished.
type moveMark struct {
	Version int       `json:"version"`
	Log     string    `json:"log"`   // identity of the log; empty: there is none
	First   uint64    `json:"first"` // oldest sequence
	Begun   time.Time `json:"begun"`
}

const moveVersion = 1

// mover is one move.
type mover struct {
	cfg      config.Config
	progress MoveProgress
	diskKey  []byte // nil: there are no registrations
	mark     moveMark
	again    bool // a move begun earlier continues

	source archive.Source // nil: there is no archive
	topics map[uint64]*topicPage
	report MoveReport
}

// topicPage holds the topics of envelopes whose sequences share the same upper bits. Pages save memory: a damaged part
// of the archive may leave very many sequences without an envelope.
type topicPage [1 << topicBits]whisper.Topic

const topicBits = 12

// settle finds out whether an unfinished move is this one. text is the note of that move, nil if there is none.
func (m *mover) settle(text []byte, empty string) error {
	if m.source != nil {
		id := m.source.ID()
		m.report.Log, m.report.First, m.report.Last = hex.EncodeToString(id[:]), m.source.First(), m.source.Last()
	}
	m.mark = moveMark{Version: moveVersion, Log: m.report.Log, First: m.report.First, Begun: time.Now().UTC()}
	if text == nil {
		return nil
	}
	var before moveMark
	if err := json.Unmarshal(text, &before); err != nil || before.Version != moveVersion {
		return fmt.Errorf("%s has an unfinished move of another version of this program; finish it with that, or %s", m.report.To, empty)
	}
	if before.Log != m.mark.Log || before.First != m.mark.First {
		return fmt.Errorf("%s has an unfinished move of something else, or what is moved was used since; %s, and begin again", m.report.To, empty)
	}
	m.mark, m.again = before, true
	return nil
}

// encode returns the mark in the form in which it is written.
func (m *moveMark) encode() []byte {
	text, err := json.Marshal(m)
	if err != nil {
		panic(err) // it has no other fields
	}
	return text
}

// origin is what the copy of the log inherits.
func (m *mover) origin() archive.Origin {
	return archive.Origin{ID: m.source.ID(), After: m.source.First() - 1, Continue: m.again}
}

// copyLog writes what a copy does not have yet.
func (m *mover) copyLog(ctx context.Context, to archive.Copy) error {
	defer to.Abort()
	total := m.source.Last() + 1 - m.source.First()
	done := to.Last() + 1 - m.source.First()
	if to.Last() > m.source.Last() {
		return fmt.Errorf("what was copied to %s goes beyond the original: was that put back as it once was?", m.report.To)
	}
	m.progress(MoveArchive, done, total)
	err := m.source.Each(ctx, to.Last(), func(records []archive.Record) error {
		for _, r := range records {
			if err := to.Add(r); err != nil {
				return err
			}
		}
		done = records[len(records)-1].Seq + 1 - m.source.First()
		m.progress(MoveArchive, done, total)
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	return to.End(m.source.Last())
}

// checkLog compares a copy with the original, envelope by envelope, and records their topics.
func (m *mover) checkLog(ctx context.Context, copied archive.Source) error {
	differs := func(seq uint64) error {
		return fmt.Errorf("%s differs from the original at envelope %d; empty it and move again", m.report.To, seq)
	}
	if copied.ID() != m.source.ID() || copied.First() != m.source.First() || copied.Last() != m.source.Last() {
		return differs(m.source.First())
	}
	total := m.source.Last() + 1 - m.source.First()
	m.topics = map[uint64]*topicPage{}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	pages := make(chan []archive.Record)
	read := make(chan error, 1)
	go func() {
		defer close(pages)
		read <- copied.Each(ctx, copied.First()-1, func(records []archive.Record) error {
			select {
			case pages <- append([]archive.Record(nil), records...):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	var page []archive.Record
	next := func() (r archive.Record, ok bool) {
		for len(page) == 0 {
			if page, ok = <-pages; !ok {
				return r, false
			}
		}
		r, page = page[0], page[1:]
		return r, true
	}
	at := m.source.First()
	err := m.source.Each(ctx, m.source.First()-1, func(records []archive.Record) error {
		for _, r := range records {
			at = r.Seq
			c, ok := next()
			if !ok {
				return errShort
			}
			if c.Seq != r.Seq || c.Hash != r.Hash || !c.Received.Equal(r.Received) || !bytes.Equal(c.Envelope.Raw(), r.Envelope.Raw()) {
				return differs(r.Seq)
			}
			m.report.Envelopes++
			m.report.Bytes += uint64(len(r.Envelope.Raw()))
			m.note(r)
		}
		m.progress(CheckArchive, records[len(records)-1].Seq+1-m.source.First(), total)
		return ctx.Err()
	})
	if err == nil {
		if _, more := next(); more {
			err = differs(m.source.Last())
		}
	}
	cancel()
	for range pages {
	}
	failed := <-read
	switch {
	case err == nil, errors.Is(err, errShort) && failed != nil:
		return failed
	case errors.Is(err, errShort):
		return differs(at)
	}
	return err
}

// errShort says that the copy ended, or could not be read further, before the original.
var errShort = errors.New("the copy ends")

// note records the topic of an envelope.
func (m *mover) note(r archive.Record) {
	page := m.topics[r.Seq>>topicBits]
	if page == nil {
		page = new(topicPage)
		m.topics[r.Seq>>topicBits] = page
	}
	page[r.Seq&(1<<topicBits-1)] = r.Topic
}

// topic is the topic of an archived envelope.
func (m *mover) topic(seq uint64) (t whisper.Topic, ok bool) {
	if page := m.topics[seq>>topicBits]; page != nil {
		t = page[seq&(1<<topicBits-1)]
	}
	return t, t != whisper.Topic{} // without an envelope, or with a topic of zeros, nothing is known
}

// took copies the results of the registrations into the report.
func (m *mover) took(r pushserver.Transferred) {
	m.report.Registrations, m.report.Outboxes, m.report.Waiting = r.Registrations, r.Outboxes, r.Waiting
	m.report.Records, m.report.Damaged, m.report.Cursors = r.Records, r.Damaged, r.Cursors
}

// counted reports the progress at every 128th record.
func (m *mover) counted(stage string, total int) func() {
	done := uint64(0)
	return func() {
		if done++; done%128 == 0 || done == uint64(total) {
			m.progress(stage, done, uint64(total))
		}
	}
}

// readDiskKey reads the key that seals the registrations.
func (m *mover) readDiskKey() (err error) {
	file := DiskKeyFile(m.cfg)
	if err := file.Missing(); err != nil {
		return err
	}
	if m.diskKey, err = file.Read(); err != nil {
		return fmt.Errorf("%w; the registrations are sealed with it", err)
	}
	return nil
}

// pushError adds what an operator must do about registrations that cannot be read.
func (m *mover) pushError(err error) error {
	switch {
	case errors.Is(err, pushserver.ErrDiskKey):
		return fmt.Errorf("the disk key in %s is not the one that the registrations in %s were sealed with; put that one there", DiskKeyFile(m.cfg).Path(), m.report.From)
	case errors.Is(err, pushserver.ErrRotating):
		return fmt.Errorf("the registrations in %s: %w; start the node for a moment, and stop it", m.report.From, err)
	case errors.Is(err, pushserver.ErrFormat), errors.Is(err, pushserver.ErrUnknownRecord), errors.Is(err, pushserver.ErrUnsettled):
		return fmt.Errorf("the registrations in %s: %w", m.report.From, err)
	}
	return err
}

// alone takes the database for this process, and ends ctx when it loses it. end gives the database up.
func alone(ctx context.Context, db *postgres.DB) (_ context.Context, end func(), err error) {
	presence, err := db.Alone(ctx)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-presence.Lost():
			cancel(fmt.Errorf("%w: the connection that kept others out was lost; run wnode move again", postgres.ErrAway))
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		cancel(nil)
		<-watched
		presence.End()
	}, nil
}

// endedBy is why a move ended early: the cause, if its context ended because of one.
func endedBy(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil && errors.Is(err, context.Canceled) {
		if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
			return cause
		}
		return fmt.Errorf("interrupted; run wnode move again to go on: %w", err)
	}
	return err
}

// lockMoved locks a data directory as a node does.
func lockMoved(cfg config.Config) (unlock func(), err error) {
	if _, err := os.Stat(cfg.Node.DataDir); err != nil {
		return nil, fmt.Errorf("there is no data directory %s, in which the node's keys are; name it with --datadir", cfg.Node.DataDir)
	}
	if err := CheckDataDir(cfg.Node.DataDir); err != nil && !errors.Is(err, ErrMoveHalf) {
		return nil, err
	}
	return LockDir(cfg.Node.DataDir)
}

// holds reports whether a directory contains anything.
func holds(dir string) bool {
	entries, _ := os.ReadDir(dir)
	return len(entries) > 0
}

// MoveToStore moves archive and registrations from the data directory to the database of the settings, which must be
// empty. The directory stays as it is. After an interruption, the next call goes on from there. No node may run.
func MoveToStore(ctx context.Context, cfg config.Config, logger *slog.Logger, progress MoveProgress) (r MoveReport, err error) {
	m := &mover{cfg: cfg, progress: progress}
	m.report.From = cfg.Node.DataDir
	unlock, err := lockMoved(cfg)
	if err != nil {
		return r, err
	}
	defer unlock()
	if unfinished(cfg) {
		return r, ErrMoveHalf
	}
	withArchive, withPush := holds(ArchiveDir(cfg)), holds(pushDir(cfg))
	if !withArchive && !withPush {
		return r, fmt.Errorf("%w: the data directory %s has neither an archive nor registrations", ErrSourceEmpty, cfg.Node.DataDir)
	}
	if withArchive {
		source, err := archive.Read(ArchiveDir(cfg))
		if err != nil {
			return r, err
		}
		defer source.Close()
		m.source = source
	}
	var push durable.Store
	if withPush {
		if err := m.readDiskKey(); err != nil {
			return r, err
		}
		if push, err = pushserver.OpenAsIs(pushDir(cfg)); err != nil {
			return r, m.pushError(err)
		}
		defer push.Close()
		if err := pushserver.CheckTransfer(push, m.diskKey); err != nil {
			return r, m.pushError(err)
		}
	}
	o, err := storeOptions(cfg, logger)
	if err != nil {
		return r, err
	}
	db, err := postgres.Open(ctx, cfg.Node.Store, o)
	if err != nil {
		return r, fmt.Errorf("Node.Store (--store): %w", err)
	}
	defer db.Close()
	m.report.To = db.String()
	outer := ctx
	ctx, end, err := alone(ctx, db)
	if err != nil {
		return r, err
	}
	defer end()
	err = m.toStore(ctx, db, push)
	if err != nil && outer.Err() == nil {
		err = endedBy(ctx, err)
	} else if err != nil {
		err = endedBy(outer, err)
	}
	return m.report, err
}

func (m *mover) toStore(ctx context.Context, db *postgres.DB, push durable.Store) error {
	text, err := db.MoveMark(ctx)
	if err != nil {
		return err
	}
	if err := m.settle(text, "empty it with DROP SCHEMA "+postgres.Schema+" CASCADE"); err != nil {
		return err
	}
	if !m.again {
		archived, registered, err := db.Contents(ctx)
		switch {
		case err != nil:
			return err
		case archived || registered:
			return fmt.Errorf("the database %s is not empty: it has an archive or registrations; move into another one, or empty it with DROP SCHEMA %s CASCADE", db, postgres.Schema)
		}
		if err := db.SetMoveMark(ctx, m.mark.encode()); err != nil {
			return err
		}
	}
	if m.source != nil {
		to, err := db.Build(ctx, postgres.ArchiveOptions{Retention: retention(m.cfg)}, m.origin())
		if err != nil {
			return err
		}
		if err := m.copyLog(ctx, to); err != nil {
			return err
		}
		copied, err := db.Read(ctx)
		if err != nil {
			return err
		}
		if err := m.checkLog(ctx, copied); err != nil {
			return err
		}
	}
	if push != nil {
		if err := m.divide(ctx, db, push); err != nil {
			return m.pushError(err)
		}
	}
	return db.SetMoveMark(ctx, nil)
}

// moveBatch is how many bytes of registrations are written at once.
const moveBatch = 1 << 20

// divide moves the registrations to the shards. It first removes what an earlier attempt left there.
func (m *mover) divide(ctx context.Context, db *postgres.DB, push durable.Store) error {
	if err := db.ClearShards(ctx); err != nil {
		return err
	}
	var batch []postgres.ShardEntry
	size := 0
	flush := func() error {
		err := db.PutShards(ctx, batch)
		batch, size = batch[:0], 0
		return err
	}
	t := pushserver.NewTransfer(m.diskKey, m.mark.Begun)
	tell := m.counted(MoveRegistrations, 0)
	taken, err := t.Divide(ctx, push, cluster.ShardOf, m.topic, func(shard int, key, value []byte) error {
		tell()
		batch = append(batch, postgres.ShardEntry{Shard: shard, Key: bytes.Clone(key), Value: bytes.Clone(value)})
		if size += len(key) + len(value); size < moveBatch {
			return nil
		}
		return flush()
	})
	if err == nil {
		err = flush()
	}
	if err != nil {
		return err
	}
	m.took(taken)
	if err := db.Analyze(ctx); err != nil {
		return err
	}
	tell = m.counted(CheckRegistered, taken.Records)
	for shard := range postgres.ShardCount {
		if err := t.Verify(ctx, shard, db.ReadShard(shard), tell); err != nil {
			return fmt.Errorf("shard %d in %s: %w", shard, db, err)
		}
	}
	return nil
}
