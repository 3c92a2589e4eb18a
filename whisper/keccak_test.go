package whisper

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/stretchr/testify/require"
)

// Hashes that are computed side by side are those that go-ethereum computes, whatever the sizes of the inputs.
func TestQuad(t *testing.T) {
	choice := rand.New(rand.NewPCG(1, 2))
	random := func(size int) []byte {
		b := make([]byte, size)
		for i := range b {
			b[i] = byte(choice.Uint32())
		}
		return b
	}
	sizes := []int{0, 1, keccakRate - 1, keccakRate, keccakRate + 1, 2*keccakRate - 1, 2 * keccakRate, longest - 1, longest}
	q := quads.New().(*quad)
	for range 2000 {
		var inputs [][]byte
		for range 1 + choice.IntN(lanes) {
			size := sizes[choice.IntN(len(sizes))]
			if choice.IntN(2) == 0 {
				size = choice.IntN(longest + 1)
			}
			inputs = append(inputs, random(size))
			q.add(append(q.next(), inputs[len(inputs)-1]...))
		}
		sums := q.sum()
		for i, b := range inputs {
			require.Equal(t, crypto.Keccak256Hash(b), sums[i], "%d bytes in lane %d of %d", len(b), i, len(inputs))
		}
		require.Zero(t, q.count)
	}
}

// A packet's envelopes have the hash and the proof of work that each has alone.
func TestPacketOfAllSizes(t *testing.T) {
	expiry := uint32(time.Now().Unix()) + 600
	for _, count := range []int{1, 2, 3, 4, 5, 11} {
		var alone []*Envelope
		for i := range count {
			e := craft(t, expiry, 600, Topic{byte(i)}, bytes.Repeat([]byte{byte(i)}, 100+i*i*40))
			alone = append(alone, e)
		}
		// What is no envelope is among them, and does not move the others.
		raws := []rlp.RawValue{{0xc0}}
		for _, e := range alone {
			raws = append(raws, e.raw, rlp.RawValue{0x01})
		}
		list, err := rlp.EncodeToBytes(raws)
		require.NoError(t, err)
		together, bad, err := DecodeEnvelopes(list)
		require.NoError(t, err)
		require.Equal(t, count+1, bad)
		require.Len(t, together, count)
		workAll(together)
		for i, e := range together {
			name := fmt.Sprintf("%d of %d", i, count)
			require.Equal(t, crypto.Keccak256Hash(alone[i].raw), e.Hash(), name)
			require.NotZero(t, e.zeros, name)
			hash := crypto.Keccak256Hash(e.appendProof(nil))
			require.Equal(t, leadingZeros(hash[:]), e.leading(), name)
			again, err := DecodeEnvelope(alone[i].raw)
			require.NoError(t, err)
			require.Equal(t, again.PoW(time.Now()), e.PoW(time.Now()), name)
		}
	}
}

func BenchmarkQuad(b *testing.B) {
	for _, side := range []bool{false, true} {
		b.Run(fmt.Sprintf("side=%t", side), func(b *testing.B) {
			input := make([]byte, 320)
			q := quads.New().(*quad)
			var sums [lanes]common.Hash
			b.SetBytes(lanes * int64(len(input)))
			for b.Loop() {
				for l := range lanes {
					if side {
						q.add(append(q.next(), input...))
					} else {
						sums[l] = keccak256(input)
					}
				}
				if side {
					sums = q.sum()
				}
			}
			_ = sums
		})
	}
}
