package postgres

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"whisperpush/mailserver/archive"
)

const (
	// channel is where nodes notify each other of something new.
	channel = "whisperpush_log"
	// notifyEvery is the shortest interval of a node's notifications: each takes a lock of the whole server.
	notifyEvery = 50 * time.Millisecond
	// pollEvery is how often a node looks for something new that it was not told of.
	pollEvery = time.Second
)

// logState is what is known of the log at one moment. It is never changed.
type logState struct {
	id      [archive.IDSize]byte
	last    uint64
	parts   []logPart     // ascending; the last one is written to
	changed chan struct{} // closed when there is a newer state
}

// logPart is a row of the table of parts.
type logPart struct {
	first, last       uint64
	received, expiry  int64
	sentFrom, sentTo  int64
	bytes             int64
	begun, databaseMs int64
}

// table is the table that holds a part's envelopes.
func (p logPart) table() string { return Schema + ".log_" + strconv.FormatUint(p.first, 10) }

// first returns the oldest sequence that is kept.
func (s *logState) first() uint64 { return s.parts[0].first }

// holding returns the table that holds a sequence, if there is one.
func (s *logState) holding(seq uint64) (table string, ok bool) {
	if seq < s.first() || seq > s.last {
		return "", false
	}
	for i := len(s.parts) - 1; ; i-- {
		if p := s.parts[i]; p.first <= seq {
			return p.table(), true
		}
	}
}

// hole reports whether no envelope ever had a sequence, because it was left out of the log that this one was copied
// from. It returns the end of the run of such sequences that it is in.
func (s *logState) hole(seq uint64) (end uint64, ok bool) {
	for i, p := range s.parts[:len(s.parts)-1] {
		if next := s.parts[i+1].first; p.last < seq && seq < next {
			return next - 1, true
		}
	}
	return 0, false
}

// nextHole is the first sequence after seq at which a hole may begin.
func (s *logState) nextHole(seq uint64) uint64 {
	for _, p := range s.parts[:len(s.parts)-1] {
		if p.last >= seq {
			return p.last + 1
		}
	}
	return math.MaxUint64
}

// readLog reads the state of the log from the database.
func (d *DB) readLog(ctx context.Context) (*logState, error) {
	rows, err := d.pool.Query(ctx, `SELECT h.log, h.seq, p.first, p.last, p.begun, p.received, p.expiry, p.sent_from, p.sent_to, p.bytes,
		`+clockSQL+`
		FROM `+Schema+`.head h CROSS JOIN `+Schema+`.parts p ORDER BY p.first`)
	if err != nil {
		return nil, err
	}
	s := &logState{changed: make(chan struct{})}
	var id []byte
	var p logPart
	_, err = pgx.ForEachRow(rows, []any{&id, &s.last, &p.first, &p.last, &p.begun, &p.received, &p.expiry, &p.sentFrom, &p.sentTo, &p.bytes, &p.databaseMs}, func() error {
		s.parts = append(s.parts, p)
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case len(s.parts) == 0 || len(id) != len(s.id):
		return nil, fmt.Errorf("%w: the tables of the archive are empty", ErrForeign)
	}
	s.id = [archive.IDSize]byte(id)
	return s, nil
}

// known returns the newest state that this node has learned.
func (a *Archive) known() *logState {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.state
}

// refresh reads the state from the database.
func (a *Archive) refresh(ctx context.Context) (*logState, error) {
	before := a.known()
	s, err := a.db.readLog(ctx)
	if err != nil {
		return nil, err
	}
	return a.learn(before, s), nil
}

// learn stores s if it is the newest state, and returns the newest. before was known when s was asked for: if s is
// shorter, or is another log, the log was rolled back.
func (a *Archive) learn(before, s *logState) *logState {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s.last < before.last || s.id != before.id {
		a.recent.forget()
		a.log.Error("the archive's log is not the one it was: the database was restored, or its standby had not everything when it took over", "end", s.last, "was", before.last)
	} else if s.last < a.state.last {
		return a.state // asked for earlier
	}
	close(a.state.changed)
	a.state = s
	return s
}

// fresh is refresh for callers that cannot wait long: if the database is away, it returns what is known.
func (a *Archive) fresh() *logState {
	ctx, cancel := context.WithTimeout(a.ctx, freshPatience)
	defer cancel()
	s, err := a.refresh(ctx)
	if err != nil {
		return a.known()
	}
	return s
}

// grown learns what was archived by this node, or by one that told it.
func (a *Archive) grown(newest, part uint64) {
	a.mu.Lock()
	old := a.state
	if newest <= old.last && part == old.parts[len(old.parts)-1].first {
		a.mu.Unlock()
		return
	}
	if part == old.parts[len(old.parts)-1].first {
		s := *old
		s.last, s.changed = newest, make(chan struct{})
		a.state = &s
		close(old.changed)
		a.mu.Unlock()
		return
	}
	a.mu.Unlock()
	ctx, cancel := context.WithTimeout(a.ctx, freshPatience)
	defer cancel()
	a.refresh(ctx) // otherwise the watcher does it
}

// watch learns what other nodes archive, from their notifications and by looking regularly.
func (a *Archive) watch() {
	var conn *pgx.Conn
	defer func() {
		if conn != nil {
			leave(conn)
		}
	}()
	for a.ctx.Err() == nil {
		if conn == nil {
			conn = a.listen()
		}
		a.hear(&conn)
		ctx, cancel := context.WithTimeout(a.ctx, a.db.patience)
		_, err := a.refresh(ctx)
		cancel()
		if err != nil && a.ctx.Err() == nil {
			a.log.Debug("the archive's log cannot be read", "err", a.db.fault(err))
		}
	}
}

// listen opens a session that listens for the notifications of other nodes, nil if that fails.
func (a *Archive) listen() *pgx.Conn {
	conn, err := a.db.session(a.ctx)
	if err != nil {
		return nil
	}
	if _, err = conn.Exec(a.ctx, "LISTEN "+channel); err != nil {
		leave(conn)
		return nil
	}
	return conn
}

// hear waits until there may be something new. It sets a lost connection to nil.
func (a *Archive) hear(conn **pgx.Conn) {
	ctx, cancel := context.WithTimeout(a.ctx, pollEvery)
	defer cancel()
	if *conn == nil {
		<-ctx.Done()
		return
	}
	for {
		n, err := (*conn).WaitForNotification(ctx)
		if err != nil {
			if ctx.Err() == nil {
				leave(*conn)
				*conn = nil
				<-ctx.Done()
			}
			return
		}
		if seq, err := strconv.ParseUint(n.Payload, 10, 64); err != nil || seq > a.known().last {
			return
		}
	}
}

// notify tells other nodes what this one archives, outside the transactions that archive it.
func (a *Archive) notify() {
	for {
		select {
		case <-a.ctx.Done():
			return
		case <-a.told:
		}
		ctx, cancel := context.WithTimeout(a.ctx, freshPatience)
		_, err := a.db.pool.Exec(ctx, "SELECT pg_notify($1, $2)", channel, strconv.FormatUint(a.known().last, 10))
		cancel()
		if err != nil && a.ctx.Err() == nil {
			a.log.Debug("other nodes are not told of new envelopes; they find them by looking", "err", a.db.fault(err))
		}
		select {
		case <-a.ctx.Done():
			return
		case <-time.After(notifyEvery):
		}
	}
}

// dropped reports whether a read failed because retention dropped the part meanwhile.
func (a *Archive) dropped(err error) bool {
	return err != nil && !errors.Is(err, pgx.ErrNoRows) && hasCode(a.db.fault(err), "42P01")
}
