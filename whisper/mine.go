package whisper

import (
	"context"
	"encoding"
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
)

// minesBetweenChecks is how many nonces are tried between two checks of
// the context: some milliseconds of work. It is a multiple of lanes.
const minesBetweenChecks = 4096

// mine finds the smallest nonce that gives the fields under proof of work the
// target, and stores it.
func (e *Envelope) mine(ctx context.Context, fields []byte, target float64) error {
	if target <= 0 {
		return nil
	}
	proof := append(rlpListHead(len(fields)), fields...)
	enough := func(zeros int) bool { return powValue(zeros, len(proof), uint64(e.TTL)) >= target }
	nonce, tries, err := uint64(0), uint64(0), error(nil)
	if abreast() {
		nonce, tries, err = mineAbreast(ctx, proof, enough)
	} else {
		nonce, tries, err = mineSingly(ctx, proof, enough)
	}
	if err != nil {
		return fmt.Errorf("%w: %g after %d tries: %v", ErrWorkNotDone, target, tries, err)
	}
	e.Nonce = nonce
	return nil
}

// mineSingly returns the smallest nonce that gives enough zeros after proof, or how many were tried before ctx ended.
//
// All tries begin with the same bytes, so those are absorbed once: a try costs the last block of the sponge, not all of the
// envelope.
func mineSingly(ctx context.Context, proof []byte, enough func(zeros int) bool) (nonce, tries uint64, err error) {
	keccak := keccakSponge{crypto.NewKeccakState()}
	keccak.Write(proof)
	common := keccak.save()
	var hash [32]byte
	var last [8]byte
	for n := uint64(0); ; n++ {
		if n%minesBetweenChecks == 0 && ctx.Err() != nil {
			return 0, n, context.Cause(ctx)
		}
		binary.BigEndian.PutUint64(last[:], n)
		keccak.restore(common)
		keccak.Write(last[:])
		keccak.Read(hash[:])
		if enough(leadingZeros(hash[:])) {
			return n, n + 1, nil
		}
	}
}

// mineAbreast is mineSingly for a processor that computes several hashes at once: it tries one nonce in each lane.
func mineAbreast(ctx context.Context, proof []byte, enough func(zeros int) bool) (nonce, tries uint64, err error) {
	q := quads.Get().(*quad)
	defer quads.Put(q)
	clear(q.words)
	for ; len(proof) >= keccakRate; proof = proof[keccakRate:] {
		for l := range lanes {
			q.absorb(l, proof[:keccakRate])
		}
		q.state.Permute()
	}

	// What is left, a nonce and the padding take one block or two. All of it but the nonce is absorbed here, and the nonce as
	// two words, the end of one and the beginning of the next.
	var room [2 * keccakRate]byte
	at := copy(room[:], proof)
	first, second := room[:keccakRate], room[keccakRate:]
	two := at+8 >= keccakRate
	room[at+8] = 0x01
	if two {
		second[keccakRate-1] |= 0x80
	} else {
		first[keccakRate-1] |= 0x80
	}
	for l := range lanes {
		q.absorb(l, first)
	}
	common := slices.Clone(q.words)
	word, shift := at/8, 8*(at%8)
	for n := uint64(0); ; n += lanes {
		if n%minesBetweenChecks == 0 && ctx.Err() != nil {
			return 0, n, context.Cause(ctx)
		}
		copy(q.words, common)
		for l := range lanes {
			bytes := bits.ReverseBytes64(n + uint64(l))
			q.words[lanes*word+l] ^= bytes << shift
			if word < keccakRate/8-1 {
				q.words[lanes*(word+1)+l] ^= bytes >> (64 - shift)
			}
		}
		q.state.Permute()
		if two {
			for l := range lanes {
				q.absorb(l, second)
				if word == keccakRate/8-1 {
					q.words[l] ^= bits.ReverseBytes64(n+uint64(l)) >> (64 - shift)
				}
			}
			q.state.Permute()
		}
		for l := range lanes {
			if enough(q.zeros(l)) {
				return n + uint64(l), n + uint64(l) + 1, nil
			}
		}
	}
}

// zeros returns the leading zero bits of the hash in a lane. It is leadingZeros without the hash being written out, which
// would make mining a twelfth slower.
func (q *quad) zeros(lane int) (zeros int) {
	for i := range common.HashLength / 8 {
		if w := bits.ReverseBytes64(q.words[lanes*i+lane]); w != 0 {
			return zeros + bits.LeadingZeros64(w)
		}
		zeros += 64
	}
	return zeros
}

// keccakSponge is a hash whose state can be set back to an earlier one.
type keccakSponge struct{ crypto.KeccakState }

func (k keccakSponge) save() []byte {
	state, err := k.KeccakState.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		panic("whisper: internal error: " + err.Error()) // saving never fails
	}
	return state
}

func (k keccakSponge) restore(state []byte) {
	if err := k.KeccakState.(encoding.BinaryUnmarshaler).UnmarshalBinary(state); err != nil {
		panic("whisper: internal error: " + err.Error()) // the state comes from save
	}
}
