package whisper

import (
	"sync"

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
