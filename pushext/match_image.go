package pushext

import (
	"errors"
	"math/bits"
)

// errImage means that an image is of no index.
var errImage = errors.New("not an index")

// image describes the memory of an index, so that it can be kept in a file: four
// arrays, whose bytes are the file's, and what is to be known beside them.
type image struct {
	slots, words, postings, links uint64 // bytes of the arrays, in the file's order

	multiplier  uint64 // of the table of topics
	topics      uint64 // in the table
	used        uint64 // postings in use
	free, spare uint32 // the first unused posting and slot
}

// image describes x as it is.
func (x *index) image() image {
	return image{
		slots: uint64(len(x.slots)), words: uint64(len(x.heads.words)), postings: uint64(len(x.postings)), links: uint64(len(x.links)),
		multiplier: x.heads.mul, topics: uint64(x.heads.used), used: uint64(x.used), free: x.free, spare: x.spare,
	}
}

// arrays are those that an image describes, in its order. Nothing may change x while
// they are read.
func (x *index) arrays() [4][]byte { return [...][]byte{x.slots, x.heads.words, x.postings, x.links} }

// sizes are the lengths of the arrays in bytes, in their order.
func (m image) sizes() [4]int64 {
	return [...]int64{int64(m.slots), int64(m.words), int64(m.postings), int64(m.links)}
}

// check reports whether m is the image of an index, or errImage.
func (m image) check() error {
	slots, words, postings := m.slots/slotSize, m.words/wordSize, m.postings/postingSize
	if m.slots%slotSize != 0 || m.words%wordSize != 0 || m.postings%postingSize != 0 || m.links != postings*linkSize ||
		words < tableMin || bits.OnesCount64(words) != 1 || m.topics >= words || m.multiplier%2 == 0 ||
		m.used >= postings || uint64(m.free) >= postings || uint64(m.spare) >= slots {
		return errImage
	}
	return nil
}

// blank is an index with room for what m, which passed check, describes. The caller
// fills its arrays, and calls indexSlots as soon as the first of them is filled.
func (m image) blank() *index {
	x := &index{
		heads: table{mul: m.multiplier, used: int(m.topics)}, postings: newArray(int(m.postings)),
		links: newArray(int(m.links)), free: m.free, used: int(m.used), slots: newArray(int(m.slots)), spare: m.spare,
	}
	x.heads.resize(int(m.words / wordSize))
	return x
}
