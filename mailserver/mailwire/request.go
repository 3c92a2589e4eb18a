package mailwire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/whisper"
)

// Limits on what a request may hold, checked before anything is allocated for it.
const (
	// MaxPayload is the longest request inside an envelope, in bytes. The
	// longest sensible one has MaxTopics topics and MaxHashes hashes.
	MaxPayload = 8 << 10
	// MaxPacket is the longest packet 126, in bytes: a payload with its padding,
	// its encryption and its envelope, generously.
	MaxPacket = 32 << 10
	// MaxTopics is how many topics one request may name. A client with more
	// topics sends several requests.
	MaxTopics = 256
	// MaxHashes is how many envelopes one request may name.
	MaxHashes = 64
	// MaxClockSkew is how far apart the clocks of a client and a mailserver may be
	// for a request to be answered. In the order of the log, the lower bound of a
	// range is corrected by as much as the client's clock is ahead, up to this.
	MaxClockSkew = 24 * time.Hour
	// MaxLimit is the largest number of envelopes that a request asks for in one
	// answer: the limit of status-go's mailservers.
	MaxLimit = 2000
)

// ErrMalformed means that bytes are not a request, end mark or cursor.
var ErrMalformed = errors.New("mailwire: malformed")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
}

// Form is how a request is encoded; it decides how the request is answered.
type Form uint8

// Forms, see the package comment.
const (
	Classic Form = iota // 8 or 72 bytes; answered without an end mark
	Fixed               // 76 or 112 bytes
	List                // RLP in an envelope
	Plain               // RLP without an envelope
)

// String returns the name of the form in lower case.
func (f Form) String() string {
	switch f {
	case Classic:
		return "classic"
	case Fixed:
		return "fixed"
	case List:
		return "list"
	case Plain:
		return "plain"
	}
	return "unknown"
}

// EndMark reports whether the answer to a request of this form ends with
// a Complete, and so whether it can be refused.
func (f Form) EndMark() bool { return f != Classic }

// Request asks a mailserver for archived envelopes.
type Request struct {
	Form Form
	// ID names a Plain request. The id of the other forms is the hash of
	// their envelope, and the field is not used.
	ID common.Hash

	Lower, Upper uint32          // sent time, Unix seconds, inclusive; Upper 0 in a List: to the end
	Bloom        *whisper.Bloom  // filter that must cover the topics; nil: every topic
	Topics       []whisper.Topic // exactly these topics; empty: see Bloom. List only
	Hashes       []common.Hash   // exactly these envelopes, whatever the other fields say. List only
	Limit        uint32          // most envelopes to send; 0: as many as the mailserver likes
	Cursor       Cursor          // where to begin
	Batch        bool            // answer with lists of envelopes. List only; always so for Plain

	// Prove asks for a Proof in the end mark of an answer in ascending order. List only. A
	// mailserver from before 2027 ignores it.
	Prove bool `json:",omitzero"`
}

// Lengths of the fixed forms, in bytes.
const (
	rangeSize  = 8
	bloomSize  = rangeSize + whisper.BloomSize
	limitSize  = bloomSize + 4
	cursorSize = limitSize + CursorSize
)

// DecodeRequest reads the payload of the message in a packet 126: every form but
// Plain. It keeps nothing of the payload. An error wraps ErrMalformed; even
// then, the Form tells whether the client understands a refusal.
func DecodeRequest(payload []byte) (Request, error) {
	if len(payload) > MaxPayload {
		return Request{}, malformed("request of %d bytes, at most %d", len(payload), MaxPayload)
	}
	if isList(payload) {
		return decodeList(payload)
	}
	return decodeFixed(payload)
}

func decodeFixed(b []byte) (Request, error) {
	if len(b) < rangeSize || len(b) > rangeSize && len(b) < bloomSize {
		return Request{}, malformed("request of %d bytes", len(b))
	}
	r := Request{
		Form:  Classic,
		Lower: binary.BigEndian.Uint32(b),
		Upper: binary.BigEndian.Uint32(b[4:]),
	}
	if len(b) >= bloomSize {
		bloom := whisper.Bloom(b[rangeSize:bloomSize])
		r.Bloom = &bloom
	}
	if len(b) >= limitSize {
		r.Form = Fixed
		r.Limit = binary.BigEndian.Uint32(b[bloomSize:])
	}
	if len(b) >= cursorSize {
		var err error
		if r.Cursor, err = ParseCursor(b[limitSize:cursorSize]); err != nil {
			return Request{Form: Fixed}, err
		}
	}
	return r, nil
}

// Encode returns the payload of a message that carries the request, or, for a
// Plain one, the packet itself. It fails if the form has no room for a field that
// is set, or if a limit of the package is exceeded.
func (r Request) Encode() ([]byte, error) {
	if r.Form != List && (len(r.Topics) > 0 || len(r.Hashes) > 0) {
		return nil, fmt.Errorf("mailwire: a %s request cannot name topics or hashes, use List", r.Form)
	}
	if r.Form != List && r.Prove {
		return nil, fmt.Errorf("mailwire: a %s request cannot ask for a proof, use List", r.Form)
	}
	if r.Form < List && r.Batch {
		return nil, fmt.Errorf("mailwire: a %s request cannot ask for a batch, use List", r.Form)
	}
	switch r.Form {
	case Classic, Fixed:
		return r.encodeFixed()
	case List:
		return r.encodeList()
	case Plain:
		return r.encodePlain(), nil
	}
	return nil, fmt.Errorf("mailwire: request of unknown form %d", r.Form)
}

func (r Request) encodeFixed() ([]byte, error) {
	if r.Form == Classic && (r.Limit != 0 || !r.Cursor.IsZero()) {
		return nil, errors.New("mailwire: a classic request has no limit and no cursor, use Fixed or List")
	}
	b := make([]byte, 0, cursorSize)
	b = binary.BigEndian.AppendUint32(b, r.Lower)
	b = binary.BigEndian.AppendUint32(b, r.Upper)
	if r.Form == Classic {
		if r.Bloom != nil {
			b = append(b, r.Bloom[:]...)
		}
		return b, nil
	}
	bloom := whisper.FullBloom()
	if r.Bloom != nil {
		bloom = *r.Bloom
	}
	b = append(b, bloom[:]...)
	b = binary.BigEndian.AppendUint32(b, r.Limit)
	return append(b, r.Cursor.Bytes()...), nil
}
