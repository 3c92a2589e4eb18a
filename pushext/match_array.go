package pushext

import "encoding/binary"

// The arrays of the index are bytes, little-endian, element after element, as a
// snapshot keeps them: a start reads them into their place and they are
// ready. Reading an element is a load from memory all the same.

// posting is one channel of a registration.
type posting struct {
	next  uint32 // of the same topic, or of the free chain
	slot  uint32
	muted uint32 // Unix seconds until which it is silent
}

type postings []byte

const postingSize = 12

func (a postings) len() int { return len(a) / postingSize }

func (a postings) get(i uint32) posting {
	b := a[postingSize*int(i):][:postingSize]
	return posting{
		next:  binary.LittleEndian.Uint32(b),
		slot:  binary.LittleEndian.Uint32(b[4:]),
		muted: binary.LittleEndian.Uint32(b[8:]),
	}
}

func (a postings) set(i uint32, p posting) {
	b := a[postingSize*int(i):][:postingSize]
	binary.LittleEndian.PutUint32(b, p.next)
	binary.LittleEndian.PutUint32(b[4:], p.slot)
	binary.LittleEndian.PutUint32(b[8:], p.muted)
}

func (a postings) setNext(i, next uint32) {
	binary.LittleEndian.PutUint32(a[postingSize*int(i):], next)
}

// slot is a registration as the index knows it.
type slot struct {
	id  registrationID // 0: it is unused
	end uint32         // Unix seconds until which it is woken; of one that is unused the next such
}

type slots []byte

const slotSize = 12

func (a slots) len() int { return len(a) / slotSize }

func (a slots) get(i uint32) slot {
	b := a[slotSize*int(i):][:slotSize]
	return slot{id: registrationID(binary.LittleEndian.Uint64(b)), end: binary.LittleEndian.Uint32(b[8:])}
}

func (a slots) set(i uint32, s slot) {
	b := a[slotSize*int(i):][:slotSize]
	binary.LittleEndian.PutUint64(b, uint64(s.id))
	binary.LittleEndian.PutUint32(b[8:], s.end)
}

// newArray returns zeros. A large array is in huge pages where the system has
// them: it is filled at once, and most of the time that this takes goes into
// fresh pages of the ordinary size.
func newArray(size int) []byte {
	b := make([]byte, size)
	if size >= hugeArray {
		adviseHuge(b)
	}
	return b
}

// hugeArray is from what size on an array surely has some whole huge pages.
const hugeArray = 4 << 20
