package whisper

import (
	"encoding/binary"
	"errors"
	"math"
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rlp"
)

// ErrWorkNotDone means that mining ended before the envelope had the
// required proof of work.
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
	for _, part := range e.proof(&h.scratch) {
		h.Write(part)
	}
	return e.counted(h.finish())
}

// proof returns the parts of what is hashed under the proof of work; room is for the first and the last.
func (e *Envelope) proof(room *[16]byte) [3][]byte {
	return [3][]byte{
		appendListHead(room[:0:8], e.end-e.work), e.raw[e.work:e.end], binary.BigEndian.AppendUint64(room[8:8], e.Nonce),
	}
}

// appendProof appends what leading hashes.
func (e *Envelope) appendProof(b []byte) []byte {
	var room [16]byte
	for _, part := range e.proof(&room) {
		b = append(b, part...)
	}
	return b
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
