package outbox

import (
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext/pushserver/registration"
	"whisperpush/testutil/memlog"
)

func TestEarlyReads(t *testing.T) {
	var r earlyReads
	now := time.Unix(1e9, 0)
	for i := range 2 * maxEarlyEach {
		r.add(1, 1, memlog.Hash(uint64(i)), now)
	}
	require.Len(t, r.at, maxEarlyEach)
	require.False(t, r.take(1, memlog.Hash(0), now), "forgotten")
	require.True(t, r.take(1, memlog.Hash(maxEarlyEach), now))
	require.False(t, r.take(1, memlog.Hash(maxEarlyEach), now), "once")
	require.False(t, r.take(2, memlog.Hash(maxEarlyEach+1), now), "another's")
	require.False(t, r.take(1, memlog.Hash(maxEarlyEach+1), now.Add(earlyLife)), "too old")
	r.add(1, 1, memlog.Hash(maxEarlyEach+2), now.Add(earlyLife))
	require.True(t, r.take(1, memlog.Hash(maxEarlyEach+2), now.Add(earlyLife)), "said again")
}

// Registrations that name made-up hashes fill what is remembered, each as much as it
// may: what another said is still known, whether before, meanwhile or after.
func TestAttackMadeUpReceipts(t *testing.T) {
	for _, attackers := range []int{1, 16, 200} {
		var r earlyReads
		now := time.Unix(1e9, 0)
		honest := func(i int) (registration.ID, common.Hash) {
			return registration.ID(1_000_000 + i), memlog.Hash(uint64(1<<40 + i))
		}
		said := 0
		for i := range 3 * maxEarly {
			by := registration.ID(i % attackers)
			r.add(by, by, memlog.Hash(uint64(i)), now)
			if i%1000 == 0 {
				id, h := honest(said)
				r.add(id, id, h, now)
				said++
			}
			require.LessOrEqual(t, len(r.at), maxEarly)
			require.Equal(t, len(r.shares), r.most.Len())
		}
		for i := range said {
			id, h := honest(i)
			require.True(t, r.take(id, h, now))
		}
		for i := range 3 * maxEarly {
			r.take(registration.ID(i%attackers), memlog.Hash(uint64(i)), now)
		}
		require.Empty(t, r.at)
		require.Empty(t, r.shares)
		require.Empty(t, r.most)
	}
}
