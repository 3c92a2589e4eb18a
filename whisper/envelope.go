package whisper

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/bits"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rlp"
)

// ErrMalformed means that bytes do not have the form that their packet code requires.
var ErrMalformed = errors.New("whisper: malformed")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
}

// Envelope is the unit that nodes pass on (EIP-627, "Envelopes"): encrypted
// data, the topic, the time it lives and the work done for it. It is immutable
// once made, and safe for concurrent use.
type Envelope struct {
	Expiry uint32 // when it may be forgotten, Unix seconds
	TTL    uint32 // how long it lives, seconds
	Topic  Topic
	Data   []byte // the encrypted message
	Nonce  uint64 // the proof of work, see PoW

	raw  []byte      // RLP as received or as sealed; Data aliases it
	hash common.Hash // Keccak-256 of raw
	work int         // where in raw the fields under proof of work begin
	end  int         // where in raw they end, that is, where the nonce begins

	// zeros is one more than the leading zero bits of the proof of work, 0 if they have not been counted. It is read and
	// set atomically.
	zeros uint32
}

// DecodeEnvelope reads exactly one envelope,
// RLP [expiry, TTL, topic, data, nonce]. The envelope keeps raw, which must not
// be changed afterwards. An error wraps ErrMalformed.
func DecodeEnvelope(raw []byte) (*Envelope, error) {
	e, err := parseEnvelope(raw)
	if err != nil {
		return nil, err
	}
	e.hash = keccak256(raw)
	return e, nil
}

// parseEnvelope is DecodeEnvelope without the hash.
func parseEnvelope(raw []byte) (*Envelope, error) {
	content, rest, err := rlp.SplitList(raw)
	if err != nil {
		return nil, malformed("envelope of %d bytes: %v", len(raw), err)
	}
	if len(rest) != 0 {
		return nil, malformed("envelope is followed by %d bytes", len(rest))
	}
	e := &Envelope{raw: raw, work: len(raw) - len(content)}
	if e.Expiry, content, err = splitUint32(content); err != nil {
		return nil, malformed("expiry: %v", err)
	}
	if e.TTL, content, err = splitUint32(content); err != nil {
		return nil, malformed("TTL: %v", err)
	}
	topic, content, err := rlp.SplitString(content)
	if err != nil {
		return nil, malformed("topic: %v", err)
	}
	if len(topic) != TopicSize {
		return nil, malformed("topic of %d bytes, not %d", len(topic), TopicSize)
	}
	e.Topic = Topic(topic)
	if e.Data, content, err = rlp.SplitString(content); err != nil {
		return nil, malformed("data: %v", err)
	}
	e.end = len(raw) - len(content)
	if e.Nonce, content, err = rlp.SplitUint64(content); err != nil {
		return nil, malformed("nonce: %v", err)
	}
	if len(content) != 0 {
		return nil, malformed("envelope of more than five elements")
	}
	return e, nil
}

// DecodeEnvelopes reads the payload of a messages packet, a list of envelopes.
// The envelopes keep parts of list, which must not be changed afterwards. An
// element that is not an envelope is skipped and counted. An error wraps
// ErrMalformed and means that the list itself cannot be read.
func DecodeEnvelopes(list []byte) (envelopes []*Envelope, bad int, err error) {
	err = readEnvelopes(list, math.MaxInt, func(e []*Envelope, b int) { envelopes, bad = e, b })
	if err != nil {
		return nil, 0, err
	}
	return envelopes, bad, nil
}

// readEnvelopes is DecodeEnvelopes for a list of any length. Each call of hand
// gets the envelopes of at most most elements. Before readEnvelopes returns an
// error, it hands over the envelopes that it could read.
func readEnvelopes(list []byte, most int, hand func(envelopes []*Envelope, bad int)) error {
	content, rest, err := rlp.SplitList(list)
	if err != nil {
		return malformed("list of envelopes: %v", err)
	}
	if len(rest) != 0 {
		return malformed("list of envelopes is followed by %d bytes", len(rest))
	}
	for len(content) > 0 && err == nil {
		envelopes := make([]*Envelope, 0, min(len(content)/typicalEnvelope+1, most, maxPreallocated))
		bad := 0
		for len(content) > 0 && len(envelopes)+bad < most {
			_, _, rest, splitErr := rlp.Split(content)
			if splitErr != nil {
				err = malformed("element of a list of envelopes: %v", splitErr)
				break
			}
			raw := content[: len(content)-len(rest) : len(content)-len(rest)]
			content = rest
			if e, err := parseEnvelope(raw); err != nil {
				bad++
			} else {
				envelopes = append(envelopes, e)
			}
		}
		hashAll(envelopes)
		hand(envelopes, bad)
	}
	return err
}

const (
	typicalEnvelope = 290  // bytes of RLP around a message of the least padded size
	maxPreallocated = 4096 // envelopes to allocate room for before reading any
)

// detach copies the bytes that the envelope shares with a packet. The envelope
// must not be shared yet.
func (e *Envelope) detach() {
	e.raw = bytes.Clone(e.raw)
	e.Data = e.raw[e.end-len(e.Data) : e.end : e.end]
}

// Raw returns the RLP as it was received or sealed. It must not be changed.
func (e *Envelope) Raw() []byte { return e.raw }

// Hash returns the Keccak-256 of Raw, which names the envelope everywhere.
func (e *Envelope) Hash() common.Hash { return e.hash }

// Message returns the Keccak-256 of Data, which names the encrypted message in
// whatever envelope it arrives. Anybody who has seen an envelope can post its
// message again with another expiry, lifetime, topic and nonce, and therefore
// with another Hash.
func (e *Envelope) Message() common.Hash { return keccak256(e.Data) }

// Sent returns when the envelope claims to have been sent, in Unix seconds:
// Expiry minus TTL, or 0 if TTL is the larger one.
func (e *Envelope) Sent() uint32 {
	if e.TTL > e.Expiry {
		return 0
	}
	return e.Expiry - e.TTL
}

// Size returns the size that is compared with the maximum message size, in bytes.
func (e *Envelope) Size() int { return EnvelopeHeaderSize + len(e.Data) }

// encode fills in raw and the values derived from it. The fields under proof of
// work are encoded by appendWork.
func (e *Envelope) encode(work []byte) {
	nonce := rlp.AppendUint64(nil, e.Nonce)
	head := rlpListHead(len(work) + len(nonce))
	e.work = len(head)
	e.end = len(head) + len(work)
	e.raw = append(append(head, work...), nonce...)
	e.Data = e.raw[e.end-len(e.Data) : e.end : e.end]
	e.hash = keccak256(e.raw)
	e.zeros = 0
}

// appendWork appends the elements that the proof of work covers, without a list
// head.
func (e *Envelope) appendWork(b []byte) []byte {
	b = rlp.AppendUint64(b, uint64(e.Expiry))
	b = rlp.AppendUint64(b, uint64(e.TTL))
	b = append(b, 0x80+TopicSize)
	b = append(b, e.Topic[:]...)
	data, err := rlp.EncodeToBytes(e.Data)
	if err != nil {
		panic("whisper: internal error: byte string without RLP: " + err.Error())
	}
	return append(b, data...)
}

func splitUint32(b []byte) (uint32, []byte, error) {
	v, rest, err := rlp.SplitUint64(b)
	if err == nil && v > math.MaxUint32 {
		err = fmt.Errorf("%d does not fit 32 bits", v)
	}
	return uint32(v), rest, err
}

// rlpListHead returns the head of a list whose content has size bytes.
func rlpListHead(size int) []byte { return appendListHead(nil, size) }

func appendListHead(b []byte, size int) []byte {
	if size < 56 {
		return append(b, 0xc0+byte(size))
	}
	digits := (bits.Len(uint(size)) + 7) / 8
	b = append(b, 0xf7+byte(digits))
	for i := digits - 1; i >= 0; i-- {
		b = append(b, byte(size>>(8*i)))
	}
	return b
}
