package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

const (
	// attemptTimeout is how long one request waits for its reply, dialling included:
	// on 2G the handshakes alone take three seconds. A link that is refused or
	// breaks ends the attempt at once.
	attemptTimeout = 8 * time.Second
	// maxAttempts is how often a request is sent if the caller has set no time for
	// it, each time under a new ID.
	maxAttempts = 4
	// firstPause is how long a device waits before the second attempt. Each later
	// pause is twice as long, up to maxPause; a random part of up to a half is cut
	// from every pause.
	firstPause = 250 * time.Millisecond
	maxPause   = 10 * time.Second
	// maxPoW is the most proof of work that a device does for a server: about a
	// second on a phone.
	maxPoW = 10
)

// errSilent says that an attempt's time passed without an answer.
var errSilent = fmt.Errorf("no answer within %s", attemptTimeout)

// known is what the replies in this run told about the server.
type known struct {
	offset time.Duration // of its clock from ours
	clock  bool          // offset is known
	log    []byte        // identity of its archive's log; empty: unknown
	pow    float64       // that it requires
	fetch  int           // hashes that it accepts in one request

	version uint64 // of the registration that it holds; the greatest that it told
	looked  bool   // the device has checked whether another one has the same keys

	limits   pushwire.Limits // from its newest reply that had them; zero: unknown
	receipts bool            // it accepts receipts without sending again (Fetch.Received)
}

func newKnown() known { return known{pow: pushwire.DefaultPoW, fetch: pushwire.MaxFetch} }

// now is the time on the server's clock, as far as it is known.
func (d *Device) now() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return time.Now().Add(d.known.offset)
}

// exchange is a request and its answer.
type exchange struct {
	request   pushwire.RequestBody
	reply     pushwire.Reply
	envelopes []*whisper.Envelope
}

// GaveUpError says that the mailserver did not answer for as long as it was asked.
// If the caller's context ended, the error is also that end (errors.Is).
type GaveUpError struct {
	What     string // what was asked, such as "status"
	Attempts int
	Cause    error // of the last attempt that failed by itself; nil: none did
	End      error // of the caller's time, ErrAsleep or ErrClosed; nil: there were enough attempts
}

func (e *GaveUpError) Error() string {
	text := fmt.Sprintf("client: %s: gave up after %d attempts", e.What, e.Attempts)
	if e.End != nil {
		text = fmt.Sprintf("client: %s: %v", e.What, e.End)
	}
	if e.Cause != nil {
		return fmt.Sprintf("%s: %v", text, e.Cause)
	}
	return text + ": the mailserver has not answered"
}

// Unwrap returns Cause and End.
func (e *GaveUpError) Unwrap() []error {
	return slices.DeleteFunc([]error{e.End, e.Cause}, func(err error) bool { return err == nil })
}

// persist repeats an attempt until it succeeds or says that it never will: as long
// as ctx allows, or maxAttempts times if ctx has no deadline. The caller has the
// turn.
func (d *Device) persist(ctx context.Context, what string, attempt func() (again bool, err error)) error {
	_, bounded := ctx.Deadline()
	gaveUp := &GaveUpError{What: what}
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		again, err := attempt()
		gaveUp.Attempts++
		if inner := new(GaveUpError); errors.As(err, &inner) {
			inner.What = what // it tried for the same time
			return inner
		}
		if ctx.Err() == nil {
			if err == nil || !again {
				return err
			}
			gaveUp.Cause = err
			if !bounded && gaveUp.Attempts == maxAttempts {
				return gaveUp
			}
			_ = wait(ctx, pause/2+rand.N(pause/2))
		} else if err == nil {
			return nil
		}
		if gaveUp.End = ended(ctx); gaveUp.End != nil {
			return gaveUp
		}
	}
}

// reach connects where needed, and retries.
func (d *Device) reach(ctx context.Context) (s *session, err error) {
	err = d.persist(ctx, "connect", func() (bool, error) {
		limited, cancel := context.WithTimeoutCause(ctx, attemptTimeout, errSilent)
		defer cancel()
		s, err = d.connect(limited)
		return true, blame(ctx, limited, err)
	})
	return s, err
}

// ask sends a request until it is answered, connecting where needed, and returns the
// reply whatever its code. It repeats a request that may succeed later: after a lost
// link, no reply, a busy server, a clock that is off, or too little work.
func (d *Device) ask(ctx context.Context, body pushwire.RequestBody) (x exchange, err error) {
	if err := sayable(body); err != nil { // without dialling
		return exchange{}, err
	}
	err = d.persist(ctx, body.Kind().String(), func() (bool, error) {
		x, err = d.tryOnce(ctx, body)
		switch {
		case err != nil:
			d.hangUp()
			return true, err
		case d.goOn(ctx, &x.reply) && x.reply.Code == pushwire.Retired:
			return true, x.reply.Error()
		case d.again(x.reply):
			return true, x.reply.Error()
		}
		return false, nil
	})
	return x, err
}

// sayable refuses a request that exceeds the limits of the protocol.
func sayable(body pushwire.RequestBody) error {
	if _, err := pushwire.EncodeRequest(pushwire.NewRequest(body, time.Now())); err != nil {
		return fmt.Errorf("client: %w", err)
	}
	return nil
}

// tryOnce sends one request and waits for its reply. Its error is the end of ctx
// only if ctx has ended.
func (d *Device) tryOnce(ctx context.Context, body pushwire.RequestBody) (exchange, error) {
	limited, cancel := context.WithTimeoutCause(ctx, attemptTimeout, errSilent)
	defer cancel()
	x := exchange{request: body}
	s, err := d.connect(limited)
	if err == nil {
		d.mu.Lock()
		pow, listens, ledger := d.known.pow, d.listens > 0, d.asksLedger()
		d.mu.Unlock()
		_, status := body.(*pushwire.Status)
		request := pushwire.NewRequest(body, d.now())
		request.Ledger = ledger
		x.reply, x.envelopes, err = s.do(limited, request, x.wanted(), pow, listens && status)
	}
	return x, blame(ctx, limited, err)
}

// blame replaces an error that is the end of an inner context with the cause of that
// end, so that nobody takes it for the end of the outer one.
func blame(outer, inner context.Context, err error) error {
	switch {
	case err == nil || !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded):
		return err
	case outer.Err() != nil:
		return ended(outer)
	case inner.Err() == nil:
		return fmt.Errorf("%v", err) // of some other context
	}
	return context.Cause(inner)
}

// again learns from a reply, and reports whether the request is to be sent once
// more.
func (d *Device) again(reply pushwire.Reply) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch reply.Code {
	case pushwire.Clock:
		if clock, ok := reply.Body.(*pushwire.ClockReply); ok {
			d.known.offset = time.Until(time.UnixMilli(int64(clock.Now)))
		}
		return true
	case pushwire.Busy, pushwire.Internal, pushwire.Replayed:
		return true
	}
	d.learn(reply)
	d.state.Heard = max(d.state.Heard, uint32(time.Now().Unix()))
	return reply.Code == pushwire.Work
}

// learn takes from a reply what matters to later requests. The caller holds mu.
func (d *Device) learn(reply pushwire.Reply) {
	d.known.clock = true // correct within a few minutes, or the request had been refused
	if reply.Ledger != nil {
		d.ledger(reply.Ledger)
	}
	switch body := reply.Body.(type) {
	case *pushwire.RegisterReply:
		d.standing(body.Standing, body.Limits)
		d.known.version = max(d.known.version, body.Version)
	case *pushwire.StatusReply:
		d.standing(body.Standing, body.Limits)
		d.known.version = max(d.known.version, body.Version)
		if reply.Code == pushwire.OK && d.state.Seq > body.Seq {
			d.state.Seq = 0 // it was of a sequence that is over
		}
		if reply.Code == pushwire.OK {
			d.state.Plain, d.state.Asked = body.Plain, ""
		}
	}
	switch reply.State {
	case pushwire.None:
		if reply.Code != pushwire.OK && reply.Code != pushwire.NotRegistered {
			return // the server did not look for the registration
		}
		fallthrough
	case pushwire.Expired, pushwire.Terminated:
		d.state.Epoch, d.state.Seq = 0, 0 // new wake-ups count from the start
	}
	d.state.Active = reply.State == pushwire.Active
}

func (d *Device) standing(s pushwire.Standing, limits pushwire.Limits) {
	d.known.limits = limits
	d.known.pow = min(max(d.known.pow, limits.PoW), maxPoW)
	if limits.Fetch > 0 {
		d.known.fetch = int(min(limits.Fetch, pushwire.MaxFetch))
	}
	if s.Now != 0 {
		d.known.receipts = true
		d.known.offset = time.Until(time.UnixMilli(int64(s.Now)))
	}
	if len(s.Log) > 0 {
		d.known.log = s.Log
	}
	if s.Epoch != 0 && s.Epoch != d.state.Epoch {
		d.state.Epoch, d.state.Seq = s.Epoch, 0
	}
}

// IsRefused tells whether an error is the server's refusal with that code.
func IsRefused(err error, code pushwire.Code) bool {
	var refusal *pushwire.RefusalError
	return errors.As(err, &refusal) && refusal.Code == code
}
