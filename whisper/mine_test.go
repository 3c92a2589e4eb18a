package whisper

import (
	"bytes"
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

func BenchmarkMine(b *testing.B) {
	fields := bytes.Repeat([]byte{7}, 1200)
	e := &Envelope{TTL: 50}
	for b.Loop() {
		if err := e.mine(b.Context(), fields, 0.2); err != nil {
			b.Fatal(err)
		}
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
