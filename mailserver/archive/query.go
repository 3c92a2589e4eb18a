package archive

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/durable"
	"whisperpush/whisper"
)

// Record is an archived envelope.
type Record struct {
	Seq      uint64 // the receive sequence
	Hash     common.Hash
	Topic    whisper.Topic
	Sent     uint32    // Unix seconds, as the sender says
	Received time.Time // when it was archived, in milliseconds
	Envelope *whisper.Envelope
}

// Limits of a page if the Query sets none.
const (
	DefaultMaxRows  = 1000
	DefaultMaxBytes = 4 << 20
	DefaultMaxScan  = 1 << 20
)

// Query asks for the envelopes that were sent in a range of time and match the
// topics and the bloom filter, in the order of receipt. Everything but Upper is
// optional: the zero value asks for what was sent in 1970.
type Query struct {
	Lower, Upper uint32          // sent time in Unix seconds, both inclusive; nothing matches if Lower > Upper
	Topics       []whisper.Topic // one of these; empty means any
	Bloom        *whisper.Bloom  // a filter that covers the topic's; nil means any
	After        uint64          // only sequences above it: the cursor of an ascending query
	Before       uint64          // only sequences below it, 0 = no bound: the cursor of a descending query
	Descending   bool            // newest first

	// Limits of a page; 0 means the default: records, bytes of their RLPs (a page
	// holds at least one record, however large), and entries of index and log that
	// are examined (MaxScan may leave a page empty, and is exceeded by less than
	// one run of the index).
	MaxRows, MaxBytes, MaxScan int
}

// Page is a part of the answer to a Query.
type Page struct {
	Records []Record
	// Next continues the query: as After or, if it is descending, as Before. 0
	// means that there is nothing more for now.
	Next uint64
}

// collector gathers a page.
type collector struct {
	q       Query
	m       match
	page    Page
	bytes   int
	scanned int
	reached uint64 // the last sequence looked at
	full    bool
}

// Query returns a page. It sees the envelopes archived before it was called.
func (a *Archive) Query(ctx context.Context, q Query) (Page, error) {
	defer a.metrics.Observe("query", time.Now())
	if q.MaxRows <= 0 {
		q.MaxRows = DefaultMaxRows
	}
	if q.MaxBytes <= 0 {
		q.MaxBytes = DefaultMaxBytes
	}
	if q.MaxScan <= 0 {
		q.MaxScan = DefaultMaxScan
	}
	segments, release, err := a.segments()
	if err != nil {
		return Page{}, err
	}
	defer release()
	c := &collector{q: q, m: match{
		lower: q.Lower, upper: q.Upper, topics: q.Topics, bloom: q.Bloom,
		after: q.After, before: math.MaxUint64,
	}}
	if q.Before != 0 {
		c.m.before = q.Before
	}
	if last := a.Last(); c.m.before > last+1 {
		c.m.before = last + 1
	}
	if q.Lower > q.Upper {
		return Page{}, nil
	}
	if q.Descending {
		slices.Reverse(segments)
	}
	for i, s := range segments {
		if err := ctx.Err(); err != nil {
			return Page{}, err
		}
		first, last := s.bounds()
		lower, upper := s.sentRange()
		if first > last || last <= c.m.after || first >= c.m.before || !c.m.sent(lower, upper) {
			continue
		}
		picks, scanned, err := s.find(&c.m)
		if err != nil {
			return Page{}, a.readFailed(err)
		}
		c.scanned += scanned
		if q.Descending {
			slices.Reverse(picks)
		}
		if err := c.collect(ctx, a, s.log(), picks); err != nil {
			return Page{}, a.readFailed(err)
		}
		if c.full {
			break
		}
		if c.scanned >= q.MaxScan && c.more(segments[i+1:]) {
			if c.reached = last; q.Descending {
				c.reached = first
			}
			c.full = true
			break
		}
	}
	if c.full {
		c.page.Next = c.reached
	}
	return c.page, nil
}

// more reports whether any of the segments may hold more matches.
func (c *collector) more(rest []segment) bool {
	return slices.ContainsFunc(rest, func(s segment) bool {
		first, last := s.bounds()
		return first <= last && last > c.m.after && first < c.m.before
	})
}

// collect reads the picks, in the order of the query.
func (c *collector) collect(ctx context.Context, a *Archive, p *partition, picks []pick) error {
	for _, pk := range picks {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, err := a.block(p, pk.first)
		if err != nil {
			return err
		}
		if err := c.block(b, pk.at); err != nil {
			return err
		}
		if c.full {
			return nil
		}
	}
	return nil
}

// block takes the wanted records from one block.
func (c *collector) block(b block, at []uint8) error {
	type item struct {
		at   int
		sent uint32
		raw  []byte
	}
	items := make([]item, 0, max(len(at), 8))
	whole := at == nil
	b.each(func(i int, sent uint32, raw []byte) bool {
		seq := b.first + uint64(i)
		switch {
		case seq <= c.m.after || seq >= c.m.before:
		case whole:
			items = append(items, item{i, sent, raw})
		case len(at) > 0 && int(at[0]) == i:
			items = append(items, item{i, sent, raw})
			at = at[1:]
		}
		return whole || len(at) > 0
	})
	if c.q.Descending {
		slices.Reverse(items)
	}
	for _, it := range items {
		if whole {
			if c.scanned >= c.q.MaxScan && c.reached != 0 {
				c.full = true
				return nil
			}
			c.scanned++
			if !c.m.sent(it.sent, it.sent) {
				c.reached = b.first + uint64(it.at)
				continue
			}
		}
		if n := len(c.page.Records); n == c.q.MaxRows || n > 0 && c.bytes+len(it.raw) > c.q.MaxBytes {
			c.full = true
			return nil
		}
		r, err := b.decode(it.at, it.sent, it.raw)
		if err != nil {
			return err
		}
		c.page.Records = append(c.page.Records, r)
		c.bytes += len(it.raw)
		c.reached = r.Seq
	}
	return nil
}

// ByHash returns the archived envelopes among hashes, in their order, and the
// hashes that are not archived.
func (a *Archive) ByHash(ctx context.Context, hashes []common.Hash) (found []Record, missing []common.Hash, err error) {
	defer a.metrics.Observe("hash", time.Now())
	segments, release, err := a.segments()
	if err != nil {
		return nil, nil, err
	}
	defer release()
	last := a.Last()
	for _, h := range hashes {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		r, ok, err := a.find(segments, h, last)
		switch {
		case err != nil:
			return nil, nil, a.readFailed(err)
		case ok:
			found = append(found, r)
		default:
			missing = append(missing, h)
		}
	}
	return found, missing, nil
}

// HashAt returns the hash of the envelope with that sequence; false if there is
// none, or it cannot be read.
func (a *Archive) HashAt(seq uint64) (common.Hash, bool) {
	if seq == 0 || seq > a.Last() {
		return common.Hash{}, false
	}
	var holder block // n is 0 if there is none
	var err error
	if blocks, _, ok := a.tail.from(seq, 1); ok && len(blocks) > 0 {
		holder, err = openBlock(blocks[0].first, blocks[0].value)
	} else if p := a.holding(seq); p != nil {
		defer p.release()
		err = p.blocks(seq, func(b block, _ []byte) bool {
			holder = b
			return false
		})
	}
	if err != nil {
		a.readFailed(err)
		return common.Hash{}, false
	}
	if holder.n == 0 || seq < holder.first || seq > holder.last() {
		return common.Hash{}, false
	}
	r, err := holder.record(int(seq - holder.first))
	if err != nil {
		a.readFailed(err)
	}
	return r.Hash, err == nil
}

// find looks for one hash in segments, newest first.
func (a *Archive) find(segments []segment, h common.Hash, last uint64) (Record, bool, error) {
	for _, s := range slices.Backward(segments) {
		places, err := s.lookup(h)
		if err != nil {
			return Record{}, false, err
		}
		for _, p := range places {
			if p.seq > last {
				continue // being written
			}
			b, err := a.block(s.log(), p.seq-uint64(p.at))
			if err != nil {
				return Record{}, false, err
			}
			r, err := b.record(int(p.at))
			if err != nil {
				return Record{}, false, err
			}
			if r.Hash == h {
				return r, true, nil
			}
		}
	}
	return Record{}, false, nil
}

// segments returns the current index, ascending, and keeps its partitions until
// release is called.
func (a *Archive) segments() (out []segment, release func(), err error) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if a.closed {
		return nil, nil, ErrClosed
	}
	parts := slices.Clone(a.parts)
	for _, p := range parts {
		p.acquire()
		for _, r := range p.runs {
			out = append(out, r)
		}
		if a.frozen != nil && a.frozen.part == p {
			out = append(out, a.frozen)
		}
		if a.run.part == p {
			out = append(out, a.run)
		}
	}
	return out, func() {
		for _, p := range parts {
			p.release()
		}
	}, nil
}

// block reads a block from the tail in memory or from p.
func (a *Archive) block(p *partition, first uint64) (block, error) {
	if v := a.tail.block(first); v != nil {
		return openBlock(first, v)
	}
	return p.block(first)
}

// readFailed counts a read error, and logs an error if it is damage.
func (a *Archive) readFailed(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	a.metrics.ReadErrors.Inc()
	if errors.Is(err, durable.ErrCorrupted) {
		a.log.Error("archive is damaged; restart to set the damaged part aside, then run \"wnode recover\"", "err", err)
	}
	return fmt.Errorf("read archive: %w", err)
}
