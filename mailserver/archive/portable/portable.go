// Package portable encodes archived envelopes as a stream of bytes, for a file, a pipe or another computer:
// what `wnode archive export` writes and a backup holds.
//
//	"wparch1\n"
//	'r' length(uvarint) sequence(8) received(8) RLP of the envelope
//	…
//	'z' count(8) SHA-256 of all before it(32)
//
// Numbers are big-endian, received is in Unix milliseconds, and length is the length of what follows it. The reader
// detects a stream that was cut off, changed in any bit, or continues after its end. Nothing of a stream may be used
// before its end was read.
package portable

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"whisperpush/mailserver/archive"
	"whisperpush/whisper"
)

const (
	magic = "wparch1\n"
	// maxRecord bounds a record: the largest envelope of shh/6 and what surrounds it.
	maxRecord = 10<<20 + 1<<10

	kindRecord = 'r'
	kindEnd    = 'z'
	header     = 8 + 8
)

// ErrDamaged means that a stream is not as it was written, or is incomplete.
var ErrDamaged = errors.New("the stream of envelopes is damaged or was cut off")

// Writer writes a stream.
type Writer struct {
	w     io.Writer // writes to plain and to sum
	plain io.Writer
	sum   hash.Hash
	count uint64
	buf   []byte
}

// NewWriter begins a stream.
func NewWriter(w io.Writer) (*Writer, error) {
	sum := sha256.New()
	p := &Writer{w: io.MultiWriter(w, sum), plain: w, sum: sum}
	_, err := io.WriteString(p.w, magic)
	return p, err
}

// Write adds a record. Its sequence, time of receipt and envelope are kept.
func (p *Writer) Write(r archive.Record) error {
	raw := r.Envelope.Raw()
	p.buf = append(p.buf[:0], kindRecord)
	p.buf = binary.AppendUvarint(p.buf, uint64(header+len(raw)))
	p.buf = binary.BigEndian.AppendUint64(p.buf, r.Seq)
	p.buf = binary.BigEndian.AppendUint64(p.buf, uint64(r.Received.UnixMilli()))
	p.buf = append(p.buf, raw...)
	p.count++
	_, err := p.w.Write(p.buf)
	return err
}

// Close ends the stream. It does not close the underlying writer.
func (p *Writer) Close() error {
	if _, err := p.w.Write(binary.BigEndian.AppendUint64([]byte{kindEnd}, p.count)); err != nil {
		return err
	}
	_, err := p.plain.Write(p.sum.Sum(nil))
	return err
}

// Reader reads a stream.
type Reader struct {
	r     *bufio.Reader
	sum   hash.Hash
	count uint64
	done  bool
}

// NewReader begins to read a stream.
func NewReader(r io.Reader) (*Reader, error) {
	p := &Reader{r: bufio.NewReaderSize(r, 64<<10), sum: sha256.New()}
	first := make([]byte, len(magic))
	if _, err := io.ReadFull(p.r, first); err != nil || string(first) != magic {
		return nil, fmt.Errorf("%w: it does not begin as one", ErrDamaged)
	}
	p.sum.Write(first)
	return p, nil
}

// Next returns the next record, or io.EOF when there are no more and everything before was as it was written.
func (p *Reader) Next() (archive.Record, error) {
	if p.done {
		return archive.Record{}, io.EOF
	}
	kind, err := p.r.ReadByte()
	if err != nil {
		return archive.Record{}, p.damaged("it ends without its end mark", err)
	}
	switch kind {
	case kindEnd:
		return archive.Record{}, p.end()
	case kindRecord:
		return p.record()
	}
	return archive.Record{}, p.damaged("a byte that begins nothing", nil)
}

func (p *Reader) record() (r archive.Record, err error) {
	p.sum.Write([]byte{kindRecord})
	length, err := binary.ReadUvarint(summed{p})
	if err != nil || length <= header || length > maxRecord {
		return r, p.damaged("a record's length", err)
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(p.r, body); err != nil {
		return r, p.damaged("a record that is cut off", err)
	}
	p.sum.Write(body)
	env, err := whisper.DecodeEnvelope(body[header:])
	if err != nil {
		return r, p.damaged("a record that is no envelope", err)
	}
	p.count++
	received := int64(binary.BigEndian.Uint64(body[8:]))
	return archive.Record{
		Seq: binary.BigEndian.Uint64(body), Hash: env.Hash(), Topic: env.Topic, Sent: env.Sent(),
		Received: time.UnixMilli(received), Envelope: env,
	}, nil
}

// summed reads bytes and adds them to the sum.
type summed struct{ *Reader }

func (s summed) ReadByte() (byte, error) {
	b, err := s.r.ReadByte()
	if err == nil {
		s.sum.Write([]byte{b})
	}
	return b, err
}

// end checks what follows the records.
func (p *Reader) end() error {
	var tail [8 + sha256.Size]byte
	if _, err := io.ReadFull(p.r, tail[:]); err != nil {
		return p.damaged("its end is cut off", err)
	}
	p.sum.Write([]byte{kindEnd})
	p.sum.Write(tail[:8])
	if binary.BigEndian.Uint64(tail[:]) != p.count || !bytes.Equal(tail[8:], p.sum.Sum(nil)) {
		return p.damaged("its checksum differs", nil)
	}
	if _, err := p.r.ReadByte(); err != io.EOF {
		return p.damaged("it goes on behind its end", err)
	}
	p.done = true
	return io.EOF
}

func (p *Reader) damaged(what string, err error) error {
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return fmt.Errorf("%w: %s, after %d records: %w", ErrDamaged, what, p.count, err)
	}
	return fmt.Errorf("%w: %s, after %d records", ErrDamaged, what, p.count)
}
