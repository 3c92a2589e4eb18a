package archive

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"whisperpush/durable"
	"whisperpush/whisper"
)

// Keys of a partition's database. Every key begins with a receive sequence (8
// bytes, big endian) and a kind, and keys are written in ascending order, so that
// LevelDB only ever moves tables and never rewrites them:
//
//	first 'l'                a block of the log: the envelopes first … first+n-1
//	last  'd'                of the index run that ends with last: its directory of blocks
//	last  'f'                its bloom filter of hashes
//	last  'h' bucket(2)      its hash index, by the first bits of the hash
//	last  'r'                its header, which names the run before it
//	last  't' bucket(2)      its topic index, by a hash of the topic
//
// A run is written in one batch. The envelopes after the last run are indexed in
// memory, and after a crash that index is rebuilt from the log.
const (
	kindLog       = 'l'
	kindDirectory = 'd'
	kindFilter    = 'f'
	kindHashes    = 'h'
	kindHeader    = 'r'
	kindTopics    = 't'

	keySize = 9
)

const (
	// blockBytes is how much of the log is stored under one key. Larger blocks
	// are written faster, but reading one envelope reads a whole block.
	blockBytes = 8 << 10
	// blockRecords is the largest number of envelopes in a block: a position
	// fits into a byte.
	blockRecords = 255
	// blockVersion is the first byte of a block.
	blockVersion = 1

	blockHeader  = 1 + 8 + 1 // version, receive time in Unix ms, number of records
	blockTrailer = 4         // CRC-32C of the first sequence and everything before
)

func appendKey(b []byte, seq uint64, kind byte) []byte {
	return append(binary.BigEndian.AppendUint64(b, seq), kind)
}

func logKey(seq uint64) []byte { return appendKey(make([]byte, 0, keySize), seq, kindLog) }

func bucketKey(seq uint64, kind byte, bucket uint32) []byte {
	return binary.BigEndian.AppendUint16(appendKey(make([]byte, 0, keySize+2), seq, kind), uint16(bucket))
}

// splitKey is the inverse of appendKey.
func splitKey(key []byte) (seq uint64, kind byte, ok bool) {
	if len(key) < keySize {
		return 0, 0, false
	}
	return binary.BigEndian.Uint64(key), key[8], true
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func blockSum(first uint64, body []byte) uint32 {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], first)
	return crc32.Update(crc32.Checksum(b[:], castagnoli), castagnoli, body)
}

// appendBlock appends the block that holds envs as the sequences from first on:
// the header, then for each envelope its length (uvarint) and sent time (4
// bytes), then the RLPs, and the checksum.
func appendBlock(b []byte, first uint64, received time.Time, envs []*whisper.Envelope) []byte {
	start := len(b)
	b = append(b, blockVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(received.UnixMilli()))
	b = append(b, byte(len(envs)))
	for _, e := range envs {
		b = binary.AppendUvarint(b, uint64(len(e.Raw())))
		b = binary.BigEndian.AppendUint32(b, e.Sent())
	}
	for _, e := range envs {
		b = append(b, e.Raw()...)
	}
	return binary.BigEndian.AppendUint32(b, blockSum(first, b[start:]))
}

// block is one opened block of the log.
type block struct {
	first    uint64
	received time.Time
	n        int
	table    []byte // lengths and sent times
	raws     []byte
}

// openBlock checks and opens the block that starts with first. The block keeps
// value.
func openBlock(first uint64, value []byte) (block, error) {
	damaged := func(what string) (block, error) {
		return block{}, fmt.Errorf("%w: log block %d: %s", durable.ErrCorrupted, first, what)
	}
	if len(value) < blockHeader+blockTrailer {
		return damaged("too short")
	}
	body, sum := value[:len(value)-blockTrailer], value[len(value)-blockTrailer:]
	if blockSum(first, body) != binary.BigEndian.Uint32(sum) {
		return damaged("wrong checksum")
	}
	if body[0] != blockVersion {
		return damaged(fmt.Sprintf("unknown version %d", body[0]))
	}
	b := block{
		first:    first,
		received: time.UnixMilli(int64(binary.BigEndian.Uint64(body[1:]))),
		n:        int(body[9]),
	}
	rest, total := body[blockHeader:], uint64(0)
	for range b.n {
		size, k := binary.Uvarint(rest)
		if k <= 0 || len(rest) < k+4 || size > uint64(len(body)) {
			return damaged("bad table")
		}
		rest, total = rest[k+4:], total+size
	}
	if b.n == 0 || total != uint64(len(rest)) {
		return damaged("bad lengths")
	}
	b.table, b.raws = body[blockHeader:len(body)-len(rest)], rest
	return b, nil
}

// last returns the sequence of the last record.
func (b block) last() uint64 { return b.first + uint64(b.n) - 1 }

// each calls fn for each record in order until it returns false.
func (b block) each(fn func(at int, sent uint32, raw []byte) bool) {
	table, raws := b.table, b.raws
	for at := range b.n {
		size, k := binary.Uvarint(table)
		sent := binary.BigEndian.Uint32(table[k:])
		if !fn(at, sent, raws[:size:size]) {
			return
		}
		table, raws = table[k+4:], raws[size:]
	}
}

// record decodes one record.
func (b block) record(at int) (r Record, err error) {
	err = fmt.Errorf("%w: log block %d has no record %d", durable.ErrCorrupted, b.first, at)
	b.each(func(i int, sent uint32, raw []byte) bool {
		if i == at {
			r, err = b.decode(i, sent, raw)
		}
		return i < at
	})
	return r, err
}

// records decodes every record from sequence from on and appends them to out.
func (b block) records(out []Record, from uint64) (_ []Record, err error) {
	b.each(func(at int, sent uint32, raw []byte) bool {
		if b.first+uint64(at) < from {
			return true
		}
		var r Record
		if r, err = b.decode(at, sent, raw); err == nil {
			out = append(out, r)
		}
		return err == nil
	})
	return out, err
}

func (b block) decode(at int, sent uint32, raw []byte) (Record, error) {
	e, err := whisper.DecodeEnvelope(raw)
	if err != nil {
		return Record{}, fmt.Errorf("%w: log record %d: %w", durable.ErrCorrupted, b.first+uint64(at), err)
	}
	return Record{
		Seq: b.first + uint64(at), Hash: e.Hash(), Topic: e.Topic, Sent: sent, Received: b.received, Envelope: e,
	}, nil
}

// runHeader describes a run of the index.
type runHeader struct {
	first, last      uint64 // sequences, inclusive
	prev             uint64 // last of the run before it in the partition, 0 = none
	minSent, maxSent uint32
	maxExpiry        uint32
	hashBits         uint8 // 1<<hashBits hash buckets
	topicBits        uint8 // 1<<topicBits topic buckets
}

const (
	runVersion    = 1
	runHeaderSize = 1 + 3*8 + 3*4 + 2
)

func (h runHeader) count() int { return int(h.last - h.first + 1) }

func (h runHeader) encode() []byte {
	b := make([]byte, 0, runHeaderSize)
	b = append(b, runVersion)
	b = binary.BigEndian.AppendUint64(b, h.first)
	b = binary.BigEndian.AppendUint64(b, h.last)
	b = binary.BigEndian.AppendUint64(b, h.prev)
	b = binary.BigEndian.AppendUint32(b, h.minSent)
	b = binary.BigEndian.AppendUint32(b, h.maxSent)
	b = binary.BigEndian.AppendUint32(b, h.maxExpiry)
	return append(b, h.hashBits, h.topicBits)
}

var errRunHeader = errors.New("bad header of an index run")

func decodeRunHeader(last uint64, b []byte) (h runHeader, err error) {
	if len(b) != runHeaderSize || b[0] != runVersion {
		return h, fmt.Errorf("%w: %w at %d", durable.ErrCorrupted, errRunHeader, last)
	}
	h = runHeader{
		first:     binary.BigEndian.Uint64(b[1:]),
		last:      binary.BigEndian.Uint64(b[9:]),
		prev:      binary.BigEndian.Uint64(b[17:]),
		minSent:   binary.BigEndian.Uint32(b[25:]),
		maxSent:   binary.BigEndian.Uint32(b[29:]),
		maxExpiry: binary.BigEndian.Uint32(b[33:]),
		hashBits:  b[37],
		topicBits: b[38],
	}
	if h.last != last || h.first > h.last || h.prev >= h.first || h.hashBits > 16 || h.topicBits > 16 {
		return h, fmt.Errorf("%w: %w at %d", durable.ErrCorrupted, errRunHeader, last)
	}
	return h, nil
}
