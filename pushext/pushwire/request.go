package pushwire

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
)

// RequestKind is the second element of a request.
type RequestKind uint8

// Kinds of requests.
const (
	KindRegister   RequestKind = 1
	KindConfirm    RequestKind = 2
	KindChannels   RequestKind = 3
	KindUnregister RequestKind = 4
	KindStatus     RequestKind = 5
	KindFetch      RequestKind = 6
	KindSeen       RequestKind = 7
	KindNotify     RequestKind = 8
)

var requestKinds = [...]string{
	KindRegister: "register", KindConfirm: "confirm", KindChannels: "channels", KindUnregister: "unregister",
	KindStatus: "status", KindFetch: "fetch", KindSeen: "seen", KindNotify: "notify",
}

// String is the kind's name, such as "register", or "unknown".
func (k RequestKind) String() string {
	if int(k) < len(requestKinds) && requestKinds[k] != "" {
		return requestKinds[k]
	}
	return "unknown"
}

// Request is what a device asks of a server:
// RLP [version, kind, id, issued, body, server, ledger].
type Request struct {
	ID     [IDSize]byte // random; the reply repeats it, and a server answers it once
	Issued uint64       // Unix milliseconds by the device's clock
	Body   RequestBody

	// Server is the push key that the request is made for, PushKeySize bytes, so
	// that no server can pass the request on to another. SealRequest fills it
	// in. It is empty from devices from before 2027.
	Server []byte

	// Ledger asks for the registration's ledger in the reply, whatever the request;
	// nil: it does not. Servers from before 2027 ignore it.
	Ledger *LedgerQuery
}

// For reports whether the server with that push key may answer a request,
// that is, whether the request names no other key.
func (r *Request) For(pushKey *ecdsa.PublicKey) bool {
	return len(r.Server) == 0 || bytes.Equal(r.Server, crypto.CompressPubkey(pushKey))
}

// NewRequest gives a body a random ID and the time now.
func NewRequest(body RequestBody, now time.Time) Request {
	r := Request{Issued: uint64(now.UnixMilli()), Body: body}
	rand.Read(r.ID[:])
	return r
}

// RequestBody is *Register, *Confirm, *Channels, *Unregister, *Status, *Fetch,
// *Seen or *Notify.
type RequestBody interface {
	// Kind says which of them the body is.
	Kind() RequestKind

	encode(writer)
	decode(*reader)
}

func newBody(kind RequestKind) RequestBody {
	switch kind {
	case KindRegister:
		return new(Register)
	case KindConfirm:
		return new(Confirm)
	case KindChannels:
		return new(Channels)
	case KindUnregister:
		return new(Unregister)
	case KindStatus:
		return new(Status)
	case KindFetch:
		return new(Fetch)
	case KindSeen:
		return new(Seen)
	case KindNotify:
		return new(Notify)
	}
	return nil
}

// EncodeRequest returns the payload of a request's message. It fails with
// ErrTooLarge or ErrMalformed if something exceeds a limit, so that nothing is
// sent that the other end would refuse.
func EncodeRequest(req Request) ([]byte, error) {
	if req.Body == nil {
		return nil, fmt.Errorf("%w: request without a body", ErrMalformed)
	}
	b, err := encode(func(w writer) {
		w.WriteUint64(Version)
		w.WriteUint64(uint64(req.Body.Kind()))
		w.WriteBytes(req.ID[:])
		w.WriteUint64(req.Issued)
		w.list(func() { req.Body.encode(w) })
		w.tail(len(req.Server) > 0 || req.Ledger != nil, func() { w.WriteBytes(req.Server) })
		w.tail(req.Ledger != nil, func() { w.list(func() { req.Ledger.encode(w) }) })
	})
	if err != nil {
		return nil, err
	}
	if _, err := DecodeRequest(b); err != nil {
		return nil, fmt.Errorf("encoding a %s request: %w", req.Body.Kind(), err)
	}
	return b, nil
}

// DecodeRequest reads the payload of a request's message. An error wraps
// ErrMalformed, ErrVersion, ErrUnsupported or ErrTooLarge. The request then
// still has its ID if that could be read, so that the refusal can name it. The
// request aliases b.
func DecodeRequest(b []byte) (Request, error) {
	var req Request
	if len(b) > MaxPayload {
		return req, fmt.Errorf("%w: request of %d bytes, at most %d", ErrTooLarge, len(b), MaxPayload)
	}
	r := newReader(b)
	version := r.uint("version")
	kind := r.uint("kind")
	r.fixed("request id", req.ID[:])
	if r.err == nil && version != Version {
		r.fail(ErrVersion, "%d, not %d", version, Version)
	}
	var body RequestBody
	if r.err == nil {
		if kind <= 0xff {
			body = newBody(RequestKind(kind))
		}
		if body == nil {
			r.fail(ErrUnsupported, "request kind %d", kind)
		}
	}
	req.Issued = r.uint("issue time")
	inner := r.list("body")
	if inner.err == nil {
		body.decode(inner)
	}
	r.leave(inner)
	req.Server = r.maybe("server", PushKeySize)
	req.Ledger = option("ledger", readLedgerQuery)(r)
	if r.err != nil {
		return Request{ID: req.ID}, r.err
	}
	req.Body = body
	return req, nil
}

// Unregister ends a registration: [version]. The server forgets everything
// but the key and the version, which keep an older Register from coming
// back.
type Unregister struct {
	Version uint64 // greater than that of any earlier change
}

// Kind is KindUnregister.
func (*Unregister) Kind() RequestKind { return KindUnregister }

func (u *Unregister) encode(w writer)  { w.WriteUint64(u.Version) }
func (u *Unregister) decode(r *reader) { u.Version = r.uint("version") }

// Status asks what the server knows about the registration: [detail].
type Status struct {
	// Detail asks how well wake-ups get through; nil: the device does not ask.
	Detail *StatusDetail
}

// StatusDetail asks how well wake-ups get through: [test].
type StatusDetail struct {
	// Test asks for a test push, of kind Canary, on every route in use.
	Test bool
}

// Kind is KindStatus.
func (*Status) Kind() RequestKind { return KindStatus }

func (s *Status) encode(w writer) {
	w.tail(s.Detail != nil, func() {
		w.list(func() { w.WriteBool(s.Detail.Test) })
	})
}

func (s *Status) decode(r *reader) {
	s.Detail = option("detail", func(r *reader) (d StatusDetail) {
		d.Test = r.bool("test")
		return d
	})(r)
}

// Fetch asks for exactly these envelopes: [hashes, received, owed]. Each comes in a direct
// message of its own, before the FetchReply. Fetch is also the receipt for the wake-ups
// that named them.
type Fetch struct {
	Hashes []common.Hash // at most MaxFetch
	// Received are envelopes that the device has from elsewhere, a request for mail.
	// They are not sent and need no more wake-ups. At most MaxFetch. Servers from
	// before 2027 ignore them.
	Received []common.Hash
	// Owed asks what else the server owes the device; nil: the device does not ask.
	Owed *OwedQuery
}

// OwedQuery asks what a server owes a device besides envelopes: [dismissed].
type OwedQuery struct {
	// Dismissed are dismissals that the device was told of, by a push or by FetchReply,
	// and need not be told again. At most MaxFetch.
	Dismissed []common.Hash
}

// Kind is KindFetch.
func (*Fetch) Kind() RequestKind { return KindFetch }

func (f *Fetch) encode(w writer) {
	writeHashes(w, f.Hashes)
	w.tail(len(f.Received) > 0 || f.Owed != nil, func() { writeHashes(w, f.Received) })
	w.tail(f.Owed != nil, func() {
		w.list(func() { writeHashes(w, f.Owed.Dismissed) })
	})
}

func (f *Fetch) decode(r *reader) {
	f.Hashes = readHashes(r, MaxFetch)
	f.Received = readHashes(r, MaxFetch)
	f.Owed = option("owed", func(r *reader) (q OwedQuery) {
		q.Dismissed = readHashes(r, MaxFetch)
		return q
	})(r)
}

// Seen says that these envelopes need no wake-up any more, because they were
// read on this device or sent by it: [hashes]. It holds for every device of
// the group; those that were already woken are told to remove the
// notification.
type Seen struct {
	Hashes []common.Hash // at most MaxFetch
}

// Kind is KindSeen.
func (*Seen) Kind() RequestKind { return KindSeen }

func (s *Seen) encode(w writer)  { writeHashes(w, s.Hashes) }
func (s *Seen) decode(r *reader) { s.Hashes = readHashes(r, MaxFetch) }

func writeHashes(w writer, hashes []common.Hash) {
	w.list(func() {
		for i := range hashes {
			w.WriteBytes(hashes[i][:])
		}
	})
}

func readHashes(r *reader, max int) []common.Hash {
	return items(r, "hashes", max, func(r *reader) (h common.Hash) {
		r.fixed("hash", h[:])
		return h
	})
}
