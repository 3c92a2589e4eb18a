package mailwire

import (
	"bytes"
	"encoding/binary"
	"math"

	"github.com/ethereum/go-ethereum/common"
)

const (
	// CursorSize is the length of a cursor in bytes: the room for it in
	// status-go's fixed form.
	CursorSize = 36
	// longCursorSize is the length of the database keys of late status-go
	// versions, which some of its clients send back whole.
	longCursorSize = 40
)

// cursorMagic begins every cursor of this mailserver. The cursors of others begin
// with a time; read as one, cursorMagic is in the year 2105.
const cursorMagic = 0xff777063

// LogIDSize is the length of a LogID in bytes.
const LogIDSize = 16

// LogID is the identity of a mailserver's log, drawn at random when its archive is
// begun. Sequences of different logs are unrelated. Zero: unknown.
type LogID [LogIDSize]byte

// CursorMark is the beginning of the hash of an envelope.
type CursorMark [3]byte

// MarkOf returns the mark of the envelope with that hash.
func MarkOf(hash common.Hash) CursorMark { return CursorMark(hash[:]) }

const (
	ascendingFlag = 1 << iota
	completeFlag
)

// Cursor is where an answer stopped, or where one should begin. The zero value
// means the beginning.
type Cursor struct {
	// Seq is a receive sequence, exclusive: the answer continues after it in
	// ascending order and before it in descending order; 0 is no bound.
	Seq uint64
	// Ascending asks for the order of the log, oldest first. Otherwise the
	// order is newest first.
	Ascending bool
	// Complete is set by the mailserver on the cursor of an ascending answer
	// that reached the end of the log. It means nothing in a request.
	Complete bool
	// Until, if not 0, is a further upper bound on the range of the request, in Unix
	// seconds, inclusive.
	Until uint32
	// Mark identifies the envelope at Seq, because a log that was restored to an
	// earlier state keeps its identity and assigns its sequences again. Zero:
	// unknown.
	Mark CursorMark
	// Log is the log that Seq belongs to. A mailserver with another log begins
	// again. If Log is zero, the mailserver takes Seq as a sequence of its own log.
	Log LogID
	// foreign is the encoding of another mailserver's cursor, which is sent
	// back unchanged.
	foreign string
}

// Since returns the cursor that asks for everything committed after sequence seq,
// oldest first; 0 means from the oldest envelope there is.
func Since(seq uint64) Cursor { return Cursor{Seq: seq, Ascending: true} }

// Resume returns the cursor that asks for everything committed after the place of
// c, oldest first, whatever order c came from. A mailserver whose log c does not
// belong to sends everything it has.
func (c Cursor) Resume() Cursor {
	return Cursor{Seq: c.Seq, Ascending: true, Log: c.Log, Mark: c.Mark}
}

// In returns the cursor as the log with that identity must read it. If the cursor
// belongs to another log, neither its sequence nor its time bound says what the
// client has, so only the order is kept.
func (c Cursor) In(log LogID) Cursor {
	if c.Log == (LogID{}) || c.Log == log {
		return c
	}
	return Cursor{Ascending: c.Ascending}
}

// IsZero reports whether the cursor is empty. An empty cursor is encoded as no bytes.
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
// A cursor of 36 or 40 bytes without cursorMagic comes from a client that asked
// another mailserver before. It begins with the sent time of the last envelope of
// that answer, which is read as a bound on the range. So the client continues where
// it was and sees at most one second again.
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
