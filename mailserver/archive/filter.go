package archive

import (
	"encoding/binary"
	"sync/atomic"

	"github.com/ethereum/go-ethereum/common"
)

const (
	// filterBits is the size in bits, per envelope, of a run's hash filter.
	filterBits = 10
	// filterProbes is how many of these bits each hash sets.
	filterProbes = 7
)

// filterMemory bounds the hash filters of all partitions, in bytes.
const filterMemory = 64 << 20

// filter is a bloom filter of hashes. Hashes are already uniform, so their own
// bytes are the probes.
type filter []byte

func newFilter(n int) filter { return make(filter, max(n*filterBits/8, 8)) }

func (f filter) probe(h common.Hash, visit func(i uint64) bool) bool {
	a, b := binary.BigEndian.Uint64(h[8:]), binary.BigEndian.Uint64(h[16:])|1
	size := uint64(len(f)) * 8
	for range filterProbes {
		if !visit(a % size) {
			return false
		}
		a += b
	}
	return true
}

func (f filter) add(h common.Hash) {
	f.probe(h, func(i uint64) bool { f[i/8] |= 1 << (i % 8); return true })
}

func (f filter) has(h common.Hash) bool {
	return f.probe(h, func(i uint64) bool { return f[i/8]&(1<<(i%8)) != 0 })
}

// filterBudget bounds the memory of all filters.
type filterBudget struct{ left atomic.Int64 }

func (b *filterBudget) take(n int) bool {
	if b.left.Add(-int64(n)) < 0 {
		b.left.Add(int64(n))
		return false
	}
	return true
}

func (b *filterBudget) give(n int) { b.left.Add(int64(n)) }
