package pushext

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext/pushwire"
)

// TestBuildIndex builds an index at once, and another one by one: both match
// the same in the same order, also after changes.
func TestBuildIndex(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for _, topics := range []int{1, 50, 20_000} {
		const registrations = 500
		rng := rand.New(rand.NewPCG(1, uint64(topics)))
		want := newIndex()
		parts := newListeners(3)
		held := make([][]channel, registrations)
		for i := range held {
			for range rng.IntN(8) {
				c := channel{topic: benchTopic(uint32(rng.IntN(topics)))}
				switch rng.IntN(5) {
				case 0:
					c.mode = pushwire.Mode(1)
				case 1:
					c.muted = seconds(now) + 1
				}
				held[i] = append(held[i], c)
			}
			end := now.Add(time.Duration(rng.IntN(10)-1) * time.Hour)
			want.set(registrationID(i+1), end, held[i])
			parts[i*2/registrations].add(registrationID(i+1), end, held[i]) // the last is empty
		}
		got := buildIndex(parts)
		same := func() {
			t.Helper()
			require.Equal(t, want.size(), got.size())
			require.Equal(t, want.heads.size(), got.heads.size())
			require.NoError(t, want.verify())
			require.NoError(t, got.verify())
			for n := range topics + 10 {
				var a, b []registrationID
				want.match(benchTopic(uint32(n)), now, func(id registrationID) { a = append(a, id) })
				got.match(benchTopic(uint32(n)), now, func(id registrationID) { b = append(b, id) })
				if !slices.Equal(a, b) {
					require.Equal(t, a, b)
				}
			}
		}
		same()
		for i := range held {
			for _, x := range []*index{want, got} {
				switch i % 3 {
				case 0:
					x.remove(registrationID(i + 1))
				case 1:
					x.set(registrationID(i+1), now.Add(time.Hour), held[(i+1)%registrations])
				}
			}
		}
		same()
	}
	require.Zero(t, buildIndex(nil).size())
}
