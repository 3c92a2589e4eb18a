package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/jackc/pgx/v5"

	"whisperpush/mailserver/archive"
	"whisperpush/whisper"
)

// firstLook is how many entries of the index a statement covers at first, and longestLook how
// many at most, when few of them match.
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
	reached uint64 // the last sequence looked at
	full    bool
	known   *logState // whose parts are looked at
	sure    bool      // known is not older than the query, or was found to be as good
}

// Query returns a page. It sees everything that any node had archived when it was called.
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
	// What is known of the parts is almost always current. A query without a bloom filter
	// finds that out with its first statement. Otherwise the query starts over with what the
	// database says.
	c := newCollector(a, q)
	err := error(errOutdated)
	if q.Bloom == nil {
		err = c.collect(ctx, a.known())
	}
	if errors.Is(err, errOutdated) {
		var s *logState
		err = a.db.again(ctx, func(ctx context.Context) (err error) {
			s, err = a.refresh(ctx)
			return err
		})
		if err == nil {
			c = newCollector(a, q)
			c.sure = true
			err = c.collect(ctx, s)
		}
	}
	if err != nil {
		return archive.Page{}, a.readFailed(caller, err)
	}
	if c.full {
		c.page.Next = c.reached
	}
	return c.page, nil
}

// errOutdated says that the known state of the log is no longer current.
var errOutdated = errors.New("the log has other parts than were known")

func newCollector(a *Archive, q archive.Query) *collector {
	c := &collector{a: a, q: q, after: min(q.After, math.MaxInt64-1)}
	for _, t := range q.Topics {
		c.topics = append(c.topics, bytes.Clone(t[:]))
	}
	slices.SortFunc(c.topics, bytes.Compare)
	c.topics = slices.CompactFunc(c.topics, bytes.Equal)
	return c
}

// collect gathers the page from the parts of s. If s is not certain to be current, its last
// part may have grown, and there may be other parts; in the latter case the error is
// errOutdated.
func (c *collector) collect(ctx context.Context, s *logState) error {
	c.known = s
	c.before = s.last + 1
	if !c.sure {
		c.before = math.MaxInt64
	}
	if c.q.Before != 0 {
		c.before = min(c.q.Before, c.before)
	}
	parts := slices.Clone(s.parts)
	if newest := &parts[len(parts)-1]; !c.sure {
		newest.last, newest.sentFrom, newest.sentTo = math.MaxInt64-1, 0, math.MaxInt64
	}
	parts = slices.DeleteFunc(parts, func(p logPart) bool {
		return p.first > p.last || p.last <= c.after || p.first >= c.before || p.sentFrom > int64(c.q.Upper) || p.sentTo < int64(c.q.Lower)
	})
	if c.q.Descending {
		slices.Reverse(parts)
	}
	for i, p := range parts {
		switch err := c.part(ctx, p, i+1 < len(parts)); {
		case c.a.dropped(err) && !c.sure:
			return errOutdated
		case err != nil && !c.a.dropped(err):
			return err
		}
		if c.full {
			break
		}
	}
	return nil
}

// part takes the matches from one part. more says that other parts follow it.
func (c *collector) part(ctx context.Context, p logPart, more bool) error {
	from, to := max(c.after, p.first-1), min(c.before, p.last+1) // both exclusive
	for look := max(firstLook, min(c.q.MaxRows+1, longestLook)); ; look = min(2*look, longestLook) {
		look = min(look, max(c.q.MaxScan-c.scanned, 1))
		looked, edge, err := c.next(ctx, p, from, to, look)
		if err != nil || c.full {
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

// next takes the matches among the next entries, at most limit of them, until the page is
// full. It returns how many entries there were, and the last of them.
func (c *collector) next(ctx context.Context, p logPart, from, to uint64, limit int) (looked int, edge uint64, err error) {
	if c.q.Bloom == nil {
		return c.fetch(ctx, p, from, to, limit)
	}
	looked, edge, wanted, err := c.look(ctx, p, from, to, limit)
	if err == nil {
		c.scanned += looked
		err = c.take(ctx, p, wanted)
	}
	return looked, edge, err
}

// entries builds a query of some columns, including seq, of the next entries of the index, and
// its arguments. The first three arguments are from, to and limit. order is that of the query.
func (c *collector) entries(columns string, p logPart, from, to uint64, limit int, more ...any) (query, order string, args []any) {
	order = "ASC"
	if c.q.Descending {
		order = "DESC"
	}
	args = append([]any{int64(from), int64(to), limit}, more...)
	if len(c.topics) == 0 {
		return "SELECT " + columns + " FROM " + p.table() + " WHERE seq > $1 AND seq < $2 ORDER BY seq " + order + " LIMIT $3", order, args
	}
	args = append(args, c.topics)
	return fmt.Sprintf(`SELECT e.* FROM unnest($%d::bytea[]) AS t (wanted) CROSS JOIN LATERAL
		(SELECT %s FROM %s WHERE topic = t.wanted AND seq > $1 AND seq < $2 ORDER BY seq %s LIMIT $3) e
		ORDER BY seq %[4]s LIMIT $3`, len(args), columns, p.table(), order), order, args
}

// edgeOf is the aggregate that finds the last entry.
func (c *collector) edgeOf() string {
	if c.q.Descending {
		return "min"
	}
	return "max"
}

// fetch does what next does with one statement, for a query that needs no bloom filter. The
// statement also tells how far the log has come.
func (c *collector) fetch(ctx context.Context, p logPart, from, to uint64, limit int) (looked int, edge uint64, err error) {
	room := c.q.MaxRows - len(c.page.Records)
	entries, order, args := c.entries("seq, sent, received, hash, raw", p, from, to, limit, int64(c.q.Lower), int64(c.q.Upper), room, c.q.MaxBytes-c.bytes, len(c.page.Records) == 0)
	statement := `WITH entries AS MATERIALIZED (` + entries + `),
		wanted AS (SELECT * FROM entries WHERE sent BETWEEN $4 AND $5 ORDER BY seq ` + order + ` LIMIT $6),
		sized AS (SELECT *, sum(octet_length(raw)) OVER (ORDER BY seq ` + order + `) AS total FROM wanted),
		page AS (SELECT seq, received, hash, raw FROM sized WHERE total <= $7 OR $8 AND total = octet_length(raw) ORDER BY seq ` + order + `)
		SELECT h.log, h.seq, h.part, e.looked, e.edge, e.matching, r.seqs, r.received, r.hashes, r.raws FROM ` + Schema + `.head h
		CROSS JOIN (SELECT count(*) AS looked, coalesce(` + c.edgeOf() + `(seq), 0) AS edge, count(*) FILTER (WHERE sent BETWEEN $4 AND $5) AS matching FROM entries) e
		CROSS JOIN (SELECT array_agg(seq) AS seqs, array_agg(received) AS received, array_agg(hash) AS hashes, array_agg(raw) AS raws FROM page) r`
	var id []byte
	var newest, part, last int64
	var matching int
	var seqs, received []int64
	var hashes, raws [][]byte
	err = c.a.db.again(ctx, func(ctx context.Context) error {
		return c.a.db.pool.QueryRow(ctx, statement, args...).Scan(&id, &newest, &part, &looked, &last, &matching, &seqs, &received, &hashes, &raws)
	})
	if err != nil {
		return 0, 0, err
	}
	if !c.sure && (!bytes.Equal(id, c.known.id[:]) || uint64(newest) < c.known.last || uint64(part) != c.known.parts[len(c.known.parts)-1].first) {
		return 0, 0, errOutdated
	}
	c.sure = true
	c.scanned += looked
	for i, seq := range seqs {
		r, err := record(seq, received[i], hashes[i], raws[i])
		if err != nil {
			return 0, 0, err
		}
		c.page.Records = append(c.page.Records, r)
		c.bytes += len(raws[i])
		c.reached = r.Seq
	}
	c.full = len(seqs) < matching
	return looked, uint64(last), nil
}

// look returns which sequences among the next entries, at most limit of them, match, including
// the bloom filter. It also returns how many entries there were, and the last of them.
func (c *collector) look(ctx context.Context, p logPart, from, to uint64, limit int) (looked int, edge uint64, wanted []uint64, err error) {
	entries, order, args := c.entries("seq, sent, topic", p, from, to, limit, int64(c.q.Lower), int64(c.q.Upper))
	var seqs []int64
	var topicOf [][]byte
	var end int64
	err = c.a.db.again(ctx, func(ctx context.Context) error {
		return c.a.db.pool.QueryRow(ctx, "SELECT count(*), coalesce("+c.edgeOf()+"(seq), 0), array_agg(seq ORDER BY seq "+order+") FILTER (WHERE sent BETWEEN $4 AND $5), array_agg(topic ORDER BY seq "+order+
			") FILTER (WHERE sent BETWEEN $4 AND $5) FROM ("+entries+") AS entries", args...).Scan(&looked, &end, &seqs, &topicOf)
	})
	for i, seq := range seqs {
		// The bloom filters in the field are not those of the specification, see
		// whisper.Topic.Bloom.
		if len(topicOf[i]) == whisper.TopicSize && c.q.Bloom.Covers(whisper.Topic(topicOf[i]).Bloom()) {
			wanted = append(wanted, uint64(seq))
		}
	}
	return looked, uint64(end), wanted, err
}

// take reads the wanted envelopes, in the order of the query, until the page is full.
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

// ByHash returns the archived envelopes among hashes, in the order of hashes, and the hashes
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

// lookUp looks for envelopes in all parts.
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
