package mailserver

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/desk"
	"whisperpush/mailserver/archive"
	"whisperpush/mailserver/mailwire"
	"whisperpush/whisper"
)

// errUndelivered means that a peer did not take an answer.
var errUndelivered = errors.New("mailserver: answer not delivered")

// way is the receiver of an answer, during its turn at the desk.
type way struct {
	*desk.Turn
	Caller
}

// answer sends what the question asks for.
func (s *Server) answer(ctx context.Context, to way, q question) (outcome, error) {
	if q.Form == mailwire.Classic {
		return s.answerClassic(ctx, to, q)
	}
	var (
		end mailwire.Complete
		err error
	)
	switch {
	case len(q.Hashes) > 0:
		end.Last, err = s.answerHashes(ctx, to, q)
	case q.Cursor.Ascending:
		end, err = s.answerAscending(ctx, to, q)
	default:
		q.Cursor = s.place(q.Cursor)
		end.Last, end.Cursor, err = s.answerDescending(ctx, to, q)
		end.Cursor = s.stamp(end.Cursor)
	}
	if err != nil {
		return failed, err
	}
	end.ID = q.id
	if q.Batch {
		s.metrics.batched.Inc()
	}
	return answered, s.complete(ctx, to, end)
}

// place returns the place in the log that a cursor means. It is the beginning if
// the cursor is of another log, or of a state of this log that was undone.
func (s *Server) place(c mailwire.Cursor) mailwire.Cursor {
	if c.Mark != (mailwire.CursorMark{}) {
		if hash, ok := s.cfg.Store.HashAt(c.Seq); ok && c.Mark != mailwire.MarkOf(hash) {
			return mailwire.Cursor{Ascending: c.Ascending}
		}
	}
	return c.In(s.cfg.Store.ID())
}

// stamp returns a cursor that names its log.
func (s *Server) stamp(c mailwire.Cursor) mailwire.Cursor {
	if c.Seq == 0 && !c.Ascending {
		return c // it is a time bound, or the end
	}
	c.Log = s.cfg.Store.ID()
	if hash, ok := s.cfg.Store.HashAt(c.Seq); ok && c.Ascending {
		c.Mark = mailwire.MarkOf(hash)
	}
	return c
}

// answerClassic sends everything from the oldest to the newest, page after page,
// without an end mark.
func (s *Server) answerClassic(ctx context.Context, to way, q question) (outcome, error) {
	rows, size := s.limits.Load().ClassicRows, s.limits.Load().ClassicBytes
	for query := q.query(*s.limits.Load(), 0); ; {
		query.MaxRows, query.MaxBytes = min(query.MaxRows, rows), min(query.MaxBytes, size)
		page, err := s.cfg.Store.Query(ctx, query)
		if err != nil {
			return failed, err
		}
		// The order of a genuine mailserver, within a page.
		slices.SortFunc(page.Records, func(a, b archive.Record) int {
			return cmp.Or(cmp.Compare(a.Sent, b.Sent), bytes.Compare(a.Hash[:], b.Hash[:]))
		})
		if err := s.deliver(ctx, to, page.Records, false); err != nil {
			return undelivered, err
		}
		if page.Next == 0 {
			return answered, nil
		}
		rows, size = rows-len(page.Records), size-recordBytes(page.Records)
		if rows <= 0 || size <= 0 {
			return truncated, nil
		}
		query.After = page.Next
	}
}

// answerDescending sends one page from the newest to the oldest.
func (s *Server) answerDescending(ctx context.Context, to way, q question) (last common.Hash, cursor mailwire.Cursor, err error) {
	query := q.query(*s.limits.Load(), 0)
	for windows := 1; ; windows++ {
		page, older, err := s.window(ctx, query)
		if err != nil {
			return last, cursor, err
		}
		if older > 0 && len(page.Records) == 0 && windows < maxWindows {
			// Nothing is in this window. Continue with the one before, so
			// that the client need not come back for each of them.
			query.Upper, query.Before = older, 0
			continue
		}
		if page.Next != 0 {
			cursor.Seq = page.Next
			if query.Upper < q.Upper {
				cursor.Until = query.Upper
			}
		} else {
			cursor.Until = older
		}
		err = s.deliver(ctx, to, page.Records, q.Batch)
		return lastHash(page.Records), cursor, err
	}
}

// window returns a page of at most Limits.Range of time before the query's upper
// bound. If it is the last page of that time, and there is something earlier,
// older is the upper bound of what is left.
func (s *Server) window(ctx context.Context, query archive.Query) (page archive.Page, older uint32, err error) {
	narrow, narrowed := s.limits.Load().narrow(query, time.Now())
	page, err = s.cfg.Store.Query(ctx, narrow)
	if err != nil || page.Next != 0 || !narrowed {
		return page, 0, err
	}
	query.Upper, query.Before, query.MaxRows = narrow.Lower-1, 0, 1
	rest, err := s.cfg.Store.Query(ctx, query)
	if err != nil || len(rest.Records) == 0 && rest.Next == 0 {
		return page, 0, err
	}
	return page, query.Upper, nil
}

// answerAscending sends one page in the order of the log and returns its end mark. Its
// cursor always says where to continue, now or when there is more.
func (s *Server) answerAscending(ctx context.Context, to way, q question) (end mailwire.Complete, err error) {
	q.Cursor = s.place(q.Cursor)
	newest := s.cfg.Store.Last() // read before the query, so that nothing is missed in between
	query := q.query(*s.limits.Load(), newest)
	query.Lower = q.since(time.Now(), s.limits.Load().ClockSkew)
	page, err := s.cfg.Store.Query(ctx, query)
	if err != nil {
		return end, err
	}
	cursor := mailwire.Cursor{Ascending: true, Seq: page.Next, Complete: page.Next == 0}
	if cursor.Complete {
		cursor.Seq = newest
		if n := len(page.Records); n > 0 {
			cursor.Seq = max(newest, page.Records[n-1].Seq)
		}
	}
	if err := s.deliver(ctx, to, page.Records, q.Batch); err != nil {
		return end, err
	}
	end = mailwire.Complete{Last: lastHash(page.Records), Cursor: s.stamp(cursor)}
	if q.Prove {
		end.Proof = s.prove(query.After, end.Cursor, page.Records)
	}
	return end, nil
}

// prove signs that records are in the log after a sequence and not after a cursor. It
// returns nil if there are no records, or if this server signs nothing.
func (s *Server) prove(after uint64, end mailwire.Cursor, records []archive.Record) *mailwire.Proof {
	if s.cfg.Sign == nil || len(records) == 0 {
		return nil
	}
	proof := &mailwire.Proof{After: after, At: uint64(time.Now().UnixMilli())}
	sent := make([]common.Hash, len(records))
	for i := range records {
		sent[i] = records[i].Hash
	}
	statement := mailwire.StatementOf(end, proof, sent)
	signature, err := s.cfg.Sign(statement.Digest())
	if err != nil || len(signature) < mailwire.SignatureSize {
		s.log.Error("an answer to a request for mail cannot be signed", "err", err)
		return nil
	}
	copy(proof.Signature[:], signature)
	return proof
}

// answerHashes sends those of the named envelopes that are archived.
func (s *Server) answerHashes(ctx context.Context, to way, q question) (last common.Hash, err error) {
	for hashes := range slices.Chunk(q.Hashes, hashesAtOnce) {
		found, _, err := s.cfg.Store.ByHash(ctx, hashes)
		if err != nil {
			return last, err
		}
		if err := s.deliver(ctx, to, found, q.Batch); err != nil {
			return last, err
		}
		if len(found) > 0 {
			last = lastHash(found)
		}
	}
	return last, nil
}

// deliver hands the envelopes to the peer in small parts, each with its own
// timeout. So a slow peer is given up soon, and a steady one never.
func (s *Server) deliver(ctx context.Context, to way, records []archive.Record, batch bool) error {
	for len(records) > 0 {
		var (
			envs []*whisper.Envelope
			size int
		)
		for _, r := range records {
			n := len(r.Envelope.Raw())
			if len(envs) > 0 && size+n > sendBytes {
				break
			}
			envs, size = append(envs, r.Envelope), size+n
		}
		records = records[len(envs):]

		s.metrics.attempts.Inc()
		if err := s.send(ctx, to, envs, batch); err != nil {
			s.metrics.failures.Inc()
			return fmt.Errorf("%w: %w", errUndelivered, err)
		}
		s.metrics.envelopes.Add(float64(len(envs)))
		s.metrics.bytes.Add(float64(size))
	}
	return nil
}

func (s *Server) send(ctx context.Context, to way, envs []*whisper.Envelope, batch bool) error {
	ctx, cancel := context.WithTimeout(ctx, s.limits.Load().SendTimeout)
	defer cancel()
	return to.Lend(ctx, func(ctx context.Context) error {
		if batch {
			return to.SendBatch(ctx, envs)
		}
		return to.Send(ctx, envs...)
	})
}

// complete sends the end mark.
func (s *Server) complete(ctx context.Context, to way, c mailwire.Complete) error {
	ctx, cancel := context.WithTimeout(ctx, s.limits.Load().SendTimeout)
	defer cancel()
	return to.Lend(ctx, func(ctx context.Context) error { return s.end(ctx, to, c) })
}

// end sends an end mark, whoever's turn it is.
func (s *Server) end(ctx context.Context, to Caller, c mailwire.Complete) error {
	if err := to.Complete(ctx, c.Encode()); err != nil {
		return fmt.Errorf("%w: end mark: %w", errUndelivered, err)
	}
	return nil
}

func lastHash(records []archive.Record) common.Hash {
	if len(records) == 0 {
		return common.Hash{}
	}
	return records[len(records)-1].Hash
}

func recordBytes(records []archive.Record) (n int) {
	for _, r := range records {
		n += len(r.Envelope.Raw())
	}
	return n
}
