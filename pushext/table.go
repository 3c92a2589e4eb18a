package pushext

import (
	"math/bits"
	"math/rand/v2"
	"sync/atomic"
)

// table maps topics to postings: open addressing with linear probing, key and
// value in one word, so that asking for a topic nobody listens to, the usual
// case, touches one cache line. A Go map does the same in twice the time.
// Strangers choose the keys, hence the random multiplier. Values are not 0.
type table struct {
	words []uint64 // key << 32 | value; 0 is free. The length is a power of two
	used  int
	mul   uint64
	shift uint
}

const tableMin = 16

func newTable() table {
	t := table{mul: rand.Uint64() | 1}
	t.resize(tableMin)
	return t
}

func (t *table) home(key uint32) int { return int(uint64(key) * t.mul >> t.shift) }

// find returns the place of a key, or the free one where it belongs.
func (t *table) find(key uint32) int {
	mask := len(t.words) - 1
	i := t.home(key) & mask
	for t.words[i] != 0 && uint32(t.words[i]>>32) != key {
		i = (i + 1) & mask
	}
	return i
}

// get returns the value of a key, 0 if it has none.
func (t *table) get(key uint32) uint32 { return uint32(t.words[t.find(key)]) }

// set gives a key a value, which is not 0.
func (t *table) set(key, value uint32) {
	i := t.find(key)
	if t.words[i] == 0 {
		if t.used++; t.used*4 > len(t.words)*3 {
			t.resize(2 * len(t.words))
			i = t.find(key)
		}
	}
	t.words[i] = uint64(key)<<32 | uint64(value)
}

// remove forgets a key.
func (t *table) remove(key uint32) {
	i := t.find(key)
	if t.words[i] == 0 {
		return
	}
	// What follows up to the next free place moves up, unless it is at home
	// behind the gap.
	mask := len(t.words) - 1
	for j := (i + 1) & mask; t.words[j] != 0; j = (j + 1) & mask {
		home := t.home(uint32(t.words[j]>>32)) & mask
		if (j-home)&mask >= (j-i)&mask {
			t.words[i] = t.words[j]
			i = j
		}
	}
	t.words[i] = 0
	if t.used--; len(t.words) > tableMin && t.used*8 < len(t.words) {
		t.resize(len(t.words) / 2)
	}
}

// swap is set; it returns the value before, 0 if there was none.
func (t *table) swap(key, value uint32) uint32 {
	i := t.find(key)
	if old := uint32(t.words[i]); old != 0 {
		t.words[i] = uint64(key)<<32 | uint64(value)
		return old
	}
	t.set(key, value)
	return 0
}

// reserve makes the table as large as n keys need, and all that it holds.
func (t *table) reserve(n int) {
	size := tableMin
	for n = max(n, t.used); n*4 > size*3; {
		size *= 2
	}
	if size != len(t.words) {
		t.resize(size)
	}
}

// swapBelow is swap in a table that has room for the key, looking at no word from
// end on and not counting the key as used. ok is false if that is not enough to
// tell its place; it is then the same for the same key until something is removed.
func (t *table) swapBelow(end int, key, value uint32) (old uint32, ok bool) {
	words := t.words[:end]
	for i := t.home(key); i < len(words); i++ {
		if word := words[i]; word == 0 || uint32(word>>32) == key {
			words[i] = uint64(key)<<32 | uint64(value)
			return uint32(word), true
		}
	}
	return 0, false
}

// regions is into how many parts region divides a table.
const regions = 256

// region is the part of a table with this multiplier in which a key is at home:
// the words from len*region/regions on, if there are at least as many words.
func region(key uint32, mul uint64) int { return int(uint64(key) * mul >> 56) }

// touch writes to each page of a region, changing nothing: a page that is fresh
// from the system costs two faults if it is read first.
func (t *table) touch(region int) {
	const page = 4096 / 8
	for i := len(t.words) * region / regions; i < len(t.words)*(region+1)/regions; i += page {
		atomic.AddUint64(&t.words[i], 0)
	}
}

func (t *table) resize(size int) {
	old := t.words
	t.words = make([]uint64, size)
	t.shift = uint(64 - bits.TrailingZeros(uint(size)))
	for _, word := range old {
		if word != 0 {
			t.words[t.find(uint32(word>>32))] = word
		}
	}
}
