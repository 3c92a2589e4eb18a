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
			other.Nonce = earlier
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
