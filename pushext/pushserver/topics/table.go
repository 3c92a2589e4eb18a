package topics

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
)

// table maps topics to postings. It uses open addressing with linear probing
// and keeps key and value in one word, so that looking up a topic nobody
// listens to, the usual case, touches one cache line. A Go map takes twice
// the time. Strangers choose the keys, hence the random multiplier. Values
// are never 0.
type table struct {
	words []byte // WordSize each, little-endian: key << 32 | value; 0 is free. Their number is a power of two
	used  int
	mul   uint64
	shift uint
}

const (
	tableMin = 16
	WordSize = 8
)

func newTable() table {
	t := table{mul: rand.Uint64() | 1}
	t.resize(tableMin)
	return t
}

// size is the number of words.
func (t *table) size() int { return len(t.words) / WordSize }

func (t *table) word(i int) uint64 { return binary.LittleEndian.Uint64(t.words[WordSize*i:]) }

func (t *table) setWord(i int, word uint64) {
	binary.LittleEndian.PutUint64(t.words[WordSize*i:], word)
}

func (t *table) home(key uint32) int { return int(uint64(key) * t.mul >> t.shift) }

// find returns the place of a key, or the free one where it belongs.
func (t *table) find(key uint32) int {
	mask := t.size() - 1
	i := t.home(key) & mask
	for word := t.word(i); word != 0 && uint32(word>>32) != key; word = t.word(i) {
		i = (i + 1) & mask
	}
	return i
}

// get returns the value of a key, 0 if it has none. It runs for every envelope, so
// it repeats the loop of find without its calls.
func (t *table) get(key uint32) uint32 {
	words := t.words
	mask := len(words) - WordSize
	for i := t.home(key) * WordSize & mask; ; i = (i + WordSize) & mask {
		word := binary.LittleEndian.Uint64(words[i:])
		if word == 0 || uint32(word>>32) == key {
			return uint32(word)
		}
	}
}

// set gives a key a value, which must not be 0.
func (t *table) set(key, value uint32) {
	i := t.find(key)
	if t.word(i) == 0 {
		if t.used++; t.used*4 > t.size()*3 {
			t.resize(2 * t.size())
			i = t.find(key)
		}
	}
	t.setWord(i, uint64(key)<<32|uint64(value))
}

// remove forgets a key.
func (t *table) remove(key uint32) {
	i := t.find(key)
	if t.word(i) == 0 {
		return
	}
	// The entries up to the next free place move up, except those whose home is
	// behind the gap.
	mask := t.size() - 1
	for j := (i + 1) & mask; t.word(j) != 0; j = (j + 1) & mask {
		home := t.home(uint32(t.word(j)>>32)) & mask
		if (j-home)&mask >= (j-i)&mask {
			t.setWord(i, t.word(j))
			i = j
		}
	}
	t.setWord(i, 0)
	if t.used--; t.size() > tableMin && t.used*8 < t.size() {
		t.resize(t.size() / 2)
	}
}

// swap is set, and returns the former value, or 0 if there was none.
func (t *table) swap(key, value uint32) uint32 {
	i := t.find(key)
	if old := uint32(t.word(i)); old != 0 {
		t.setWord(i, uint64(key)<<32|uint64(value))
		return old
	}
	t.set(key, value)
	return 0
}

// reserve gives the table the size that n keys need, or all that it holds if that is
// more.
func (t *table) reserve(n int) {
	size := tableMin
	for n = max(n, t.used); n*4 > size*3; {
		size *= 2
	}
	if size != t.size() {
		t.resize(size)
	}
}

// swapBelow is swap for a table that has room for the key, but it looks at no word
// from end on and does not count the key as used. ok is false if that is not
// enough to find the key's place; it is then false for the same key until
// something is removed.
func (t *table) swapBelow(end int, key, value uint32) (old uint32, ok bool) {
	for i := t.home(key); i < end; i++ {
		if word := t.word(i); word == 0 || uint32(word>>32) == key {
			t.setWord(i, uint64(key)<<32|uint64(value))
			return uint32(word), true
		}
	}
	return 0, false
}

// regions is the number of parts into which region divides a table.
const regions = 256

// region is the part of a table with this multiplier in which a key is at home:
// the words from size*region/regions on, if there are at least as many words.
func region(key uint32, mul uint64) int { return int(uint64(key) * mul >> 56) }

func (t *table) resize(size int) {
	old := *t
	t.words = newArray(size * WordSize)
	t.shift = uint(64 - bits.TrailingZeros(uint(size)))
	for i := range old.size() {
		if word := old.word(i); word != 0 {
			t.setWord(t.find(uint32(word>>32)), word)
		}
	}
}
