package topics

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// The index against the plainest thing that does the same.
func TestIndexModel(t *testing.T) {
	x := New()
	rng := rand.New(rand.NewPCG(1, 2))
	now := time.Unix(1_800_000_000, 0)
	plain := make(map[registration.ID][]registration.Channel)
	for range 3000 {
		id := registration.ID(1 + rng.IntN(20))
		if rng.IntN(4) == 0 {
			x.Remove(id)
			delete(plain, id)
		} else {
			var channels []registration.Channel
			for n := range byte(6) {
				switch rng.IntN(4) {
				case 0:
					channels = append(channels, registration.Channel{Topic: whisper.Topic{n}})
				case 1:
					channels = append(channels, registration.Channel{Topic: whisper.Topic{n}, Muted: Seconds(now) + 1})
				case 2:
					channels = append(channels, registration.Channel{Topic: whisper.Topic{n}, Mode: pushwire.Mentions})
				}
			}
			x.Set(id, now.Add(time.Hour), channels)
			plain[id] = channels
		}
		require.NoError(t, x.Verify())
		n := byte(rng.IntN(6))
		var got, want []registration.ID
		x.Match(whisper.Topic{n}, now, func(id registration.ID) { got = append(got, id) })
		for id, channels := range plain {
			for _, c := range channels {
				if c == (registration.Channel{Topic: whisper.Topic{n}}) {
					want = append(want, id)
				}
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		require.Equal(t, want, got)
	}
	for id := range plain {
		x.Remove(id)
	}
	require.Zero(t, x.Size())
	require.Zero(t, x.heads.used)
	require.LessOrEqual(t, x.postings.len(), 20*6+1, "postings are used again")
	require.LessOrEqual(t, x.slots.len(), 21)
}

// The table against a map, with keys that crowd.
func TestTable(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, keys := range []int{1, 12, 100, 3000} {
		x, plain := newTable(), make(map[uint32]uint32)
		for range 4_000 {
			key, value := uint32(rng.IntN(keys))<<uint(rng.IntN(2)*16), 1+rng.Uint32N(100)
			if rng.IntN(3) == 0 {
				x.remove(key)
				delete(plain, key)
			} else {
				x.set(key, value)
				plain[key] = value
			}
			require.Equal(t, len(plain), x.used)
			probe := uint32(rng.IntN(keys))
			require.Equal(t, plain[probe], x.get(probe))
		}
		for key, value := range plain {
			require.Equal(t, value, x.get(key))
			x.remove(key)
		}
		require.Zero(t, x.used)
		require.LessOrEqual(t, x.size(), tableMin)
	}
}

func TestMatchDoesNotAllocate(t *testing.T) {
	topicOne, topicTwo := whisper.Topic{1}, whisper.Topic{2}
	x := New()
	x.Set(1, time.Unix(2_000_000_000, 0), []registration.Channel{{Topic: topicOne}})
	now, hits := time.Unix(1_800_000_000, 0), 0
	fn := func(registration.ID) { hits++ }
	require.Zero(t, testing.AllocsPerRun(100, func() {
		x.Match(topicOne, now, fn)
		x.Match(topicTwo, now, fn)
	}))
	require.NotZero(t, hits)
}
