package whisper

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Mining absorbs what all tries share only once; PoW hashes everything again. They
// must agree at every size, and on the smallest nonce.
func TestMineAgreesWithPoW(t *testing.T) {
	now := time.Unix(1_600_000_000, 0)
	for size := 1; size < 600; size += 13 {
		e, err := Seal(t.Context(), Draft{Payload: bytes.Repeat([]byte{'x'}, size), Padding: []byte{}, Key: make([]byte, 32), TTL: 1, PoW: 0.05, Now: now})
		require.NoError(t, err)
		require.GreaterOrEqual(t, e.PoW(now), 0.05)
		for earlier := range e.Nonce {
			other := *e
			other.Nonce, other.zeros = earlier, 0
			require.Less(t, other.PoW(now), 0.05, "size %d: nonce %d of %d", size, earlier, e.Nonce)
		}
	}
}

// Nonces are found side by side as they are one after the other, wherever the sponge's blocks end.
func TestMineAbreast(t *testing.T) {
	if !abreast() {
		t.Skip("this processor computes one hash at a time")
	}
	for size := range 2*keccakRate + 2 {
		proof := bytes.Repeat([]byte{byte(size)}, size)
		enough := func(zeros int) bool { return zeros >= 5 }
		one, tries, err := mineSingly(t.Context(), proof, enough)
		require.NoError(t, err)
		other, others, err := mineAbreast(t.Context(), proof, enough)
		require.NoError(t, err)
		require.Equal(t, one, other, "%d bytes", size)
		require.Equal(t, tries, others, "%d bytes", size)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := mineAbreast(ctx, []byte{1}, func(int) bool { return false })
	require.ErrorIs(t, err, context.Canceled)
}

func BenchmarkMine(b *testing.B) {
	proof := bytes.Repeat([]byte{7}, 1200)
	for name, mine := range map[string]func(context.Context, []byte, func(int) bool) (uint64, uint64, error){"singly": mineSingly, "abreast": mineAbreast} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, _, err := mine(b.Context(), proof, func(zeros int) bool { return zeros >= 14 }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// The hash behind a proof of work is computed once; what it is worth is of the moment all the same, and of the nonce.
func TestPoWIsRemembered(t *testing.T) {
	now := time.Now()
	for _, size := range []int{0, 1, 40, 60, 300, 70_000} {
		e := craft(t, uint32(now.Unix())+50, 50, Topic{1}, make([]byte, size))
		for _, at := range []time.Time{now, now.Add(-time.Hour), now, now.Add(time.Hour)} {
			again, err := DecodeEnvelope(e.Raw())
			require.NoError(t, err)
			require.Equal(t, again.PoW(at), e.PoW(at), "%d bytes", size)
		}
		e.Nonce += 12345
		e.encode(e.appendWork(nil))
		again, err := DecodeEnvelope(e.Raw())
		require.NoError(t, err)
		require.Equal(t, again.PoW(now), e.PoW(now), "another nonce")
	}
}

// BenchmarkPoWAgain is what a pooled envelope costs a link that it is offered to.
func BenchmarkPoWAgain(b *testing.B) {
	now := time.Now()
	e := craft(b, uint32(now.Unix())+50, 50, Topic{1}, make([]byte, 300))
	for b.Loop() {
		e.PoW(now)
	}
}
