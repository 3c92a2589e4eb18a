package mailwire

import (
	"bytes"
	"encoding/binary"
	"math"

	"github.com/ethereum/go-ethereum/common"
)

const (
	// CursorSize is the length of a cursor in bytes: what status-go's fixed form
	// has room for.
	CursorSize = 36
	// longCursorSize is the length of the database keys of late status-go
	// versions, which some of its clients send back whole.
	longCursorSize = 40
)

// cursorMagic begins every cursor of ours. As the time that begins the cursors of
// other mailservers it would be in the year 2105.
const cursorMagic = 0xff777063

// LogIDSize is the length of a LogID in bytes.
const LogIDSize = 16

// LogID is the identity of a mailserver's log, drawn at random when its archive is
// begun: sequences of two logs have nothing to do with each other. Zero: unknown.
type LogID [LogIDSize]byte

// CursorMark is the beginning of the hash of an envelope.
type CursorMark [3]byte

// MarkOf returns the mark of the envelope with that hash.
func MarkOf(hash common.Hash) CursorMark { return CursorMark(hash[:]) }

const (
	ascendingFlag = 1 << iota
	completeFlag
)

// Cursor is where an answer stopped, or where one is to begin. The zero value
// means the beginning.
type Cursor struct {
	// Seq is a receive sequence, exclusive: the answer goes on after it in
	// ascending order and before it in descending order; 0 is no bound.
	Seq uint64
	// Ascending asks for the order of the log, oldest first. Otherwise the
	// order is newest first.
	Ascending bool
	// Complete is set by the mailserver on the cursor of an ascending answer
	// that reached the end of the log. It means nothing in a request.
	Complete bool
	// Until, if not 0, bounds the range of the request from above once more, in
	// Unix seconds, inclusive.
	Until uint32
	// Mark tells the envelope at Seq from another: a log that was put back to an
	// earlier state keeps its identity and gives its sequences again. Zero: unknown.
	Mark CursorMark
	// Log is the log that Seq is a sequence of. A mailserver with another one
	// begins again; to one of which nothing is known, Seq is its own.
	Log LogID
	// foreign is the encoding of another mailserver, which it gets back as it was.
	foreign string
}

// Since returns the cursor that asks for everything committed after sequence seq,
// oldest first; 0 means from the oldest envelope there is.
func Since(seq uint64) Cursor { return Cursor{Seq: seq, Ascending: true} }

// Resume returns the cursor that asks for everything committed after the place of
// c, oldest first, whatever order c came from. A mailserver to which c does not
// belong gives all it has.
func (c Cursor) Resume() Cursor {
	return Cursor{Seq: c.Seq, Ascending: true, Log: c.Log, Mark: c.Mark}
}

// In returns the cursor as the log of that identity is to read it: if it belongs
// to another log, neither its sequence nor its bound in time says what the client
// has, and only the order is left.
func (c Cursor) In(log LogID) Cursor {
	if c.Log == (LogID{}) || c.Log == log {
		return c
	}
	return Cursor{Ascending: c.Ascending}
}

// IsZero tells whether the cursor says nothing, which is encoded as no bytes.
func (c Cursor) IsZero() bool { return c == Cursor{} }

// Bytes returns the encoding: CursorSize bytes, or none for the zero value. A
// cursor of another mailserver is returned as it was.
func (c Cursor) Bytes() []byte {
	if c.foreign != "" {
		return []byte(c.foreign)
	}
	if c.IsZero() {
		return nil
	}
	b := make([]byte, 0, CursorSize)
	b = binary.BigEndian.AppendUint32(b, cursorMagic)
	var flags byte
	if c.Ascending {
		flags |= ascendingFlag
	}
	if c.Complete {
		flags |= completeFlag
	}
	b = append(b, flags)
	b = binary.BigEndian.AppendUint64(b, c.Seq)
	b = binary.BigEndian.AppendUint32(b, c.Until)
	b = append(b, c.Log[:]...)
	return append(b, c.Mark[:]...)
}

// ParseCursor reads a cursor. No bytes, or zeros only, are the zero value.
//
// A cursor of 36 or 40 bytes that is not ours comes from a client that asked
// another mailserver before. It begins with the sent time of the last envelope
// that one had sent; it is read as a bound on the range, so the client goes on
// where it was, seeing at most one second again.
func ParseCursor(b []byte) (Cursor, error) {
	if len(b) == 0 {
		return Cursor{}, nil
	}
	if len(b) != CursorSize && len(b) != longCursorSize {
		return Cursor{}, malformed("cursor of %d bytes, not %d", len(b), CursorSize)
	}
	first := binary.BigEndian.Uint32(b)
	if first != cursorMagic {
		if len(bytes.Trim(b, "\x00")) == 0 {
			return Cursor{}, nil
		}
		return Cursor{Until: first, foreign: string(b)}, nil
	}
	flags := b[4]
	if len(b) != CursorSize || flags > ascendingFlag|completeFlag {
		return Cursor{}, malformed("cursor of an unknown kind")
	}
	c := Cursor{
		Seq:       binary.BigEndian.Uint64(b[5:]),
		Ascending: flags&ascendingFlag != 0,
		Complete:  flags&completeFlag != 0,
		Until:     binary.BigEndian.Uint32(b[13:]),
		Log:       LogID(b[17:]),
		Mark:      CursorMark(b[33:]),
	}
	if c.Seq > math.MaxInt64 {
		return Cursor{}, malformed("cursor with a sequence beyond 63 bits")
	}
	return c, nil
}
