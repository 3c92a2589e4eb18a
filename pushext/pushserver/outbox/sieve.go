package outbox

import (
	"encoding/binary"
	"math/bits"
)

const (
	// sieveRoom is how many fingerprints the first part of a sieve is for; each further part
	// is for twice as many as the one before.
	sieveRoom = 1 << 14
	// sieveBits is how many bits a part has for each. Of the fingerprints that it was not
	// given, one in a hundred passes.
	sieveBits = 12
	// sieveProbes is how many bits of one block a fingerprint sets.
	sieveProbes = 7
)

// sieve holds back most fingerprints that it was not given, and none that it was: a
// Bloom filter of blocks that fill a cache line each. Fingerprints are keyed hashes:
// their own bits choose block and places, and nobody outside can choose them. The zero
// value is usable.
type sieve struct {
	parts []sievePart
}

type sievePart struct {
	blocks [][8]uint64
	left   int // how many more it has room for
}

// add gives it a fingerprint.
func (s *sieve) add(f twin) {
	if n := len(s.parts); n == 0 || s.parts[n-1].left == 0 {
		room := sieveRoom << n
		s.parts = append(s.parts, sievePart{make([][8]uint64, room*sieveBits/512), room})
	}
	part := &s.parts[len(s.parts)-1]
	part.left--
	block, places := part.block(f)
	for range sieveProbes {
		block[places%512/64] |= 1 << (places % 64)
		places >>= 9
	}
}

// has reports whether it may have been given a fingerprint.
func (s *sieve) has(f twin) bool {
	for i := range s.parts {
		block, places := s.parts[i].block(f)
		there := true
		for range sieveProbes {
			there = there && block[places%512/64]>>(places%64)&1 != 0
			places >>= 9
		}
		if there {
			return true
		}
	}
	return false
}

// block is where a fingerprint belongs, and the places of its bits, 9 bits each.
func (p *sievePart) block(f twin) (block *[8]uint64, places uint64) {
	at, _ := bits.Mul64(binary.BigEndian.Uint64(f[:8]), uint64(len(p.blocks)))
	return &p.blocks[at], binary.BigEndian.Uint64(f[8:])
}
