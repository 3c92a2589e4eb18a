package outbox

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushwire"
)

// Memory and what is recorded lead to no key that was made, whatever is reserved when;
// and they meet once all that was reserved is used.
func TestChain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c chain
		c.begin(7, registration.Start{1})
		made := uint64(0)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 2).Draw(t, "what") {
			case 0:
				n := rapid.SampledFrom([]uint64{0, seqBlock}).Draw(t, "block") // a stop, a commit
				recorded := c.reserve(n)
				require.Equal(t, made+n, recorded.Next)
				whole := pushwire.NewChain(7, registration.Start{1})
				whole.Skip(recorded.Next)
				require.Equal(t, whole, recorded)
			default:
				require.NotNil(t, c.take())
				made++
			}
			require.Equal(t, made, c.front.Next, "what is in memory begins with the next key")
		}
	})
}

// A chain that is used up is followed by keys agreed on for each.
func TestChainEnds(t *testing.T) {
	var c chain
	c.begin(1, registration.Start{1})
	c.front.Skip(pushwire.MaxChain - 2)
	require.NotNil(t, c.take())
	require.Equal(t, uint64(pushwire.MaxChain), c.reserve(seqBlock).Next)
	require.NotNil(t, c.take())
	require.Nil(t, c.take())
	require.Equal(t, uint64(pushwire.MaxChain), c.reserve(seqBlock).Next)
	require.Nil(t, (&chain{}).take())
}
