package inbox

import (
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rlp"

	"whisperpush/pushext/client"
)

// record is one change of the model. Applying it again changes nothing more.
type record interface {
	kind() uint64
	apply(m *model)
}

// The kinds of records. Numbers are never reused.
const (
	kindDevice = iota + 1
	kindMessage
	kindRead
	kindReadMessages
	kindGone
	kindDisplay
	kindMute
	kindBlock
	kindTold
	kindSynced
	kindUnopened
	kindOpened
	kindAction
	kindDraft
	kindSealed
	kindPosted
	kindCopy
	kindMarks
	kindCounts
	kindChannels
	kindOwed
)

// newRecord returns an empty record of a kind, or nil if there is no such kind.
func newRecord(kind uint64) record {
	switch kind {
	case kindDevice:
		return new(deviceRecord)
	case kindMessage:
		return new(messageRecord)
	case kindRead:
		return new(readRecord)
	case kindReadMessages:
		return new(readMessagesRecord)
	case kindGone:
		return new(goneRecord)
	case kindDisplay:
		return new(displayRecord)
	case kindMute:
		return new(muteRecord)
	case kindBlock:
		return new(blockRecord)
	case kindTold:
		return new(toldRecord)
	case kindSynced:
		return new(syncedRecord)
	case kindUnopened:
		return new(unopenedRecord)
	case kindOpened:
		return new(openedRecord)
	case kindAction:
		return new(actionRecord)
	case kindDraft:
		return new(draftRecord)
	case kindSealed:
		return new(sealedRecord)
	case kindPosted:
		return new(postedRecord)
	case kindCopy:
		return new(copyRecord)
	case kindMarks:
		return new(marksRecord)
	case kindCounts:
		return new(countsRecord)
	case kindChannels:
		return new(channelsRecord)
	case kindOwed:
		return new(owedRecord)
	}
	return nil
}

type envelopeOfRecord struct {
	Kind uint64
	Body rlp.RawValue
}

func encodeRecord(r record) []byte {
	body, err := rlp.EncodeToBytes(r)
	if err == nil {
		body, err = rlp.EncodeToBytes(envelopeOfRecord{r.kind(), body})
	}
	if err != nil {
		panic("inbox: internal error: " + err.Error()) // no record fails
	}
	return body
}

// decodeRecords reads the records of a frame.
func decodeRecords(b []byte, each func(record)) error {
	for len(b) > 0 {
		_, _, rest, err := rlp.Split(b)
		if err != nil {
			return fmt.Errorf("damaged: %w", err)
		}
		var e envelopeOfRecord
		if err := rlp.DecodeBytes(b[:len(b)-len(rest)], &e); err != nil {
			return fmt.Errorf("damaged: %w", err)
		}
		r := newRecord(e.Kind)
		if r == nil {
			return fmt.Errorf("%w: record of kind %d", ErrLater, e.Kind)
		}
		if err := rlp.DecodeBytes(e.Body, r); err != nil {
			return fmt.Errorf("record of kind %d: %w", e.Kind, errors.Join(errRecord, err))
		}
		each(r)
		b = rest
	}
	return nil
}

var errRecord = errors.New("damaged")

// deviceRecord names the device among the user's own, by a random number.
type deviceRecord struct{ ID uint64 }

// messageRecord is a message that arrived, or was sent from here.
type messageRecord struct {
	Hash    common.Hash
	Message common.Hash
	Chat    client.ChatID
	Sender  []byte // compressed; empty: not signed
	Payload []byte
	Text    string
	Sent    uint64 // Unix milliseconds
	Came    uint64 // Unix milliseconds
	Claimed bool
	Own     bool
	Read    bool
	Cut     bool          // the payload was too long to be kept
	Known   bool          // the user was told of it, or it arrived while muted or blocked
	Display uint64        // as in displayRecord
	Copies  []common.Hash `rlp:"tail"`
}

// readRecord says that messages were read. Here has the server and the other
// devices told.
type readRecord struct {
	Hashes []common.Hash
	Here   bool
}

// readMessagesRecord says that messages were read elsewhere, whatever envelope
// they come in.
type readMessagesRecord struct{ Marks []mark }

// goneRecord removes messages.
type goneRecord struct{ Hashes []common.Hash }

// displayRecord says what the platform shows.
type displayRecord struct {
	Hashes []common.Hash
	State  uint64
}

const (
	notDisplayed = iota
	maybeDisplayed
	displayed
)

// stamp orders changes of one thing that several devices made.
type stamp struct {
	At     uint64 // Unix milliseconds
	Device uint64
}

func (s stamp) after(t stamp) bool { return s.At > t.At || s.At == t.At && s.Device > t.Device }

// muteRecord silences a chat; Until 0 ends that.
type muteRecord struct {
	Chat  client.ChatID
	Until uint64 // Unix seconds
	Stamp stamp
	Here  bool
}

// blockRecord blocks a sender.
type blockRecord struct {
	Sender []byte
	On     bool
	Stamp  stamp
	Here   bool
}

// toldRecord says that the server knows that envelopes were read.
type toldRecord struct{ Hashes []common.Hash }

// syncedRecord says that the other devices were told of the changes named here.
type syncedRecord struct {
	Marks  []mark
	Stamps []stamp
}

// unopenedRecord keeps an envelope until its key arrives or a limit pushes it
// out.
type unopenedRecord struct {
	Came uint64 // Unix milliseconds
	Raw  []byte
}

// openedRecord removes an envelope from those that are kept.
type openedRecord struct{ Hash common.Hash }

// actionRecord remembers that an action was carried out.
type actionRecord struct{ ID string }

// draftRecord is a message to be sent.
type draftRecord struct {
	ID      string
	Chat    client.ChatID
	To      []byte // compressed key of the receiver; empty: the chat's key
	Payload []byte
	Written uint64 // Unix milliseconds
}

// sealedRecord is a draft in its encrypted form, which is final.
type sealedRecord struct {
	ID  string
	Raw []byte
}

// postedRecord says that the server has a message, or why it never will.
type postedRecord struct {
	ID      string
	Failure string
}

// copyRecord is another envelope of a message.
type copyRecord struct{ Hash, Message common.Hash }

// marksRecord holds marks of a set, in a rewritten file.
type marksRecord struct {
	Set   uint64
	Marks []mark
}

// countsRecord holds the counters, in a rewritten file.
type countsRecord struct{ Unopened, Dropped, Evicted uint64 }

// owedRecord holds hashes that the server is to be told of, in a rewritten
// file.
type owedRecord struct{ Hashes []common.Hash }

// channelsRecord says whether the server was told the chats' modes.
type channelsRecord struct{ Told bool }

func (*deviceRecord) kind() uint64       { return kindDevice }
func (*messageRecord) kind() uint64      { return kindMessage }
func (*readRecord) kind() uint64         { return kindRead }
func (*readMessagesRecord) kind() uint64 { return kindReadMessages }
func (*goneRecord) kind() uint64         { return kindGone }
func (*displayRecord) kind() uint64      { return kindDisplay }
func (*muteRecord) kind() uint64         { return kindMute }
func (*blockRecord) kind() uint64        { return kindBlock }
func (*toldRecord) kind() uint64         { return kindTold }
func (*syncedRecord) kind() uint64       { return kindSynced }
func (*unopenedRecord) kind() uint64     { return kindUnopened }
func (*openedRecord) kind() uint64       { return kindOpened }
func (*actionRecord) kind() uint64       { return kindAction }
func (*draftRecord) kind() uint64        { return kindDraft }
func (*sealedRecord) kind() uint64       { return kindSealed }
func (*postedRecord) kind() uint64       { return kindPosted }
func (*copyRecord) kind() uint64         { return kindCopy }
func (*marksRecord) kind() uint64        { return kindMarks }
func (*countsRecord) kind() uint64       { return kindCounts }
func (*channelsRecord) kind() uint64     { return kindChannels }
func (*owedRecord) kind() uint64         { return kindOwed }
