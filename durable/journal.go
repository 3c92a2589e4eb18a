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

	// sector is the smallest unit a disk writes: what a power cut tears it leaves
	// as zeros from a multiple of this.
	sector = 512
)

// journalState is what scanJournal found.
type journalState int

const (
	journalWhole   journalState = iota // every byte belongs to a complete record
	journalTorn                        // complete records, then an interrupted write
	journalDamaged                     // anything that an interrupted write does not explain
)

// scanJournal walks a journal or manifest and returns how many of its bytes
// belong to complete records. An interrupted append leaves a prefix of what was
// to be written, or that prefix with zeros behind it, and nothing after it.
// Everything else, a chunk that is whole but has the wrong checksum above all, is
// damage to bytes that may have been acknowledged.
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
		if len(data)-pos < journalHeader {
			return good, journalTorn
		}
		sum := binary.LittleEndian.Uint32(data[pos:])
		length := int(binary.LittleEndian.Uint16(data[pos+4:]))
		kind := data[pos+6]
		end := pos + journalHeader + length
		switch {
		case zeros(data[pos:]):
			return good, journalTorn
		case kind < chunkFull || kind > chunkLast, end > blockEnd:
			return good, journalDamaged
		case end > len(data):
			// The header promises more than there is: torn, unless the length is what
			// was damaged, which the checksum of the rest or a chunk behind it gives away.
			if chunkSum(data[pos+6:]) == sum || validChunkAfter(data, pos+1) {
				return good, journalDamaged
			}
			return good, journalTorn
		case chunkSum(data[pos+6:end]) != sum:
			if tornSectors(data, pos+journalHeader) {
				return good, journalTorn
			}
			return good, journalDamaged
		}
		pos = end
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
	kind = data[pos+6]
	end := pos + journalHeader + int(binary.LittleEndian.Uint16(data[pos+4:]))
	if kind < chunkFull || kind > chunkLast || end > blockEnd || chunkSum(data[pos+6:end]) != binary.LittleEndian.Uint32(data[pos:]) {
		return 0, nil, false
	}
	return kind, data[pos+journalHeader : end], true
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// chunkSum is LevelDB's masked CRC-32C.
func chunkSum(typeAndPayload []byte) uint32 {
	c := crc32.Checksum(typeAndPayload, castagnoli)
	return (c>>15 | c<<17) + 0xa282ead8
}

// validChunkAfter reports whether a whole chunk starts anywhere in data[from:],
// within the block that holds from.
func validChunkAfter(data []byte, from int) bool {
	blockEnd := min(from-from%journalBlock+journalBlock, len(data))
	for pos := from; pos < blockEnd; pos++ {
		if _, _, ok := chunkAt(data, pos, blockEnd); ok {
			return true
		}
	}
	return false
}

// tornSectors reports whether data ends in zeros from a sector boundary after
// from on: a power cut after the file had grown but before its pages were written.
func tornSectors(data []byte, from int) bool {
	boundary := (from + sector - 1) / sector * sector
	last := (len(data) - 1) / sector * sector
	return last >= boundary && zeros(data[last:])
}

func zeros(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
