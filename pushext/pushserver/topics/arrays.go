package topics

import (
	"encoding/binary"

	"whisperpush/pushext/pushserver/registration"
)

// The arrays of the index are bytes, little-endian, element after element, in the
// same form as in a snapshot, so that a start only reads them into memory. Reading an
// element is still a single load.

// posting is one channel of a registration.
type posting struct {
	next  uint32 // of the same topic, or of the free chain
	slot  uint32
	muted uint32 // Unix seconds until which it is silent
}

type postings []byte

const PostingSize = 12

func (a postings) len() int { return len(a) / PostingSize }

func (a postings) get(i uint32) posting {
	b := a[PostingSize*int(i):][:PostingSize]
	return posting{
		next:  binary.LittleEndian.Uint32(b),
		slot:  binary.LittleEndian.Uint32(b[4:]),
		muted: binary.LittleEndian.Uint32(b[8:]),
	}
}

func (a postings) set(i uint32, p posting) {
	b := a[PostingSize*int(i):][:PostingSize]
	binary.LittleEndian.PutUint32(b, p.next)
	binary.LittleEndian.PutUint32(b[4:], p.slot)
	binary.LittleEndian.PutUint32(b[8:], p.muted)
}

func (a postings) setNext(i, next uint32) {
	binary.LittleEndian.PutUint32(a[PostingSize*int(i):], next)
}

// link is the rest of a posting's place in the chains, which only changes need.
type link struct {
	first  bool   // of its topic
	before uint32 // the one before it in its topic; for the first, the topic
	mate   uint32 // the next one of the same registration
}

type links []byte

// A link is before, and mate with firstBit if it is the first.
const (
	linkSize = 8
	firstBit = 1 << 31
)

func (a links) get(i uint32) link {
	b := a[linkSize*int(i):][:linkSize]
	mate := binary.LittleEndian.Uint32(b[4:])
	return link{first: mate&firstBit != 0, before: binary.LittleEndian.Uint32(b), mate: mate &^ firstBit}
}

func (a links) put(i uint32, l link) {
	b := a[linkSize*int(i):][:linkSize]
	if l.first {
		l.mate |= firstBit
	}
	binary.LittleEndian.PutUint32(b, l.before)
	binary.LittleEndian.PutUint32(b[4:], l.mate)
}

// setFirst makes a posting the first of a topic.
func (a links) setFirst(i, key uint32) { a.put(i, link{first: true, before: key, mate: a.get(i).mate}) }

// setBefore puts a posting after another one of its topic.
func (a links) setBefore(i, before uint32) { a.put(i, link{before: before, mate: a.get(i).mate}) }

func (a links) setMate(i, mate uint32) {
	l := a.get(i)
	l.mate = mate
	a.put(i, l)
}

// slot is a registration in the index.
type slot struct {
	id    registration.ID // 0: the slot is unused
	end   uint32          // Unix seconds until which it is woken; in an unused slot, the next unused one
	first uint32          // of its postings
}

type slots []byte

const SlotSize = 16

func (a slots) len() int { return len(a) / SlotSize }

func (a slots) get(i uint32) slot {
	b := a[SlotSize*int(i):][:SlotSize]
	return slot{
		id: registration.ID(binary.LittleEndian.Uint64(b)), end: binary.LittleEndian.Uint32(b[8:]),
		first: binary.LittleEndian.Uint32(b[12:]),
	}
}

func (a slots) set(i uint32, s slot) {
	b := a[SlotSize*int(i):][:SlotSize]
	binary.LittleEndian.PutUint64(b, uint64(s.id))
	binary.LittleEndian.PutUint32(b[8:], s.end)
	binary.LittleEndian.PutUint32(b[12:], s.first)
}

func (a slots) first(i uint32) uint32 { return binary.LittleEndian.Uint32(a[SlotSize*int(i)+12:]) }

func (a slots) setFirst(i, first uint32) {
	binary.LittleEndian.PutUint32(a[SlotSize*int(i)+12:], first)
}

// newArray returns zeros. A large array is in huge pages where the system has them,
// as it is filled at once, and with ordinary pages most of that time goes into
// getting fresh ones.
func newArray(size int) []byte {
	b := make([]byte, size)
	if size >= hugeArray {
		adviseHuge(b)
	}
	return b
}

// hugeArray is the size from which an array is sure to contain whole huge pages.
const hugeArray = 4 << 20
