package outbox

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/whisper"
)

// A sieve holds back none that it was given, and nearly all others, however many it has.
func TestSieve(t *testing.T) {
	random := rand.NewChaCha8([32]byte{1})
	draw := func() (f twin) {
		random.Read(f[:])
		return f
	}
	var s sieve
	require.False(t, s.has(draw()), "it is empty")
	var given []twin
	for _, count := range []int{1, 1000, sieveRoom, 5 * sieveRoom, 20 * sieveRoom} {
		for len(given) < count {
			f := draw()
			s.add(f)
			given = append(given, f)
		}
		for _, f := range given {
			require.True(t, s.has(f))
		}
		passed := 0
		for range 10_000 {
			if s.has(draw()) {
				passed++
			}
		}
		require.Less(t, passed, 10_000*5/100, "of %d", count)
	}
	require.Len(t, s.parts, 5)
}

// What may have a record is known of every ID, however far apart they are.
func TestKnown(t *testing.T) {
	var k known
	require.True(t, k.has(7), "before it is whole, anything may be there")
	ids := map[registration.ID]bool{0: true, 1: true, 63: true, 64: true, 1<<pageBits - 1: true, 1 << pageBits: true, 1 << 40: true, ^registration.ID(0): true}
	for id := range ids {
		k.add(id)
	}
	k.whole = true
	for id := range ids {
		require.True(t, k.has(id), id)
		require.Equal(t, ids[id+1], k.has(id+1), id+1)
		require.Equal(t, ids[id-1], k.has(id-1), id-1)
	}
	require.False(t, k.has(1<<20))
}

// A repetition is found whether it was noted in this run or in one before, while the
// fingerprints on disk are read, and in the generation before.
func TestRecall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := opened(t)
		message := func(n, seq uint64) pushext.Entry {
			return pushext.Entry{
				Seq: seq, Hash: common.Hash{byte(seq)}, Topic: whisper.Topic{1},
				Data: binary.BigEndian.AppendUint64(nil, n), Received: time.Now(),
			}
		}
		seq := uint64(0)
		tell := func(n uint64) bool {
			seq++
			repeated, err := o.Repeated(message(n, seq))
			require.NoError(t, err)
			require.NoError(t, o.Match(t.Context(), nil, seq, time.Now()))
			return repeated
		}
		const some = twinSweep + 10
		for n := range uint64(some) {
			require.False(t, tell(n))
		}
		time.Sleep(time.Second) // they are written
		again, _, err := New(o.store, Options{TTL: time.Hour, Logger: o.log})
		require.NoError(t, err)
		require.False(t, again.twins.whole)
		for n := range uint64(some) {
			repeated, err := again.Repeated(message(n, seq+1))
			require.NoError(t, err)
			require.True(t, repeated, "the disk is asked")
		}
		require.NoError(t, again.Recall(t.Context()))
		require.True(t, again.twins.whole)
		for n := range uint64(some) {
			repeated, err := again.Repeated(message(n, seq+1))
			require.NoError(t, err)
			require.True(t, repeated)
		}
		repeated, err := again.Repeated(message(some, seq+1))
		require.NoError(t, err)
		require.False(t, repeated)

		require.NoError(t, o.Recall(t.Context()))
		time.Sleep(twinLife) // the next one begins a generation
		require.False(t, tell(some))
		time.Sleep(time.Second)
		require.True(t, tell(0), "of the generation before")
		require.True(t, tell(some))
		time.Sleep(twinLife)
		require.False(t, tell(some+1))
		time.Sleep(time.Second)
		require.False(t, tell(1), "two generations later it is forgotten")
		require.False(t, o.twins.unknown(twinOf(o.store, message(some, 0))))
	})
}
