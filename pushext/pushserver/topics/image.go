package topics

import (
	"errors"
	"math/bits"
)

// errImage means that an image does not describe an index.
var errImage = errors.New("not an index")

// Image describes the memory of an index, so that it can be kept in a file: four
// arrays, whose bytes are the file's, and the values needed to use them.
type Image struct {
	Slots, Words, Postings, Links uint64 // bytes of the arrays, in the file's order

	Multiplier  uint64 // of the table of topics
	Topics      uint64 // in the table
	Used        uint64 // postings in use
	Free, Spare uint32 // the first unused posting and slot
}

// Image describes x in its current state.
func (x *Index) Image() Image {
	return Image{
		Slots: uint64(len(x.slots)), Words: uint64(len(x.heads.words)), Postings: uint64(len(x.postings)), Links: uint64(len(x.links)),
		Multiplier: x.heads.mul, Topics: uint64(x.heads.used), Used: uint64(x.used), Free: x.free, Spare: x.spare,
	}
}

// Arrays returns the arrays that an image describes, in its order. Nothing may change
// x while they are read.
func (x *Index) Arrays() [4][]byte { return [...][]byte{x.slots, x.heads.words, x.postings, x.links} }

// Sizes are the lengths of the arrays in bytes, in their order.
func (m Image) Sizes() [4]int64 {
	return [...]int64{int64(m.Slots), int64(m.Words), int64(m.Postings), int64(m.Links)}
}

// Check returns errImage if m is not the image of an index.
func (m Image) Check() error {
	slots, words, postings := m.Slots/SlotSize, m.Words/WordSize, m.Postings/PostingSize
	if m.Slots%SlotSize != 0 || m.Words%WordSize != 0 || m.Postings%PostingSize != 0 || m.Links != postings*linkSize ||
		words < tableMin || bits.OnesCount64(words) != 1 || m.Topics >= words || m.Multiplier%2 == 0 ||
		m.Used >= postings || uint64(m.Free) >= postings || uint64(m.Spare) >= slots {
		return errImage
	}
	return nil
}

// Blank returns an index with room for what m describes. m must have passed Check.
// The caller fills the arrays, and calls IndexSlots as soon as the first of them is
// filled.
func (m Image) Blank() *Index {
	x := &Index{
		heads: table{mul: m.Multiplier, used: int(m.Topics)}, postings: newArray(int(m.Postings)),
		links: newArray(int(m.Links)), free: m.Free, used: int(m.Used), slots: newArray(int(m.Slots)), spare: m.Spare,
	}
	x.heads.resize(int(m.Words / WordSize))
	return x
}
