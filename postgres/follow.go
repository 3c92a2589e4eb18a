package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"whisperpush/durable"
	"whisperpush/mailserver/archive"
)

// followRows bounds the envelopes that a follower is given at a time, and followBytes roughly
// their bytes.
const (
	followRows  = 1000
	followBytes = 256 << 10
)

// lookAgain is how many times in a row a follower looks for an envelope that should be there.
const lookAgain = 5

// Follow calls fn with every record whose sequence is above after, in order, without repeating
// or leaving out any, and goes on as any node archives new ones. The slice belongs to fn. It
// returns ctx's error, the error of fn, an *archive.GapError or *archive.AheadError for a
// cursor outside the log, archive.ErrClosed, or an error of the database. Follow may then be
// called again with the last sequence fn has seen.
func (a *Archive) Follow(ctx context.Context, after uint64, fn func([]archive.Record) error) error {
	caller := ctx
	ctx, cancel := a.within(ctx)
	defer cancel()
	s := a.known()
	if after > s.last {
		var err error
		if s, err = a.refresh(ctx); err != nil {
			return a.readFailed(caller, err)
		}
	}
	for missed := 0; ; s = a.known() {
		switch {
		case caller.Err() != nil:
			return caller.Err()
		case a.ctx.Err() != nil:
			return archive.ErrClosed
		case after > s.last:
			return &archive.AheadError{After: after, Newest: s.last}
		case after+1 < s.first():
			return &archive.GapError{After: after, Oldest: s.first()}
		case after == s.last:
			select {
			case <-ctx.Done():
			case <-s.changed:
			}
			continue
		}
		if end, ok := s.hole(after + 1); ok {
			after = end // no envelope has these sequences
			continue
		}
		records := a.recent.after(after, s.last)
		if len(records) == 0 {
			var err error
			if records, err = a.read(ctx, s, after); err != nil {
				return a.readFailed(caller, err)
			}
		}
		if len(records) == 0 {
			// Another part was begun since, or this one was dropped.
			if missed++; missed > lookAgain {
				return a.readFailed(caller, fmt.Errorf("%w: envelope %d is missing", durable.ErrCorrupted, after+1))
			}
			if _, err := a.refresh(ctx); err != nil {
				return a.readFailed(caller, err)
			}
			continue
		}
		missed = 0
		if first := records[0].Seq; first != after+1 {
			return a.readFailed(caller, fmt.Errorf("%w: envelope %d is missing", durable.ErrCorrupted, after+1))
		}
		after = records[len(records)-1].Seq
		if err := fn(records); err != nil {
			return err
		}
	}
}

// read returns the records of one part above a sequence, at most as many as a follower is
// given at a time.
func (a *Archive) read(ctx context.Context, s *logState, after uint64) (records []archive.Record, err error) {
	table, ok := s.holding(after + 1)
	if !ok {
		return nil, nil
	}
	records, err = a.db.readTable(ctx, table, after, s.last)
	if a.dropped(err) {
		return nil, nil
	}
	return records, err
}

// readTable returns the records of one of the log's tables above a sequence, at most as many
// as are read at a time.
func (d *DB) readTable(ctx context.Context, table string, after, last uint64) (records []archive.Record, err error) {
	err = d.again(ctx, func(ctx context.Context) error {
		rows, err := d.pool.Query(ctx, `SELECT seq, received, hash, raw FROM (
				SELECT seq, received, hash, raw, sum(octet_length(raw)) OVER (ORDER BY seq) AS total
				FROM (SELECT seq, received, hash, raw FROM `+table+` WHERE seq > $1 AND seq <= $2 ORDER BY seq LIMIT $3) AS next
			) AS sized WHERE total - octet_length(raw) < $4 ORDER BY seq`,
			int64(after), int64(last), followRows, followBytes)
		if err == nil {
			records, err = collectRecords(rows)
		}
		return err
	})
	return records, err
}

// collectRecords turns rows of (seq, received, hash, raw) into records.
func collectRecords(rows pgx.Rows) ([]archive.Record, error) {
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (archive.Record, error) {
		var seq, received int64
		var hash, raw []byte
		if err := row.Scan(&seq, &received, &hash, &raw); err != nil {
			return archive.Record{}, err
		}
		return record(seq, received, hash, raw)
	})
}
