package mailwire

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/common"
)

// errorMark begins the content of a packet 125 that is a refusal.
const errorMark = "ERROR="

// MaxRefusalText is the longest text of a refusal, in bytes. A longer text is
// cut when it is read or written.
const MaxRefusalText = 256

// Complete is the end mark of an answer: the content of the byte string in a
// packet 125. Its encodings:
//
//	id 32                                     the oldest form, read only
//	id 32 ‖ last envelope 32 ‖ cursor 0 or 36 no cursor: there is no more
//	… ‖ cursor 36 ‖ after 8 ‖ at 8 ‖ signature 64   with a proof, which the request asked for
//	"ERROR=" ‖ id 32 ‖ text                   a refusal
type Complete struct {
	ID      common.Hash // of the request
	Last    common.Hash // of the last envelope sent; zero: none was
	Cursor  Cursor      // where to continue; zero: there is no more
	Refusal Refusal     // not empty: the request was refused, or failed halfway
	Proof   *Proof      // answers Request.Prove; nil: there is none
}

// Encode returns the content of the byte string in a packet 125.
func (c Complete) Encode() []byte {
	if c.Refusal != "" {
		return slices.Concat([]byte(errorMark), c.ID[:], []byte(c.Refusal.printable()))
	}
	b := slices.Concat(c.ID[:], c.Last[:], c.Cursor.Bytes())
	if c.Proof != nil && len(b) == 2*common.HashLength+CursorSize {
		b = append(b, c.Proof.bytes()...)
	}
	return b
}

// DecodeComplete reads the content of the byte string in a packet 125. It keeps
// nothing of it. An error wraps ErrMalformed.
func DecodeComplete(b []byte) (Complete, error) {
	if text, ok := bytes.CutPrefix(b, []byte(errorMark)); ok && len(text) >= common.HashLength {
		refusal := Refusal(text[common.HashLength:min(len(text), common.HashLength+MaxRefusalText)])
		if refusal == "" {
			refusal = "failed: no reason given"
		}
		return Complete{ID: common.Hash(text[:common.HashLength]), Refusal: refusal.printable()}, nil
	}
	var proof *Proof
	if marked := 2*common.HashLength + CursorSize; len(b) == marked+proofSize {
		b, proof = b[:marked], parseProof(b[marked:])
	}
	switch len(b) {
	case common.HashLength:
		return Complete{ID: common.Hash(b)}, nil
	case 2 * common.HashLength, 2*common.HashLength + CursorSize, 2*common.HashLength + longCursorSize:
		cursor, err := ParseCursor(b[2*common.HashLength:])
		if err != nil {
			return Complete{}, err
		}
		if cursor.IsZero() {
			proof = nil // it proves no place in the log
		}
		return Complete{
			ID:     common.Hash(b[:common.HashLength]),
			Last:   common.Hash(b[common.HashLength : 2*common.HashLength]),
			Cursor: cursor,
			Proof:  proof,
		}, nil
	}
	return Complete{}, malformed("end mark of %d bytes", len(b))
}

// Refusal is the reason why a request was not answered: a word for programs, a
// colon and a sentence for people. Other mailservers send only a sentence.
type Refusal string

// Words that begin a refusal.
const (
	RefusedBusy    = "busy"    // ask again, not before RetryAfter
	RefusedRequest = "request" // the request makes no sense; asking again does not help
	RefusedExpired = "expired" // the request is too old or from the future: check the clock
	RefusedFailed  = "failed"  // the mailserver could not read its archive
)

// Refuse returns a refusal with a word of this package and a sentence.
func Refuse(word, sentence string) Refusal { return Refusal(word + ": " + sentence) }

const retryAfter = "retry after "

// RefuseBusy returns the refusal that asks the client to come back after a time,
// which is rounded up to seconds.
func RefuseBusy(after time.Duration, sentence string) Refusal {
	seconds := int64((after + time.Second - 1) / time.Second)
	return Refuse(RefusedBusy, fmt.Sprintf("%s%d s: %s", retryAfter, max(seconds, 1), sentence))
}

// Word returns the word that the refusal begins with, or "" if it is not a word
// of this package.
func (r Refusal) Word() string {
	word, _, _ := strings.Cut(string(r), ":")
	switch word {
	case RefusedBusy, RefusedRequest, RefusedExpired, RefusedFailed:
		return word
	}
	return ""
}

// RetryAfter returns how long a busy mailserver asks to be left alone, at most a
// day, or 0 if it does not say.
func (r Refusal) RetryAfter() time.Duration {
	rest, ok := strings.CutPrefix(string(r), RefusedBusy+": "+retryAfter)
	if !ok {
		return 0
	}
	digits, _, _ := strings.Cut(rest, " ")
	seconds, err := strconv.ParseUint(digits, 10, 32)
	if err != nil {
		return 0
	}
	return min(time.Duration(seconds)*time.Second, 24*time.Hour)
}

// printable returns the text cut to MaxRefusalText, with every character replaced
// that could upset a terminal or a log.
func (r Refusal) printable() Refusal {
	return Refusal(strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, string(r[:min(len(r), MaxRefusalText)])))
}
