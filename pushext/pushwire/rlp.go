package pushwire

import (
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/rlp"
)

// Errors of the decoders. CodeFor turns them into the code of a refusal.
var (
	// ErrMalformed means that bytes are not a message of this protocol.
	ErrMalformed = errors.New("pushwire: malformed message")
	// ErrVersion means that a message has another version of the protocol.
	ErrVersion = errors.New("pushwire: protocol version is not supported")
	// ErrUnsupported means that a message is of an unknown kind.
	ErrUnsupported = errors.New("pushwire: kind of message is not supported")
	// ErrTooLarge means that a message exceeds a limit of this package.
	ErrTooLarge = errors.New("pushwire: message exceeds a limit")
	// ErrSigner means that a message is not signed, or not by the expected key.
	ErrSigner = errors.New("pushwire: message is not signed by the expected key")
	// ErrServer means that a request names the push key of another server.
	ErrServer = errors.New("pushwire: request is made for another server")
	// ErrReceiver means that a reply or a challenge is for another account or
	// from another server, or that a challenge does not say.
	ErrReceiver = errors.New("pushwire: message is for another account")
)

// reader takes the elements of an RLP list one by one. The first error sticks,
// so that a decoder checks once, at its end. A missing element reads as zero;
// elements beyond those read are ignored. The values that it returns alias the
// input.
type reader struct {
	rest []byte
	err  error
}

// newReader opens the single list that b consists of.
func newReader(b []byte) *reader {
	content, rest, err := rlp.SplitList(b)
	r := &reader{rest: content}
	if err != nil {
		r.fail(ErrMalformed, "message: %v", err)
	} else if len(rest) != 0 {
		r.fail(ErrMalformed, "message is followed by %d bytes", len(rest))
	}
	return r
}

func (r *reader) fail(sentinel error, format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: "+format, append([]any{sentinel}, args...)...)
		r.rest = nil
	}
}

// bytes reads a string of at most max bytes.
func (r *reader) bytes(what string, max int) []byte {
	if r.err != nil || len(r.rest) == 0 {
		return nil
	}
	b, rest, err := rlp.SplitString(r.rest)
	switch {
	case err != nil:
		r.fail(ErrMalformed, "%s: %v", what, err)
		return nil
	case len(b) > max:
		r.fail(ErrTooLarge, "%s of %d bytes, at most %d", what, len(b), max)
		return nil
	}
	r.rest = rest
	if len(b) == 0 {
		return nil
	}
	return b
}

// fixed reads a string of exactly size bytes into dst.
func (r *reader) fixed(what string, dst []byte) {
	b := r.bytes(what, MaxPayload)
	if r.err == nil && len(b) != len(dst) {
		r.fail(ErrMalformed, "%s of %d bytes, not %d", what, len(b), len(dst))
		return
	}
	copy(dst, b)
}

// maybe reads a string that is either empty or of exactly size bytes.
func (r *reader) maybe(what string, size int) []byte {
	b := r.bytes(what, MaxPayload)
	if len(b) != 0 && len(b) != size {
		r.fail(ErrMalformed, "%s of %d bytes, not %d", what, len(b), size)
		return nil
	}
	return b
}

func (r *reader) uint(what string) uint64 {
	if r.err != nil || len(r.rest) == 0 {
		return 0
	}
	n, rest, err := rlp.SplitUint64(r.rest)
	if err != nil {
		r.fail(ErrMalformed, "%s: %v", what, err)
		return 0
	}
	r.rest = rest
	return n
}

// small reads a number of at most max.
func (r *reader) small(what string, max uint64) uint8 {
	n := r.uint(what)
	if n > max {
		r.fail(ErrMalformed, "%s is %d, at most %d", what, n, max)
		return 0
	}
	return uint8(n)
}

func (r *reader) bool(what string) bool { return r.small(what, 1) == 1 }

// list enters a list.
func (r *reader) list(what string) *reader {
	if r.err != nil || len(r.rest) == 0 {
		return &reader{err: r.err}
	}
	content, rest, err := rlp.SplitList(r.rest)
	if err != nil {
		r.fail(ErrMalformed, "%s: %v", what, err)
		return &reader{err: r.err}
	}
	r.rest = rest
	return &reader{rest: content}
}

// leave ends a list that was entered, and passes its error on to r.
func (r *reader) leave(inner *reader) {
	if r.err == nil && inner.err != nil {
		r.err, r.rest = inner.err, nil
	}
}

// items reads a list of at most max elements into a slice.
func items[T any](r *reader, what string, max int, each func(*reader) T) []T {
	inner := r.list(what)
	defer r.leave(inner)
	if inner.err != nil {
		return nil
	}
	n, err := rlp.CountValues(inner.rest)
	switch {
	case err != nil:
		inner.fail(ErrMalformed, "%s: %v", what, err)
		return nil
	case n > max:
		inner.fail(ErrTooLarge, "%d %s, at most %d", n, what, max)
		return nil
	case n == 0:
		return nil
	}
	all := make([]T, 0, n)
	for inner.err == nil && len(inner.rest) > 0 {
		all = append(all, each(inner))
	}
	return all
}

// sublist reads an element that is a list; each reads its fields.
func sublist[T any](what string, each func(*reader) T) func(*reader) T {
	return func(r *reader) T {
		inner := r.list(what)
		v := each(inner)
		r.leave(inner)
		return v
	}
}

// option reads an element that is a list, as sublist does; nil if it is missing.
func option[T any](what string, each func(*reader) T) func(*reader) *T {
	return func(r *reader) *T {
		if r.err != nil || len(r.rest) == 0 {
			return nil
		}
		v := sublist(what, each)(r)
		return &v
	}
}

// writer builds an RLP list.
type writer struct{ rlp.EncoderBuffer }

// list writes a list whose elements each writes.
func (w writer) list(each func()) {
	at := w.List()
	each()
	w.ListEnd(at)
}

// tail writes elements that were added at the end of a list in a later
// version. They are left out if they say nothing, as an older sender leaves
// them out.
func (w writer) tail(some bool, each func()) {
	if some {
		each()
	}
}

// encode returns the list whose elements each writes, if it fits a message.
func encode(each func(w writer)) ([]byte, error) {
	w := writer{rlp.NewEncoderBuffer(nil)}
	w.list(func() { each(w) })
	b := w.ToBytes()
	w.Flush()
	if len(b) > MaxPayload {
		return nil, fmt.Errorf("%w: %d bytes encoded, at most %d", ErrTooLarge, len(b), MaxPayload)
	}
	return b, nil
}
