package mailwire

import (
	"fmt"
	"math"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rlp"

	"whisperpush/whisper"
)

// reader takes elements off an RLP list. After the first error, which names the
// element, it returns zero values. Nothing is copied.
type reader struct {
	rest []byte
	err  error
}

// open reads a list that fills b.
func open(b []byte) *reader {
	content, rest, err := rlp.SplitList(b)
	switch {
	case err != nil:
		return &reader{err: malformed("list: %v", err)}
	case len(rest) != 0:
		return &reader{err: malformed("list is followed by %d bytes", len(rest))}
	}
	return &reader{rest: content}
}

func (r *reader) more() bool { return r.err == nil && len(r.rest) > 0 }

func (r *reader) fail(name string, err error) {
	r.rest, r.err = nil, malformed("%s: %v", name, err)
}

func (r *reader) uint32(name string) uint32 {
	if r.err != nil {
		return 0
	}
	v, rest, err := rlp.SplitUint64(r.rest)
	if err == nil && v > math.MaxUint32 {
		err = fmt.Errorf("%d is beyond 32 bits", v)
	}
	if err != nil {
		r.fail(name, err)
		return 0
	}
	r.rest = rest
	return uint32(v)
}

func (r *reader) bool(name string) bool {
	v := r.uint32(name)
	if v > 1 {
		r.fail(name, fmt.Errorf("%d is neither 0 nor 1", v))
	}
	return v == 1
}

// bytes returns a string, as a slice of the input.
func (r *reader) bytes(name string) []byte {
	if r.err != nil {
		return nil
	}
	v, rest, err := rlp.SplitString(r.rest)
	if err != nil {
		r.fail(name, err)
		return nil
	}
	r.rest = rest
	return v
}

func (r *reader) bloom() *whisper.Bloom {
	v := r.bytes("bloom")
	if r.err != nil || len(v) == 0 {
		return nil
	}
	if len(v) != whisper.BloomSize {
		r.fail("bloom", fmt.Errorf("%d bytes, not %d", len(v), whisper.BloomSize))
		return nil
	}
	b := whisper.Bloom(v)
	return &b
}

func (r *reader) cursor() Cursor {
	v := r.bytes("cursor")
	if r.err != nil {
		return Cursor{}
	}
	c, err := ParseCursor(v)
	if err != nil {
		r.rest, r.err = nil, err
	}
	return c
}

// strings reads a list of at most limit strings of size bytes each. It
// returns their bytes one after the other.
func (r *reader) strings(name string, size, limit int) []byte {
	if r.err != nil {
		return nil
	}
	content, rest, err := rlp.SplitList(r.rest)
	if err != nil {
		r.fail(name, err)
		return nil
	}
	// A string of 2 to 55 bytes has one byte of head.
	if n := len(content) / (1 + size); n > limit || n*(1+size) != len(content) {
		r.fail(name, fmt.Errorf("%d bytes; at most %d elements of %d bytes", len(content), limit, size))
		return nil
	}
	all := make([]byte, 0, len(content)/(1+size)*size)
	for len(content) > 0 {
		var v []byte
		if v, content, err = rlp.SplitString(content); err == nil && len(v) != size {
			err = fmt.Errorf("element of %d bytes, not %d", len(v), size)
		}
		if err != nil {
			r.fail(name, err)
			return nil
		}
		all = append(all, v...)
	}
	r.rest = rest
	return all
}

// isList reports whether b is one RLP list and nothing else.
func isList(b []byte) bool {
	_, rest, err := rlp.SplitList(b)
	return err == nil && len(rest) == 0
}

func decodeList(b []byte) (Request, error) {
	l := open(b)
	r := Request{
		Form:   List,
		Lower:  l.uint32("lower"),
		Upper:  l.uint32("upper"),
		Bloom:  l.bloom(),
		Limit:  l.uint32("limit"),
		Cursor: l.cursor(),
		Batch:  l.bool("batch"),
	}
	if l.more() {
		all := l.strings("topics", whisper.TopicSize, MaxTopics)
		for ; len(all) > 0; all = all[whisper.TopicSize:] {
			r.Topics = append(r.Topics, whisper.Topic(all[:whisper.TopicSize]))
		}
	}
	if l.more() {
		all := l.strings("hashes", common.HashLength, MaxHashes)
		for ; len(all) > 0; all = all[common.HashLength:] {
			r.Hashes = append(r.Hashes, common.Hash(all[:common.HashLength]))
		}
	}
	if l.more() {
		r.Prove = l.bool("prove")
	}
	if l.err != nil {
		return Request{Form: List}, l.err
	}
	return r, nil
}

func (r Request) encodeList() ([]byte, error) {
	if len(r.Topics) > MaxTopics {
		return nil, fmt.Errorf("mailwire: request for %d topics, at most %d", len(r.Topics), MaxTopics)
	}
	if len(r.Hashes) > MaxHashes {
		return nil, fmt.Errorf("mailwire: request for %d hashes, at most %d", len(r.Hashes), MaxHashes)
	}
	w := rlp.NewEncoderBuffer(nil)
	list := w.List()
	w.WriteUint64(uint64(r.Lower))
	w.WriteUint64(uint64(r.Upper))
	writeBloom(w, r.Bloom)
	w.WriteUint64(uint64(r.Limit))
	w.WriteBytes(r.Cursor.Bytes())
	w.WriteBool(r.Batch)
	if len(r.Topics) > 0 || len(r.Hashes) > 0 || r.Prove {
		topics := w.List()
		for _, t := range r.Topics {
			w.WriteBytes(t[:])
		}
		w.ListEnd(topics)
	}
	if len(r.Hashes) > 0 || r.Prove {
		hashes := w.List()
		for _, h := range r.Hashes {
			w.WriteBytes(h[:])
		}
		w.ListEnd(hashes)
	}
	if r.Prove {
		w.WriteBool(true)
	}
	w.ListEnd(list)
	return finish(w), nil
}

// DecodePlain reads a packet 126 that is itself a request. It keeps nothing of
// the packet. An error wraps ErrMalformed.
func DecodePlain(packet []byte) (Request, error) {
	if len(packet) > MaxPayload {
		return Request{Form: Plain}, malformed("request of %d bytes, at most %d", len(packet), MaxPayload)
	}
	l := open(packet)
	id := l.bytes("id")
	if l.err == nil && len(id) != common.HashLength {
		return Request{Form: Plain}, malformed("id of %d bytes, not %d", len(id), common.HashLength)
	}
	r := Request{
		Form:   Plain,
		ID:     common.BytesToHash(id),
		Lower:  l.uint32("from"),
		Upper:  l.uint32("to"),
		Limit:  l.uint32("limit"),
		Cursor: l.cursor(),
		Bloom:  l.bloom(),
		Batch:  true,
	}
	if l.err == nil && l.more() {
		return Request{Form: Plain, ID: r.ID}, malformed("plain request of more than six elements")
	}
	if l.err != nil {
		return Request{Form: Plain, ID: r.ID}, l.err
	}
	return r, nil
}

func (r Request) encodePlain() []byte {
	w := rlp.NewEncoderBuffer(nil)
	list := w.List()
	w.WriteBytes(r.ID[:])
	w.WriteUint64(uint64(r.Lower))
	w.WriteUint64(uint64(r.Upper))
	w.WriteUint64(uint64(r.Limit))
	w.WriteBytes(r.Cursor.Bytes())
	writeBloom(w, r.Bloom)
	w.ListEnd(list)
	return finish(w)
}

// finish returns what was written and gives the buffer back.
func finish(w rlp.EncoderBuffer) []byte {
	defer w.Flush()
	return w.ToBytes()
}

func writeBloom(w rlp.EncoderBuffer, b *whisper.Bloom) {
	if b == nil {
		w.WriteBytes(nil)
		return
	}
	w.WriteBytes(b[:])
}
