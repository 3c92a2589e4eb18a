package topics

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushwire"
)

// TestBuildIndex builds an index at once, and another one by one: both match
// the same in the same order, also after changes.
func TestBuildIndex(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for _, topics := range []int{1, 50, 20_000} {
		const registrations = 500
		rng := rand.New(rand.NewPCG(1, uint64(topics)))
		want := New()
		parts := NewParts(3)
		held := make([][]registration.Channel, registrations)
		for i := range held {
			for range rng.IntN(8) {
				c := registration.Channel{Topic: benchTopic(uint32(rng.IntN(topics)))}
				switch rng.IntN(5) {
				case 0:
					c.Mode = pushwire.Mode(1)
				case 1:
					c.Muted = Seconds(now) + 1
				}
				held[i] = append(held[i], c)
			}
			end := now.Add(time.Duration(rng.IntN(10)-1) * time.Hour)
			want.Set(registration.ID(i+1), end, held[i])
			parts[i*2/registrations].Add(registration.ID(i+1), end, held[i]) // the last is empty
		}
		got := Build(parts)
		same := func() {
			t.Helper()
			require.Equal(t, want.Size(), got.Size())
			require.Equal(t, want.heads.size(), got.heads.size())
			require.NoError(t, want.Verify())
			require.NoError(t, got.Verify())
			for n := range topics + 10 {
				var a, b []registration.ID
				want.Match(benchTopic(uint32(n)), now, func(id registration.ID) { a = append(a, id) })
				got.Match(benchTopic(uint32(n)), now, func(id registration.ID) { b = append(b, id) })
				if !slices.Equal(a, b) {
					require.Equal(t, a, b)
				}
			}
		}
		same()
		for i := range held {
			for _, x := range []*Index{want, got} {
				switch i % 3 {
				case 0:
					x.Remove(registration.ID(i + 1))
				case 1:
					x.Set(registration.ID(i+1), now.Add(time.Hour), held[(i+1)%registrations])
				}
			}
		}
		same()
	}
	require.Zero(t, Build(nil).Size())
}
