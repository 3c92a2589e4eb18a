package postgres

import (
	"bytes"
	"context"
	"math"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/jackc/pgx/v5"

	"whisperpush/mailserver/archive"
	"whisperpush/whisper"
)

// Of how many entries of the index a statement tells at least and at most, for a start
// and if few of them match.
const (
	firstLook   = 256
	longestLook = 1 << 16
)

// collector gathers a page.
type collector struct {
	a       *Archive
	q       archive.Query
	topics  [][]byte // none means any
	after   uint64
	before  uint64
	page    archive.Page
	bytes   int
	scanned int
	reached uint64 // the sequence looked at last
	full    bool
}

// Query returns a page. It reads what was archived when it was called, by whichever
// node.
func (a *Archive) Query(ctx context.Context, q archive.Query) (archive.Page, error) {
	defer a.metrics.Observe("query", time.Now())
	caller := ctx
	ctx, cancel := a.within(ctx)
	defer cancel()
	if ctx.Err() != nil {
		return archive.Page{}, a.readFailed(caller, ctx.Err())
	}
	if q.MaxRows <= 0 {
		q.MaxRows = archive.DefaultMaxRows
	}
	if q.MaxBytes <= 0 {
		q.MaxBytes = archive.DefaultMaxBytes
	}
	if q.MaxScan <= 0 {
		q.MaxScan = archive.DefaultMaxScan
	}
	if q.Lower > q.Upper {
		return archive.Page{}, nil
	}
	var s *logState
	err := a.db.again(ctx, func(ctx context.Context) (err error) {
		s, err = a.refresh(ctx)
		return err
	})
	if err != nil {
		return archive.Page{}, a.readFailed(caller, err)
	}
	c := &collector{a: a, q: q, after: min(q.After, math.MaxInt64-1), before: s.last + 1}
	if q.Before != 0 {
		c.before = min(q.Before, c.before)
	}
	for _, t := range q.Topics {
		c.topics = append(c.topics, bytes.Clone(t[:]))
	}
	slices.SortFunc(c.topics, bytes.Compare)
	c.topics = slices.CompactFunc(c.topics, bytes.Equal)
	parts := slices.DeleteFunc(slices.Clone(s.parts), func(p logPart) bool {
		return p.first > p.last || p.last <= c.after || p.first >= c.before || p.sentFrom > int64(q.Upper) || p.sentTo < int64(q.Lower)
	})
	if q.Descending {
		slices.Reverse(parts)
	}
	for i, p := range parts {
		if err := c.part(ctx, p, i+1 < len(parts)); err != nil && !a.dropped(err) {
			return archive.Page{}, a.readFailed(caller, err)
		}
		if c.full {
			break
		}
	}
	if c.full {
		c.page.Next = c.reached
	}
	return c.page, nil
}

// part takes what is wanted from one part. more says that there are others after it.
func (c *collector) part(ctx context.Context, p logPart, more bool) error {
	from, to := max(c.after, p.first-1), min(c.before, p.last+1) // both exclusive
	for look := max(firstLook, min(c.q.MaxRows+1, longestLook)); ; look = min(2*look, longestLook) {
		look = min(look, max(c.q.MaxScan-c.scanned, 1))
		looked, edge, wanted, err := c.look(ctx, p, from, to, look)
		if err != nil {
			return err
		}
		c.scanned += looked
		if err := c.take(ctx, p, wanted); err != nil || c.full {
			return err
		}
		over := looked < look
		if c.scanned >= c.q.MaxScan && (more || !over) {
			if c.full, c.reached = true, edge; over {
				if c.reached = p.last; c.q.Descending {
					c.reached = p.first
				}
			}
			return nil
		}
		if over {
			return nil
		}
		if from = edge; c.q.Descending {
			from, to = max(c.after, p.first-1), edge
		}
	}
}

// look returns which sequences among the next entries, as many as limit, match; how many
// entries there were, and the last of them.
func (c *collector) look(ctx context.Context, p logPart, from, to uint64, limit int) (looked int, edge uint64, wanted []uint64, err error) {
	order, last := "ASC", "max"
	if c.q.Descending {
		order, last = "DESC", "min"
	}
	entries := "SELECT seq, sent, topic FROM " + p.table() + " WHERE seq > $1 AND seq < $2 ORDER BY seq " + order + " LIMIT $3"
	args := []any{int64(from), int64(to), limit, int64(c.q.Lower), int64(c.q.Upper)}
	if len(c.topics) > 0 {
		entries = `SELECT e.seq, e.sent, e.topic FROM unnest($6::bytea[]) AS t (topic) CROSS JOIN LATERAL
			(SELECT seq, sent, l.topic FROM ` + p.table() + ` l WHERE l.topic = t.topic AND seq > $1 AND seq < $2 ORDER BY seq ` + order + ` LIMIT $3) e
			ORDER BY e.seq ` + order + ` LIMIT $3`
		args = append(args, c.topics)
	}
	topics := "NULL::bytea[]"
	if c.q.Bloom != nil {
		topics = "array_agg(topic ORDER BY seq " + order + ") FILTER (WHERE sent BETWEEN $4 AND $5)"
	}
	var seqs []int64
	var topicOf [][]byte
	var end int64
	err = c.a.db.again(ctx, func(ctx context.Context) error {
		return c.a.db.pool.QueryRow(ctx, "SELECT count(*), coalesce("+last+"(seq), 0), array_agg(seq ORDER BY seq "+order+") FILTER (WHERE sent BETWEEN $4 AND $5), "+topics+
			" FROM ("+entries+") AS entries", args...).Scan(&looked, &end, &seqs, &topicOf)
	})
	for i, seq := range seqs {
		// The filters of the field are not what the specification says, see whisper.Topic.Bloom.
		if c.q.Bloom == nil || len(topicOf[i]) == whisper.TopicSize && c.q.Bloom.Covers(whisper.Topic(topicOf[i]).Bloom()) {
			wanted = append(wanted, uint64(seq))
		}
	}
	return looked, uint64(end), wanted, err
}

// take reads the envelopes that are wanted, in the order of the query, until the page is
// full.
func (c *collector) take(ctx context.Context, p logPart, wanted []uint64) error {
	if len(wanted) == 0 {
		return nil
	}
	rows := min(len(wanted), c.q.MaxRows-len(c.page.Records))
	if c.full = rows < len(wanted); rows == 0 {
		return nil
	}
	order := "ASC"
	if c.q.Descending {
		order = "DESC"
	}
	seqs := make([]int64, rows)
	for i, seq := range wanted[:rows] {
		seqs[i] = int64(seq)
	}
	var records []archive.Record
	err := c.a.db.again(ctx, func(ctx context.Context) error {
		rows, err := c.a.db.pool.Query(ctx, `SELECT seq, received, hash, raw FROM (
				SELECT seq, received, hash, raw, sum(octet_length(raw)) OVER (ORDER BY seq `+order+`) AS total
				FROM `+p.table()+` WHERE seq = ANY ($1)
			) AS sized WHERE total <= $2 OR $3 AND total = octet_length(raw) ORDER BY seq `+order,
			seqs, c.q.MaxBytes-c.bytes, len(c.page.Records) == 0)
		if err == nil {
			records, err = collectRecords(rows)
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, r := range records {
		c.bytes += len(r.Envelope.Raw())
		c.reached = r.Seq
	}
	c.page.Records = append(c.page.Records, records...)
	c.full = c.full || len(records) < rows
	return nil
}

// ByHash returns the archived envelopes among hashes, in their order, and the hashes
// that are not archived.
func (a *Archive) ByHash(ctx context.Context, hashes []common.Hash) (found []archive.Record, missing []common.Hash, err error) {
	defer a.metrics.Observe("hash", time.Now())
	caller := ctx
	ctx, cancel := a.within(ctx)
	defer cancel()
	wanted := make([][]byte, len(hashes))
	for i, h := range hashes {
		wanted[i] = bytes.Clone(h[:])
	}
	var at map[common.Hash]archive.Record
	for attempts := 0; ; attempts++ {
		err = a.db.again(ctx, func(ctx context.Context) (err error) {
			at, err = a.lookUp(ctx, wanted)
			return err
		})
		if err == nil {
			break
		}
		if !a.dropped(err) || attempts == 3 {
			return nil, nil, a.readFailed(caller, err)
		}
	}
	for _, h := range hashes {
		if r, ok := at[h]; ok {
			found = append(found, r)
		} else {
			missing = append(missing, h)
		}
	}
	return found, missing, nil
}

// lookUp looks for envelopes in all parts at once.
func (a *Archive) lookUp(ctx context.Context, hashes [][]byte) (map[common.Hash]archive.Record, error) {
	s, err := a.refresh(ctx)
	if err != nil {
		return nil, err
	}
	found := map[common.Hash]archive.Record{}
	var batch pgx.Batch
	for _, p := range s.parts {
		batch.Queue("SELECT seq, received, hash, raw FROM "+p.table()+" WHERE hash = ANY ($1)", hashes).Query(func(rows pgx.Rows) error {
			records, err := collectRecords(rows)
			for _, r := range records {
				found[r.Hash] = r
			}
			return err
		})
	}
	return found, a.db.pool.SendBatch(ctx, &batch).Close()
}
