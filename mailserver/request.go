package mailserver

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/mailserver/archive"
	"whisperpush/mailserver/mailwire"
	"whisperpush/whisper"
)

// question is a request together with the id that its answer repeats.
type question struct {
	mailwire.Request
	id    common.Hash
	known bool // Form is known, because the request was opened
	// proves says that the client knows a password that is not public.
	proves bool
	// ahead is by how many seconds, at least, the client's clock is ahead of the
	// server's: its request was sent in the server's future.
	ahead int64
}

// form returns the form for a metric.
func (q question) form() string {
	if !q.known {
		return "unknown"
	}
	return q.Form.String()
}

// refusable reports whether the client understands a refusal.
func (q question) refusable() bool { return q.known && q.Form.EndMark() }

// rejection is the reason why a request is not answered.
type rejection struct {
	outcome outcome
	refusal mailwire.Refusal // what the asker is told, if they can be told
}

func (r *rejection) Error() string { return string(r.outcome) + ": " + string(r.refusal) }

func reject(o outcome, word, sentence string) error {
	return &rejection{outcome: o, refusal: mailwire.Refuse(word, sentence)}
}

// open reads a packet 126. The question is filled in as far as it was
// understood, even if there is an error, which is a *rejection.
func (s *Server) open(p packet, now time.Time) (question, error) {
	env := p.env
	if env == nil {
		return s.openPlain(p.plain)
	}
	q := question{id: env.Hash()}
	msg, password, err := s.decrypt(env)
	if err != nil {
		return q, reject(unopened, mailwire.RefusedRequest, "not for this mailserver")
	}
	q.Request, err = mailwire.DecodeRequest(msg.Payload)
	q.known = err == nil || q.Form.EndMark()
	switch {
	case err != nil:
		return q, reject(malformed, mailwire.RefusedRequest, err.Error())
	case msg.Signer == nil:
		return q, reject(unsigned, mailwire.RefusedRequest, "not signed")
	case s.cfg.MinPoW > 0 && env.PoW(now) < s.cfg.MinPoW:
		return q, reject(lowPoW, mailwire.RefusedRequest, fmt.Sprintf("proof of work %.4g, at least %.4g is asked for", env.PoW(now), s.cfg.MinPoW))
	}
	skew := int64(s.limits.Load().ClockSkew / time.Second)
	if at := now.Unix(); int64(env.Expiry)+skew < at || int64(env.Sent())-skew > at {
		return q, reject(expired, mailwire.RefusedExpired, fmt.Sprintf("sent at %d, here it is %d", env.Sent(), at))
	}
	q.proves = password && s.cfg.KeyIsSecret
	q.ahead = max(int64(env.Sent())-now.Unix(), 0)
	return q, q.check()
}

// openPlain reads a packet 126 that is not an envelope.
func (s *Server) openPlain(packet []byte) (question, error) {
	r, err := mailwire.DecodePlain(packet)
	q := question{Request: r, id: r.ID, known: err == nil}
	switch {
	case err != nil:
		return q, reject(malformed, mailwire.RefusedRequest, err.Error())
	case !s.cfg.Plain:
		return q, reject(plainOff, mailwire.RefusedRequest, "this mailserver answers only requests in envelopes made with its password or public key")
	}
	return q, q.check()
}

// decrypt opens an envelope with whichever key of the mailserver fits, and
// reports whether that was the password's.
func (s *Server) decrypt(env *whisper.Envelope) (msg *whisper.Message, password bool, err error) {
	err = errors.New("no key")
	if s.cfg.Key != nil {
		if msg, err = env.OpenSymmetric(s.cfg.Key); err == nil {
			return msg, true, nil
		}
	}
	if s.cfg.Identity != nil {
		msg, err = env.OpenAsymmetric(s.cfg.Identity)
	}
	return msg, false, err
}

// check fills in what the client left to the mailserver and refuses what makes
// no sense. A classic request with its bounds in the wrong order simply matches
// nothing, as with a genuine mailserver.
func (q *question) check() error {
	if q.Upper == 0 && (q.Form == mailwire.List || q.Form == mailwire.Plain) {
		q.Upper = math.MaxUint32
	}
	if q.Lower > q.Upper && q.Form.EndMark() && len(q.Hashes) == 0 {
		return reject(malformed, mailwire.RefusedRequest, fmt.Sprintf("lower bound %d is above upper bound %d", q.Lower, q.Upper))
	}
	if q.Bloom != nil && *q.Bloom == whisper.FullBloom() {
		q.Bloom = nil
	}
	return nil
}

// query returns the archive's query for a page from the cursor on. last is
// the newest sequence there is.
func (q question) query(l Limits, last uint64) archive.Query {
	out := archive.Query{
		Lower: q.Lower, Upper: q.Upper,
		Topics: q.Topics, Bloom: q.Bloom,
		Descending: q.Form.EndMark() && !q.Cursor.Ascending,
		MaxRows:    l.Rows, MaxBytes: l.Bytes, MaxScan: l.Scan,
	}
	if q.Limit > 0 && int64(q.Limit) < int64(l.Rows) {
		out.MaxRows = int(q.Limit)
	}
	if q.Cursor.Until > 0 {
		out.Upper = min(out.Upper, q.Cursor.Until)
	}
	switch {
	case out.Descending:
		out.Before = q.Cursor.Seq
	case q.Cursor.Seq <= last:
		out.After = q.Cursor.Seq
	default:
		// The cursor does not name its log, and this log is not the one it was made
		// for, but a younger one. Beginning again misses nothing.
		out.After = 0
	}
	return out
}

// since returns the lower bound of a question in the order of the log, by the
// server's clock. A client asks this once, for what was sent since it began, and
// its cursor then skips what it did not get. If its clock was ahead, it would skip
// everything. So the bound is lowered by as much as the clock is ahead. A bound
// that is in the server's future even so comes from a clock that was set since.
// Nobody can tell by how much, so the bound is lowered by as much as a clock may
// be wrong.
func (q question) since(now time.Time, skew time.Duration) uint32 {
	lower := int64(q.Lower) - q.ahead
	if at := now.Unix(); lower > at {
		lower = at - int64(skew/time.Second)
	}
	return uint32(max(lower, 0))
}

// narrow raises the lower bound of a query so that its range is not wider than a
// page may be, and reports whether it did.
func (l Limits) narrow(q archive.Query, now time.Time) (archive.Query, bool) {
	// Nothing is from beyond a clock's error. Without this bound, an upper bound
	// of "forever" would put the window into a future without envelopes.
	end := min(int64(q.Upper), now.Add(l.ClockSkew).Unix())
	floor := end - int64(l.Range/time.Second)
	if int64(q.Lower) >= floor {
		return q, false
	}
	q.Lower = uint32(floor)
	return q, true
}
