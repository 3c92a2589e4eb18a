package durable

import (
	"encoding/binary"
	"hash/crc32"
)

// The journal format of LevelDB (its doc/log_format.md), which the write-ahead
// log and the manifest share: 32 KiB blocks of chunks, each chunk a header
// (masked CRC-32C of type and payload, 2 bytes length, 1 byte type, little
// endian) and a payload; a record is one full chunk or first, middle…, last.
const (
	journalBlock  = 32 << 10
	journalHeader = 7

	chunkFull   = 1
	chunkFirst  = 2
	chunkMiddle = 3
	chunkLast   = 4

	// sector is the smallest unit a disk writes: a power cut leaves each as it was
	// before or as it was to be.
	sector = 512
)

// journalState is what scanJournal found.
type journalState int

const (
	journalWhole   journalState = iota // every byte belongs to a complete record
	journalRoom                        // complete records, then nothing but zeros: see roomy
	journalTorn                        // complete records, then an interrupted write
	journalDamaged                     // anything that an interrupted write does not explain
)

// scanJournal walks a journal or manifest and returns how many of its bytes
// belong to complete records. An interrupted write leaves some of the sectors that
// were to be written, and zeros in the place of the others or the end of the file;
// and nothing comes after it, as each write waits for the one before. Everything
// else, a chunk that is whole but has the wrong checksum above all, is damage to
// bytes that may have been acknowledged.
func scanJournal(data []byte) (good int, state journalState) {
	pos, inRecord := 0, false
	for pos < len(data) {
		blockEnd := pos - pos%journalBlock + journalBlock
		if blockEnd-pos < journalHeader {
			pos = blockEnd // padding
			if !inRecord && pos <= len(data) {
				good = pos
			}
			continue
		}
		if zeros(data[pos:]) {
			if inRecord {
				return good, journalTorn
			}
			return good, journalRoom
		}
		kind, payload, ok := chunkAt(data, pos, min(blockEnd, len(data)))
		if !ok {
			if interrupted(data, pos, blockEnd) {
				return good, journalTorn
			}
			return good, journalDamaged
		}
		pos += journalHeader + len(payload)
		inRecord = kind == chunkFirst || kind == chunkMiddle
		if !inRecord {
			good = pos
		}
	}
	if inRecord {
		return good, journalTorn
	}
	return good, journalWhole
}

// interrupted reports whether an interrupted write explains that there is no whole
// chunk at pos, in a block that ends at blockEnd.
func interrupted(data []byte, pos, blockEnd int) bool {
	if chunkAfter(data, pos+1, blockEnd) {
		return false // what was written later proves that this was on the disk
	}
	if len(data)-pos < journalHeader {
		return true
	}
	sum, kind, end := chunkHeader(data, pos)
	if kind < chunkFull || kind > chunkLast || end > blockEnd {
		return hole(data, pos, pos+journalHeader)
	}
	if sumOfSome(data[pos+6:min(blockEnd, len(data))], sum) {
		return false // all of it is there, but for its length
	}
	return end > len(data) || hole(data, pos, end)
}

// wholeRecords returns every record of a journal whose chunks all have the right
// checksum, and how many places are damaged; a torn tail is one of them. Behind
// each it goes on with the next whole chunk.
func wholeRecords(data []byte) (records [][]byte, damaged int) {
	var record []byte
	inRecord := false
	for pos := 0; pos < len(data); {
		blockEnd := min(pos-pos%journalBlock+journalBlock, len(data))
		if blockEnd-pos < journalHeader {
			pos = blockEnd // padding
			continue
		}
		kind, payload, ok := chunkAt(data, pos, blockEnd)
		if !ok {
			if zeros(data[pos:]) {
				break
			}
			damaged++
			inRecord = false
			for pos++; pos < blockEnd; pos++ {
				if _, _, ok := chunkAt(data, pos, blockEnd); ok {
					break
				}
			}
			continue
		}
		if kind == chunkFull || kind == chunkFirst {
			record, inRecord = nil, true
		}
		record = append(record, payload...)
		if inRecord && (kind == chunkFull || kind == chunkLast) {
			records = append(records, record)
			inRecord = false
		}
		pos += journalHeader + len(payload)
	}
	return records, damaged
}

// chunkAt returns the whole chunk that begins at pos and ends before blockEnd.
func chunkAt(data []byte, pos, blockEnd int) (kind byte, payload []byte, ok bool) {
	if blockEnd-pos < journalHeader {
		return 0, nil, false
	}
	sum, kind, end := chunkHeader(data, pos)
	if kind < chunkFull || kind > chunkLast || end > blockEnd || chunkSum(data[pos+6:end]) != sum {
		return 0, nil, false
	}
	return kind, data[pos+journalHeader : end], true
}

// chunkHeader reads the journalHeader bytes at pos: the checksum, the kind, and where
// the chunk is to end.
func chunkHeader(data []byte, pos int) (sum uint32, kind byte, end int) {
	return binary.LittleEndian.Uint32(data[pos:]), data[pos+6], pos + journalHeader + int(binary.LittleEndian.Uint16(data[pos+4:]))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// chunkSum is LevelDB's masked CRC-32C.
func chunkSum(typeAndPayload []byte) uint32 {
	return masked(crc32.Checksum(typeAndPayload, castagnoli))
}

func masked(c uint32) uint32 { return (c>>15 | c<<17) + 0xa282ead8 }

// sumOfSome reports whether sum is the chunkSum of the first so many bytes of b.
func sumOfSome(b []byte, sum uint32) bool {
	c := uint32(0)
	for i := range b {
		c = crc32.Update(c, castagnoli, b[i:i+1])
		if masked(c) == sum {
			return true
		}
	}
	return false
}

// chunkAfter reports whether a chunk of a later write starts in data[from:]: any
// chunk before blockEnd, as that of an interrupted write ends its block or is its
// last, and behind it the first chunk of a record.
func chunkAfter(data []byte, from, blockEnd int) bool {
	for pos := from; pos < len(data); pos++ {
		end := min(pos-pos%journalBlock+journalBlock, len(data))
		if kind, _, ok := chunkAt(data, pos, end); ok && (pos < blockEnd || kind == chunkFull || kind == chunkFirst) {
			return true
		}
	}
	return false
}

// hole reports whether a sector in data[from:to], or the part of one that lies in it,
// is still zeros.
func hole(data []byte, from, to int) bool {
	for from < to {
		next := min(from-from%sector+sector, to)
		if zeros(data[from:next]) {
			return true
		}
		from = next
	}
	return false
}

func zeros(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
