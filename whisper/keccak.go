package whisper

import (
	"encoding/binary"
	"sync"

	"github.com/cloudflare/circl/simd/keccakf1600"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
)

// hasher is a Keccak-256 state with buffers for its input and output, which would
// otherwise be allocated: every envelope is hashed twice.
type hasher struct {
	crypto.KeccakState
	sum     common.Hash
	scratch [16]byte
}

// hashers holds no state beyond a call; it only saves allocations.
var hashers = sync.Pool{New: func() any { return &hasher{KeccakState: crypto.NewKeccakState()} }}

func newHasher() *hasher {
	h := hashers.Get().(*hasher)
	h.Reset()
	return h
}

// finish returns the hash of what was written and gives the hasher back.
func (h *hasher) finish() common.Hash {
	h.Read(h.sum[:])
	sum := h.sum
	hashers.Put(h)
	return sum
}

func keccak256(b []byte) common.Hash {
	h := newHasher()
	h.Write(b)
	return h.finish()
}

const (
	// keccakRate is how many bytes Keccak-256 absorbs between two permutations (FIPS 202, but with the older padding).
	keccakRate = 136
	// lanes is how many hashes are computed at once.
	lanes = 4
	// longest is the size in bytes up to which an input is hashed beside others. Longer ones are so rare that they would be
	// hashed beside shorter ones, which saves nothing.
	longest = 2048
)

// abreast reports whether the processor computes several hashes at once. Four then take one and a half times as long as one.
func abreast() bool { return keccakf1600.IsEnabledX4() }

// quad computes the Keccak-256 of up to four inputs side by side in the processor's vector registers. Hashing is most of
// what a node does for an envelope, and envelopes come by the hundred.
type quad struct {
	state keccakf1600.StateX4
	words []uint64 // of the state: word i of lane l is at 4·i + l
	input [lanes][longest]byte
	size  [lanes]int // of what is in input
	count int
}

// quads holds no state beyond a call; it only saves allocations.
var quads = sync.Pool{New: func() any {
	q := new(quad)
	q.words = q.state.Initialize(false)
	return q
}}

// next returns the buffer for the next input, which add then completes. The quad must have a free lane.
func (q *quad) next() []byte { return q.input[q.count][:0] }

// add gives the quad an input that was appended to what next returned.
func (q *quad) add(b []byte) {
	q.size[q.count] = len(b)
	q.count++
}

// sum returns the hashes of the inputs, in their order, and forgets the inputs.
func (q *quad) sum() (sums [lanes]common.Hash) {
	clear(q.words)
	for at, left := 0, q.count; left > 0; at += keccakRate {
		for l := range q.count {
			switch rest := q.size[l] - at; {
			case rest >= keccakRate:
				q.absorb(l, q.input[l][at:at+keccakRate])
			case rest >= 0:
				var last [keccakRate]byte
				copy(last[:], q.input[l][at:q.size[l]])
				last[rest] = 0x01
				last[keccakRate-1] |= 0x80
				q.absorb(l, last[:])
			}
		}
		q.state.Permute()
		for l := range q.count {
			if rest := q.size[l] - at; 0 <= rest && rest < keccakRate {
				sums[l] = q.hash(l)
				left--
			}
		}
	}
	q.count = 0
	return sums
}

// hash returns the hash in a lane whose last block was absorbed and permuted.
func (q *quad) hash(lane int) (h common.Hash) {
	for i := range common.HashLength / 8 {
		binary.LittleEndian.PutUint64(h[8*i:], q.words[lanes*i+lane])
	}
	return h
}

// absorb takes a block of keccakRate bytes into a lane.
func (q *quad) absorb(lane int, block []byte) {
	words := q.words[lane:]
	for i := range keccakRate / 8 {
		words[lanes*i] ^= binary.LittleEndian.Uint64(block[8*i:])
	}
}

// hashAll gives each envelope its hash.
func hashAll(envelopes []*Envelope) {
	side(envelopes,
		func(e *Envelope, b []byte) []byte { return append(b, e.raw...) },
		func(e *Envelope, h common.Hash) { e.hash = h },
		func(e *Envelope) { e.hash = keccak256(e.raw) })
}

// workAll counts the zeros of each envelope's proof of work, so that PoW need not.
func workAll(envelopes []*Envelope) {
	side(envelopes, (*Envelope).appendProof,
		func(e *Envelope, h common.Hash) { e.counted(h) },
		func(e *Envelope) { e.leading() })
}

// side computes a hash for each envelope and passes it to done. Where the processor can, it hashes the inputs of four
// short envelopes at once; single handles one envelope alone. An input is at most 16 bytes longer than the envelope.
func side(envelopes []*Envelope, input func(*Envelope, []byte) []byte, done func(*Envelope, common.Hash), single func(*Envelope)) {
	if len(envelopes) < 2 || !abreast() {
		for _, e := range envelopes {
			single(e)
		}
		return
	}
	q := quads.Get().(*quad)
	defer quads.Put(q)
	var who [lanes]*Envelope
	for i, e := range envelopes {
		if len(e.raw)+16 <= longest {
			who[q.count] = e
			q.add(input(e, q.next()))
		} else {
			single(e)
		}
		if q.count == lanes || i == len(envelopes)-1 {
			count := q.count
			sums := q.sum()
			for l := range count {
				done(who[l], sums[l])
			}
		}
	}
}
