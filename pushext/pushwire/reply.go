package pushwire

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/ethereum/go-ethereum/common"
)

// Code is the result of a request. A client treats a code that it does not
// know as a refusal.
type Code uint8

// Codes of a reply.
const (
	OK              Code = 0  // done
	Malformed       Code = 1  // the bytes cannot be read; do not repeat them
	BadVersion      Code = 2  // another version of the protocol
	Unsupported     Code = 3  // a kind of request that this server does not know
	Clock           Code = 4  // issued too far from the server's time, which is in ClockReply
	Replayed        Code = 5  // the ID was used before; ask again with a new one
	Stale           Code = 6  // the version is not greater than the held one, which is in RegisterReply
	Unconfirmed     Code = 7  // allowed only after Confirm
	WrongCode       Code = 8  // the code is wrong or too old; register again for a new one
	UnknownProvider Code = 9  // the server has no provider of that name
	BadAddress      Code = 10 // the provider refuses the form of an address or its keys
	Limit           Code = 11 // too many of something, see Text and Limits
	Busy            Code = 12 // too much work at the moment; repeat later, with a new ID
	NotRegistered   Code = 13 // no registration under this key
	Disabled        Code = 14 // the operator has switched this off
	Internal        Code = 15 // the server's fault, for instance a full disk; repeat later, with a new ID
	Work            Code = 16 // more proof of work is needed, see Limits
	WrongServer     Code = 17 // the request names another server's push key
	Unpaid          Code = 18 // a valid voucher is needed, see Text and the server's Offer
	Retired         Code = 19 // the server has another push key, see Reply.Successions, or ask its operator if there are none
)

var codes = [...]string{
	"ok", "malformed", "bad_version", "unsupported", "clock", "replayed", "stale", "unconfirmed", "wrong_code",
	"unknown_provider", "bad_address", "limit", "busy", "not_registered", "disabled", "internal", "work", "wrong_server",
	"unpaid", "retired",
}

// String is the code's name, such as "bad_address".
func (c Code) String() string {
	if int(c) < len(codes) {
		return codes[c]
	}
	return "code_" + strconv.Itoa(int(c))
}

// CodeFor returns the code that refuses a request for which DecodeRequest
// or OpenRequest returned err.
func CodeFor(err error) Code {
	switch {
	case err == nil:
		return OK
	case errors.Is(err, ErrVersion):
		return BadVersion
	case errors.Is(err, ErrUnsupported):
		return Unsupported
	case errors.Is(err, ErrTooLarge):
		return Limit
	case errors.Is(err, ErrServer):
		return WrongServer
	}
	return Malformed
}

// State is what has become of a registration.
type State uint8

// States of a registration.
const (
	None       State = 0 // there is none
	Waiting    State = 1 // no route is confirmed: nothing is sent but challenges
	Active     State = 2 // confirmed: it is woken
	Dead       State = 3 // every route was given up, Reply.Reason says why; register again
	Expired    State = 4 // its lifetime is over; register again
	Terminated State = 5 // ended by the device or the operator
)

var states = [...]string{"none", "waiting", "active", "dead", "expired", "terminated"}

// String is the state's name, such as "active".
func (s State) String() string {
	if int(s) < len(states) {
		return states[s]
	}
	return "state_" + strconv.Itoa(int(s))
}

// Reply answers a request:
// RLP [version, id, code, text, state, reason, kind, body, to, ledger, successions].
type Reply struct {
	ID   [IDSize]byte // of the request; zero if it could not be read
	Code Code
	Text string // a sentence for people, if Code is not OK

	// State is the state of the requesting device's registration. Every reply
	// has it, so that a device learns with its next request that it is no
	// longer woken, and from Reason why.
	State  State
	Reason string

	Body ReplyBody // may be nil

	// To is the registration key that the reply is for, PushKeySize bytes, so that
	// a reply to one account means nothing to another. SealReply fills it in. It
	// is empty from servers from before 2027.
	To []byte

	// Ledger answers Request.Ledger; nil: it was not asked for, or there is none now. The
	// device must check its signature.
	Ledger *Ledger

	// Successions are set while the server answers a former push key. They lead from the
	// push key that the request was made for, or one before it, to the current one, oldest
	// first; see Follow. The device continues with the last key.
	Successions []Succession `json:",omitzero"`
}

// Error returns the refusal as a Go error, or nil if the code is OK.
func (r *Reply) Error() error {
	if r.Code == OK {
		return nil
	}
	return &RefusalError{Code: r.Code, Text: r.Text}
}

// RefusalError is a reply whose code is not OK.
type RefusalError struct {
	Code Code
	Text string
}

func (e *RefusalError) Error() string {
	return fmt.Sprintf("pushwire: server refuses: %s (%s)", e.Text, e.Code)
}

// ReplyBody is *RegisterReply, *StatusReply, *FetchReply, *ClockReply or *Ring.
type ReplyBody interface {
	replyKind() uint8
	encode(writer)
	decode(*reader)
}

func newReplyBody(kind uint64) ReplyBody {
	switch kind {
	case 1:
		return new(RegisterReply)
	case 2:
		return new(StatusReply)
	case 3:
		return new(FetchReply)
	case 4:
		return new(ClockReply)
	case 5:
		return new(Ring)
	}
	return nil
}

// EncodeReply returns the payload of a reply's message. Text and reason are cut
// to MaxText.
func EncodeReply(rep Reply) ([]byte, error) {
	return encode(func(w writer) {
		w.WriteUint64(Version)
		w.WriteBytes(rep.ID[:])
		w.WriteUint64(uint64(rep.Code))
		w.WriteString(clip(rep.Text))
		w.WriteUint64(uint64(rep.State))
		w.WriteString(clip(rep.Reason))
		if rep.Body == nil {
			w.WriteUint64(0)
			w.list(func() {})
		} else {
			w.WriteUint64(uint64(rep.Body.replyKind()))
			w.list(func() { rep.Body.encode(w) })
		}
		more := len(rep.Successions) > 0
		w.tail(len(rep.To) > 0 || rep.Ledger != nil || more, func() { w.WriteBytes(rep.To) })
		w.tail(rep.Ledger != nil || more, func() {
			ledger := rep.Ledger
			if ledger == nil {
				ledger = new(Ledger) // devices from before successions existed cannot read an empty list here
			}
			w.list(func() { ledger.encode(w, rep.Body) })
		})
		w.tail(more, func() { writeSuccessions(w, rep.Successions) })
	})
}

func clip(s string) string {
	if len(s) > MaxText {
		s = strings.ToValidUTF8(s[:MaxText], "")
	}
	return s
}

// DecodeReply reads the payload of a reply's message. An error wraps
// ErrMalformed, ErrVersion or ErrTooLarge. A body of an unknown kind is left
// out. The reply aliases b.
func DecodeReply(b []byte) (Reply, error) {
	var rep Reply
	if len(b) > MaxPayload {
		return rep, fmt.Errorf("%w: reply of %d bytes, at most %d", ErrTooLarge, len(b), MaxPayload)
	}
	r := newReader(b)
	if version := r.uint("version"); r.err == nil && version != Version {
		r.fail(ErrVersion, "%d, not %d", version, Version)
	}
	r.fixed("request id", rep.ID[:])
	rep.Code = Code(r.small("code", math.MaxUint8))
	rep.Text = string(r.bytes("text", MaxText))
	rep.State = State(r.small("state", math.MaxUint8))
	rep.Reason = string(r.bytes("reason", MaxText))
	kind := r.uint("body kind")
	inner := r.list("body")
	if rep.Body = newReplyBody(kind); rep.Body != nil && inner.err == nil {
		rep.Body.decode(inner)
	}
	r.leave(inner)
	rep.To = r.maybe("receiver", PushKeySize)
	rep.Ledger = option("ledger", func(r *reader) Ledger { return readLedger(r, rep.Body) })(r)
	if rep.Ledger != nil && rep.Ledger.absent() {
		rep.Ledger = nil
	}
	rep.Successions = readSuccessions(r)
	if r.err != nil {
		return Reply{}, r.err
	}
	return rep, nil
}

// Standing tells a device about its registration and the server: [now, epoch,
// log], the last elements of a RegisterReply and a StatusReply. It is zero from
// servers from before 2027.
type Standing struct {
	// Now is the server's time in Unix milliseconds. A device begins its
	// history at it, whatever its own clock says.
	Now uint64
	// Epoch names the registration's sequence of wake-ups. A new registration under
	// the same key counts from the beginning and has another epoch.
	Epoch uint64
	// Log is the identity of the archive's log, at most MaxLogID bytes. Cursors of
	// another log are meaningless. Empty: not known.
	Log []byte
}

// encode writes s if it is not zero, or if more elements follow.
func (s *Standing) encode(w writer, more bool) {
	w.tail(more || s.Now != 0 || s.Epoch != 0 || len(s.Log) > 0, func() {
		w.WriteUint64(s.Now)
		w.WriteUint64(s.Epoch)
		w.WriteBytes(s.Log)
	})
}

func (s *Standing) decode(r *reader) {
	s.Now = r.uint("now")
	s.Epoch = r.uint("epoch")
	s.Log = r.bytes("log", MaxLogID)
}

// Limits are what a server allows: [routes, channels, lifetime, fetch, pow, sealed].
type Limits struct {
	Routes   uint64  // routes of a registration
	Channels uint64  // channels of a registration
	Lifetime uint64  // longest lifetime in seconds
	Fetch    uint64  // hashes in one Fetch or Seen
	PoW      float64 // least proof of work of a request's envelope, as in EIP-627
	// Sealed says that the plain form is refused: a Register needs a seal key.
	Sealed bool `json:",omitzero"`
}

func (l *Limits) encode(w writer) {
	w.list(func() {
		w.WriteUint64(l.Routes)
		w.WriteUint64(l.Channels)
		w.WriteUint64(l.Lifetime)
		w.WriteUint64(l.Fetch)
		w.WriteUint64(math.Float64bits(l.PoW))
		w.tail(l.Sealed, func() { w.WriteBool(l.Sealed) })
	})
}

func readLimits(r *reader) Limits {
	return sublist("limits", func(r *reader) (l Limits) {
		l.Routes = r.uint("routes")
		l.Channels = r.uint("channels")
		l.Lifetime = r.uint("lifetime")
		l.Fetch = r.uint("fetch")
		l.PoW = math.Float64frombits(r.uint("proof of work"))
		if !(l.PoW >= 0) || math.IsInf(l.PoW, 1) {
			r.fail(ErrMalformed, "proof of work is not a number")
		}
		l.Sealed = r.bool("sealed")
		return l
	})(r)
}

// RegisterReply answers Register, Confirm, Channels and Unregister, and
// comes with refusals that it helps to understand: kind 1, [version,
// expires, challenged, limits, now, epoch, log].
type RegisterReply struct {
	Version    uint64 // the version that the server holds now
	Expires    uint64 // when the registration ends, Unix seconds
	Challenged bool   // a challenge is on its way to at least one address
	Limits     Limits
	Standing
}

func (*RegisterReply) replyKind() uint8 { return 1 }

func (b *RegisterReply) encode(w writer) {
	w.WriteUint64(b.Version)
	w.WriteUint64(b.Expires)
	w.WriteBool(b.Challenged)
	b.Limits.encode(w)
	b.Standing.encode(w, false)
}

func (b *RegisterReply) decode(r *reader) {
	b.Version = r.uint("version")
	b.Expires = r.uint("expires")
	b.Challenged = r.bool("challenged")
	b.Limits = readLimits(r)
	b.Standing.decode(r)
}

// RouteStatus is what the server knows about a route: [provider, state, reason,
// doubt]. It does not repeat the address.
type RouteStatus struct {
	Provider string
	State    State  // Waiting, Active or Dead
	Reason   string // why it is dead, or in doubt
	// Doubt is the time, in Unix seconds, since when the push service says
	// that the address is gone while the server does not believe it yet; 0:
	// the push service does not say so.
	Doubt uint64
}

// StatusReply answers Status: kind 2,
// [version, expires, seq, plain, routes, channels, revoked, limits, now, epoch, log, delivery].
type StatusReply struct {
	Version  uint64
	Expires  uint64 // Unix seconds
	Seq      uint64 // sequence number of the newest wake-up
	Plain    bool
	Routes   []RouteStatus
	Channels []Channel
	Revoked  []string
	Limits   Limits
	Standing
	Delivery *Delivery // answers Status.Detail; nil: it was not asked for, or the server does not know it
}

// Delivery describes how well wake-ups get through: [fetched, silenced, unread, pending, tests,
// routes].
type Delivery struct {
	Fetched  uint64 // when the device last fetched, Unix seconds; 0: never, as far as the server remembers
	Silenced bool   // not woken until it shows a sign of life: it fetches, says what was seen, registers or connects
	Unread   uint64 // envelopes that the device has not fetched
	Pending  uint64 // of those, not covered by an accepted wake-up
	Tests    uint64 // how many test pushes it may ask for now
	// Routes are in the order of StatusReply.Routes.
	Routes []RouteDelivery
}

// RouteDelivery describes how well wake-ups get through on one route: [accepted, budget,
// tested, outcome, reason].
type RouteDelivery struct {
	// Accepted is when the push service of the route last accepted a wake-up for the
	// device, Unix seconds; 0: never, as far as the server remembers.
	Accepted uint64
	Budget   uint64  // wake-ups that may be sent now
	Tested   uint64  // when the latest test push was asked for, Unix seconds; 0: none was lately
	Outcome  Outcome // of that
	Reason   string  // the push service's or the server's, if the push was not accepted
}

// Outcome is what became of a test push.
type Outcome uint8

// Outcomes of a test push.
const (
	TestNone     Outcome = 0 // none was asked for lately
	TestWaiting  Outcome = 1 // it is on its way to the push service
	TestAccepted Outcome = 2 // the push service accepted it
	TestFailed   Outcome = 3 // the push service did not accept it
	TestHeld     Outcome = 4 // it was not sent, as the device was sent as much as the push service allows
)

var outcomes = [...]string{"none", "waiting", "accepted", "failed", "held"}

// String is the outcome's name, such as "accepted".
func (o Outcome) String() string {
	if int(o) < len(outcomes) {
		return outcomes[o]
	}
	return "outcome_" + strconv.Itoa(int(o))
}

func (d *Delivery) encode(w writer) {
	w.WriteUint64(d.Fetched)
	w.WriteBool(d.Silenced)
	w.WriteUint64(d.Unread)
	w.WriteUint64(d.Pending)
	w.WriteUint64(d.Tests)
	w.list(func() {
		for i := range d.Routes {
			route := &d.Routes[i]
			w.list(func() {
				w.WriteUint64(route.Accepted)
				w.WriteUint64(route.Budget)
				w.WriteUint64(route.Tested)
				w.WriteUint64(uint64(route.Outcome))
				w.WriteString(clip(route.Reason))
			})
		}
	})
}

func readDelivery(r *reader) (d Delivery) {
	d.Fetched = r.uint("fetched")
	d.Silenced = r.bool("silenced")
	d.Unread = r.uint("unread")
	d.Pending = r.uint("pending")
	d.Tests = r.uint("tests")
	d.Routes = items(r, "routes", MaxRoutes, sublist("route", func(r *reader) (s RouteDelivery) {
		s.Accepted = r.uint("accepted")
		s.Budget = r.uint("budget")
		s.Tested = r.uint("tested")
		s.Outcome = Outcome(r.small("outcome", math.MaxUint8))
		s.Reason = string(r.bytes("reason", MaxText))
		return s
	}))
	return d
}

func (*StatusReply) replyKind() uint8 { return 2 }

func (b *StatusReply) encode(w writer) {
	w.WriteUint64(b.Version)
	w.WriteUint64(b.Expires)
	w.WriteUint64(b.Seq)
	w.WriteBool(b.Plain)
	w.list(func() {
		for _, route := range b.Routes {
			w.list(func() {
				w.WriteString(route.Provider)
				w.WriteUint64(uint64(route.State))
				w.WriteString(route.Reason)
				w.tail(route.Doubt != 0, func() { w.WriteUint64(route.Doubt) })
			})
		}
	})
	writeChannels(w, b.Channels)
	writeHolders(w, b.Revoked)
	b.Limits.encode(w)
	b.Standing.encode(w, b.Delivery != nil)
	w.tail(b.Delivery != nil, func() {
		w.list(func() { b.Delivery.encode(w) })
	})
}

func (b *StatusReply) decode(r *reader) {
	b.Version = r.uint("version")
	b.Expires = r.uint("expires")
	b.Seq = r.uint("sequence")
	b.Plain = r.bool("plain")
	b.Routes = items(r, "routes", MaxRoutes, sublist("route", func(r *reader) (s RouteStatus) {
		s.Provider = string(r.bytes("provider name", MaxProviderName))
		s.State = State(r.small("state", math.MaxUint8))
		s.Reason = string(r.bytes("reason", MaxText))
		s.Doubt = r.uint("doubt")
		return s
	}))
	b.Channels = readChannels(r, Muted)
	b.Revoked = readHolders(r, MaxHeldRevoked)
	b.Limits = readLimits(r)
	b.Standing.decode(r)
	b.Delivery = option("delivery", readDelivery)(r)
}

// FetchReply follows the envelopes of a Fetch: kind 3, [sent, missing, later, owed].
// Every hash asked for is in one of the first three.
type FetchReply struct {
	Sent    []common.Hash // delivered just before
	Missing []common.Hash // not in the archive, never or no longer
	Later   []common.Hash // did not fit this answer: ask again; they may be missing too
	Owed    *Owed         // answers Fetch.Owed; nil: it was not asked for, or the server does not know it
}

// Owed is what a server owes a device besides envelopes: [dismissed].
type Owed struct {
	// Dismissed are envelopes whose notifications are to be removed because they were
	// seen on another device, the oldest first; at most MaxFetch. They are repeated until
	// an OwedQuery names them.
	Dismissed []common.Hash
}

func (*FetchReply) replyKind() uint8 { return 3 }

func (b *FetchReply) encode(w writer) {
	writeHashes(w, b.Sent)
	writeHashes(w, b.Missing)
	writeHashes(w, b.Later)
	w.tail(b.Owed != nil, func() {
		w.list(func() { writeHashes(w, b.Owed.Dismissed) })
	})
}

func (b *FetchReply) decode(r *reader) {
	b.Sent = readHashes(r, MaxFetch)
	b.Missing = readHashes(r, MaxFetch)
	b.Later = readHashes(r, MaxFetch)
	b.Owed = option("owed", func(r *reader) (o Owed) {
		o.Dismissed = readHashes(r, MaxFetch)
		return o
	})(r)
}

// ClockReply comes with the code Clock: kind 4, [now].
type ClockReply struct {
	Now uint64 // the server's time, Unix milliseconds
}

func (*ClockReply) replyKind() uint8 { return 4 }

func (b *ClockReply) encode(w writer)  { w.WriteUint64(b.Now) }
func (b *ClockReply) decode(r *reader) { b.Now = r.uint("now") }

// Ring is a wake-up over the device's own link instead of a push service. It
// answers no request, so the reply's ID is zero: kind 5, [body].
type Ring struct {
	// Body is what a push service would have carried, see OpenPayload; at most
	// 4096 bytes.
	Body []byte
}

func (*Ring) replyKind() uint8 { return 5 }

func (b *Ring) encode(w writer)  { w.WriteBytes(b.Body) }
func (b *Ring) decode(r *reader) { b.Body = r.bytes("ring", maxBody) }
