package pushserver

import (
	"encoding/json"
	"math"
	"math/bits"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// A guesser has all pushes and all envelopes with their times, and must say which
// of two tokens listens to which of two topics. When both topics have traffic at
// the same times, only the contents of the pushes are left. A guess from them is
// right every other time, and the contents have the same distribution. A guesser
// that is shown the hash in one push of eight is detected, so the test would
// notice a leak of that size.
func TestGuesser(t *testing.T) {
	const rounds, shown = 2400, 8
	var sealed, leaking guesses
	samples := make([][]float64, 2)
	bedTest(t, Limits{}, func(b *bed) {
		phones := []*phone{b.phone("one"), b.phone("two")}
		topics := []whisper.Topic{topicA, topicB}
		for i, p := range phones {
			p.join(p.registration(topics[i]))
		}
		for round := range rounds {
			var hashes [2]common.Hash
			var envs [2]*whisper.Envelope
			for i := range topics {
				envs[i] = b.letter(topics[i])
				hashes[i] = envs[i].Hash()
			}
			for _, env := range envs {
				b.archive.take(env)
			}
			time.Sleep(20 * time.Second) // within the budget
			for i, p := range phones {
				pushes := b.post.take(p.token)
				require.Len(t, pushes, 1)
				blob := sealedPart(t, pushes[0].Body)
				sealed.guess(blob, hashes[i], hashes[1-i])
				samples[i] = append(samples[i], weight(blob))
				payload, err := pushwire.OpenPayload(pushes[0].Body, p.private)
				require.NoError(t, err)
				require.Equal(t, hashes[i], payload.Hashes[0], "the device knows what the guesser does not")
				require.Equal(t, pushwire.OK, p.ask(&pushwire.Fetch{Hashes: payload.Hashes}).Code)
				if round%shown == 0 {
					copy(blob[round%len(blob)/2:], hashes[i][:])
				}
				leaking.guess(blob, hashes[i], hashes[1-i])
			}
		}
	})
	require.Less(t, sealed.sigmas(), 4.5, "right %d times of %d", sealed.right, sealed.n)
	require.Greater(t, leaking.sigmas(), 4.5, "the guesser would not notice one leak in %d: right %d times of %d", shown, leaking.right, leaking.n)
	require.Less(t, apart(samples[0], samples[1]), 3.3)
}

// guesses counts the guesses between two topics.
type guesses struct{ n, right int }

// guess picks the hash that a text is more like; where neither is, nothing was guessed.
func (g *guesses) guess(text []byte, own, other common.Hash) {
	mine, theirs := likeness(text, own), likeness(text, other)
	if mine == theirs {
		return
	}
	g.n++
	if mine > theirs {
		g.right++
	}
}

// sigmas is how many standard deviations the guesses are from those of a coin.
func (g *guesses) sigmas() float64 {
	return math.Abs(float64(g.right)-float64(g.n)/2) / (math.Sqrt(float64(g.n)) / 2)
}

func sealedPart(t *testing.T, body []byte) []byte {
	t.Helper()
	var fields struct{ P []byte }
	require.NoError(t, json.Unmarshal(body, &fields))
	require.Len(t, fields.P, pushwire.SealedSize)
	return fields.P
}

// likeness is the most bits that a hash shares with any place of a text.
func likeness(text []byte, h common.Hash) (best int) {
	for at := 0; at+len(h) <= len(text); at++ {
		same := 0
		for i := range h {
			same += 8 - bits.OnesCount8(text[at+i]^h[i])
		}
		best = max(best, same)
	}
	return best
}

// weight is how many bits of a text are set.
func weight(text []byte) float64 {
	n := 0
	for _, c := range text {
		n += bits.OnesCount8(c)
	}
	return float64(n)
}

// apart is the Kolmogorov-Smirnov distance of two samples of n, times √(n/2).
func apart(a, b []float64) float64 {
	worst := 0.0
	for _, at := range append(append([]float64(nil), a...), b...) {
		below := func(s []float64) (n float64) {
			for _, v := range s {
				if v <= at {
					n++
				}
			}
			return n / float64(len(s))
		}
		worst = max(worst, math.Abs(below(a)-below(b)))
	}
	return worst * math.Sqrt(float64(len(a))/2)
}
