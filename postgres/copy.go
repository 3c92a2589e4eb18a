package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/jackc/pgx/v5"

	"whisperpush/durable"
	"whisperpush/mailserver/archive"
	"whisperpush/mailserver/archive/engine"
)

// ErrNotEmpty says that the place for a copy is not empty.
var ErrNotEmpty = errors.New("there is something in it already")

// rowBytes is what an envelope takes besides itself, as in archive_append.
const rowBytes = 250

// uniqueViolation is PostgreSQL's code for a row that duplicates another where that is not
// allowed.
const uniqueViolation = "23505"

// Reader is the archive.Source of the archive in a database.
type Reader struct {
	db *DB
	s  *logState
}

var (
	_ archive.Source = (*Reader)(nil)
	_ archive.Copy   = (*Builder)(nil)
)

// Read opens the database's archive for reading.
func (d *DB) Read(ctx context.Context) (*Reader, error) {
	r := &Reader{db: d}
	err := d.again(ctx, func(ctx context.Context) (err error) {
		r.s, err = d.readLog(ctx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the archive in %s: %w", d, err)
	}
	return r, nil
}

// ID implements archive.Source.
func (r *Reader) ID() [archive.IDSize]byte { return r.s.id }

// First implements archive.Source.
func (r *Reader) First() uint64 { return r.s.first() }

// Last implements archive.Source.
func (r *Reader) Last() uint64 { return r.s.last }

// Each implements archive.Source.
func (r *Reader) Each(ctx context.Context, after uint64, fn func([]archive.Record) error) error {
	for i, p := range r.s.parts {
		last := p.last // the newest part's may be old
		if i == len(r.s.parts)-1 {
			last = r.s.last
		}
		for at := max(after, p.first-1); at < last; {
			records, err := r.db.readTable(ctx, p.table(), at, last)
			if err != nil {
				return fmt.Errorf("read the archive in %s: %w", r.db, err)
			}
			if len(records) == 0 {
				return fmt.Errorf("read the archive in %s: %w: envelope %d is missing", r.db, durable.ErrCorrupted, at+1)
			}
			at = records[len(records)-1].Seq
			if err := fn(records); err != nil {
				return err
			}
		}
	}
	return nil
}

// Close implements archive.Source.
func (r *Reader) Close() error { return nil }

// Builder is an archive.Copy in a database. Nothing else may use the archive meanwhile.
type Builder struct {
	db    *DB
	width int64 // of a part, in milliseconds
	last  uint64
	part  uint64 // the part that is written to
	begun int64  // the receipt of its first envelope in milliseconds, 0 if it is empty

	records []archive.Record
	hashes  map[common.Hash]struct{}
	bytes   int
	over    bool
}

// Build begins a copy in the database's archive, which must be empty, or the error is
// ErrNotEmpty. Of the options it uses Retention. With origin.Continue it goes on with a copy
// of that origin begun earlier.
func (d *DB) Build(ctx context.Context, o ArchiveOptions, origin archive.Origin) (*Builder, error) {
	if o.Retention == 0 {
		o.Retention = archive.DefaultRetention
	}
	if o.width == 0 {
		o.width = engine.PartitionWidth(o.Retention)
	}
	b := &Builder{db: d, width: o.width.Milliseconds(), hashes: map[common.Hash]struct{}{}}
	err := d.again(ctx, func(ctx context.Context) error {
		return pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error { return b.begin(ctx, tx, origin) })
	})
	if err != nil {
		return nil, fmt.Errorf("begin a copy of an archive in %s: %w", d, err)
	}
	return b, nil
}

// begin reads how far the copy has come, or gives the log the origin's identity.
func (b *Builder) begin(ctx context.Context, tx pgx.Tx, origin archive.Origin) error {
	var id []byte
	if err := tx.QueryRow(ctx, "SELECT log, seq, part FROM "+Schema+".head FOR UPDATE").Scan(&id, &b.last, &b.part); err != nil {
		return err
	}
	if origin.Continue && slices.Equal(id, origin.ID[:]) {
		var first, last uint64
		err := tx.QueryRow(ctx, "SELECT first, last, begun FROM "+Schema+".parts WHERE first = $1", int64(b.part)).Scan(&first, &last, &b.begun)
		if last < first {
			b.begun = 0
		}
		return err
	}
	if b.last > 0 {
		return ErrNotEmpty
	}
	// Nothing was ever archived: there is one part, and it is empty.
	if _, err := tx.Exec(ctx, "DELETE FROM "+Schema+".parts"); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "DROP TABLE "+(logPart{first: b.part}).table()); err != nil {
		return err
	}
	b.last, b.part = origin.After, origin.After+1
	if _, err := tx.Exec(ctx, "SELECT "+Schema+".archive_begin($1)", int64(b.part)); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, "UPDATE "+Schema+".head SET log = $1, seq = $2, part = $3", origin.ID[:], int64(b.last), int64(b.part))
	return err
}

// Last implements archive.Copy.
func (b *Builder) Last() uint64 {
	if n := len(b.records); n > 0 {
		return b.records[n-1].Seq
	}
	return b.last
}

// Add implements archive.Copy.
func (b *Builder) Add(r archive.Record) error {
	last := b.Last()
	if r.Seq <= last {
		return fmt.Errorf("%w: %d follows %d", archive.ErrOrder, r.Seq, last)
	}
	_, twice := b.hashes[r.Hash]
	at := r.Received.UnixMilli()
	old := b.begun > 0 && at-b.begun >= b.width
	if twice || old || r.Seq != last+1 || len(b.records) >= appendRows || b.bytes >= appendBytes {
		if err := b.flush(); err != nil {
			return err
		}
	}
	if twice || old || r.Seq != last+1 {
		if err := b.roll(r.Seq); err != nil {
			return err
		}
	}
	if b.begun == 0 {
		b.begun = max(at, 1)
	}
	b.records = append(b.records, r)
	b.hashes[r.Hash] = struct{}{}
	b.bytes += len(r.Envelope.Raw())
	return nil
}

// roll begins the part whose first sequence is first. What was added must be written.
func (b *Builder) roll(first uint64) error {
	err := b.db.again(context.Background(), func(ctx context.Context) error {
		return pgx.BeginFunc(ctx, b.db.pool, func(tx pgx.Tx) error {
			var part int64
			if err := tx.QueryRow(ctx, "SELECT part FROM "+Schema+".head FOR UPDATE").Scan(&part); err != nil || uint64(part) == first {
				return err // or an attempt whose answer was lost has done it
			}
			if b.begun == 0 { // the part is empty: the new one takes its place
				if _, err := tx.Exec(ctx, "DELETE FROM "+Schema+".parts WHERE first = $1", int64(b.part)); err != nil {
					return err
				}
				if _, err := tx.Exec(ctx, "DROP TABLE "+(logPart{first: b.part}).table()); err != nil {
					return err
				}
			}
			if _, err := tx.Exec(ctx, "SELECT "+Schema+".archive_begin($1)", int64(first)); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, "UPDATE "+Schema+".head SET part = $1, seq = $2", int64(first), int64(first-1))
			return err
		})
	})
	if err != nil {
		return fmt.Errorf("write the archive in %s: %w", b.db, err)
	}
	b.part, b.last, b.begun = first, first-1, 0
	return nil
}

// flush writes what was added. A hash that is already in the part goes into a part of its own:
// an envelope may be archived a second time after it has expired.
func (b *Builder) flush() error {
	if len(b.records) == 0 {
		return nil
	}
	err := b.db.again(context.Background(), b.write)
	if hasCode(err, uniqueViolation) && b.part != b.records[0].Seq {
		begun := b.begun
		if err = b.roll(b.records[0].Seq); err == nil {
			b.begun = begun
			err = b.db.again(context.Background(), b.write)
		}
	}
	if err != nil {
		return fmt.Errorf("write the archive in %s: %w", b.db, err)
	}
	b.last = b.records[len(b.records)-1].Seq
	b.records, b.bytes = b.records[:0], 0
	clear(b.hashes)
	return nil
}

// write is one transaction. It may be repeated.
func (b *Builder) write(ctx context.Context) error {
	last := b.records[len(b.records)-1].Seq
	return pgx.BeginFunc(ctx, b.db.pool, func(tx pgx.Tx) error {
		var at int64
		if err := tx.QueryRow(ctx, "SELECT seq FROM "+Schema+".head FOR UPDATE").Scan(&at); err != nil || uint64(at) == last {
			return err // or an attempt whose answer was lost has committed it
		}
		rows := make([][]any, len(b.records))
		var bytes, begun, received, expiry int64
		from, to := int64(1)<<32, int64(0)
		for i, r := range b.records {
			ms := r.Received.UnixMilli()
			rows[i] = []any{int64(r.Seq), ms, int64(r.Sent), r.Topic[:], r.Hash[:], r.Envelope.Raw()}
			bytes += int64(len(r.Envelope.Raw())) + rowBytes
			if i == 0 {
				begun = ms
			}
			received, expiry = max(received, ms), max(expiry, int64(r.Envelope.Expiry))
			from, to = min(from, int64(r.Sent)), max(to, int64(r.Sent))
		}
		table := logPart{first: b.part}.table()[len(Schema)+1:]
		if _, err := tx.CopyFrom(ctx, pgx.Identifier{Schema, table}, []string{"seq", "received", "sent", "topic", "hash", "raw"}, pgx.CopyFromRows(rows)); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `UPDATE `+Schema+`.parts SET last = $2,
			begun = CASE WHEN last < first THEN $3 ELSE begun END,
			received = CASE WHEN last < first THEN $4 ELSE greatest(received, $4) END,
			expiry = greatest(expiry, $5), sent_from = least(sent_from, $6), sent_to = greatest(sent_to, $7), bytes = bytes + $8
			WHERE first = $1`, int64(b.part), int64(last), begun, received, expiry, from, to, bytes)
		if err == nil {
			_, err = tx.Exec(ctx, "UPDATE "+Schema+".head SET seq = $1", int64(last))
		}
		return err
	})
}

// End implements archive.Copy.
func (b *Builder) End(last uint64) error {
	if b.over {
		return nil
	}
	if err := b.flush(); err != nil {
		return err
	}
	b.over = true
	if last > b.last {
		return b.roll(last + 1)
	}
	return nil
}

// Abort implements archive.Copy.
func (b *Builder) Abort() { b.over = true }
