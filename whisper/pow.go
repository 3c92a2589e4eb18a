package whisper

import (
	"context"
	"encoding"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
)

// ErrWorkNotDone says that mining ended before the envelope had the proof of
// work asked for.
var ErrWorkNotDone = errors.New("whisper: proof of work not reached")

// PoW returns the proof of work of the envelope as a node sees it at now
// (EIP-627, "PoW Requirement"):
//
//	2^(leading zero bits of Keccak-256(work ‖ nonce)) / (size × (TTL + lag))
//
// where work is RLP [expiry, TTL, topic, data], size its length, nonce has 8
// big-endian bytes, and lag is 0 or, for an envelope that was sent in the
// future of now, that many seconds plus one. A lifetime of 0 counts as 1 s.
//
// The hash is computed once: an envelope is offered to many peers.
func (e *Envelope) PoW(now time.Time) float64 {
	life := uint64(e.TTL)
	if sent, at := int64(e.Sent()), now.Unix(); sent > at {
		life += uint64(sent-at) + 1
	}
	return powValue(e.leading(), int(rlp.ListSize(uint64(e.end-e.work))), life)
}

// leading returns the leading zero bits of the hash under the proof of work.
func (e *Envelope) leading() int {
	if zeros := atomic.LoadUint32(&e.zeros); zeros > 0 {
		return int(zeros) - 1
	}
	h := newHasher()
	h.Write(appendListHead(h.scratch[:0], e.end-e.work))
	h.Write(e.raw[e.work:e.end])
	h.Write(binary.BigEndian.AppendUint64(h.scratch[:0], e.Nonce))
	return e.counted(h.finish())
}

// appendProof appends what leading hashes.
func (e *Envelope) appendProof(b []byte) []byte {
	b = appendListHead(b, e.end-e.work)
	b = append(b, e.raw[e.work:e.end]...)
	return binary.BigEndian.AppendUint64(b, e.Nonce)
}

// counted remembers, and returns, the leading zero bits of a hash under the proof of work.
func (e *Envelope) counted(hash common.Hash) int {
	zeros := leadingZeros(hash[:])
	atomic.StoreUint32(&e.zeros, uint32(zeros)+1)
	return zeros
}

func powValue(zeros, size int, life uint64) float64 {
	return math.Ldexp(1, zeros) / (float64(size) * float64(max(life, 1)))
}

func leadingZeros(hash []byte) int {
	for i := 0; i < common.HashLength; i += 8 {
		if w := binary.BigEndian.Uint64(hash[i:]); w != 0 {
			return i*8 + bits.LeadingZeros64(w)
		}
	}
	return 8 * common.HashLength
}

// minesBetweenChecks is how many nonces are tried between two looks at the
// context: some milliseconds of work.
const minesBetweenChecks = 4096

// mine finds the smallest nonce that gives the fields under proof of work the
// target, and stores it.
func (e *Envelope) mine(ctx context.Context, fields []byte, target float64) error {
	if target <= 0 {
		return nil
	}
	head := rlpListHead(len(fields))
	size := len(head) + len(fields)
	// All tries begin with the same bytes, so those are absorbed once: a try
	// costs the last block of the sponge, not all of the envelope.
	keccak := keccakSponge{crypto.NewKeccakState()}
	keccak.Write(head)
	keccak.Write(fields)
	common := keccak.save()
	var hash [32]byte
	var nonce [8]byte
	for n := uint64(0); ; n++ {
		if n%minesBetweenChecks == 0 && ctx.Err() != nil {
			return fmt.Errorf("%w: %g after %d tries: %v", ErrWorkNotDone, target, n, context.Cause(ctx))
		}
		binary.BigEndian.PutUint64(nonce[:], n)
		keccak.restore(common)
		keccak.Write(nonce[:])
		keccak.Read(hash[:])
		if powValue(leadingZeros(hash[:]), size, uint64(e.TTL)) >= target {
			e.Nonce = n
			return nil
		}
	}
}

// keccakSponge is a hash whose state can be put back to an earlier one.
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
