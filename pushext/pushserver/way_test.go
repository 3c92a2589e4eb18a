package pushserver

import (
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext/pushwire"
)

// Whoever looks closely sees the way of a wake-up and of a registration, by
// numbers that tell nothing of anybody.
func TestWayIsTold(t *testing.T) {
	bedTest(t, Limits{}, func(b *bed) {
		bob := b.phone("token-of-bob")
		bob.join(bob.registration(topicA))
		env := b.envelope(topicA)
		bob.shout(&pushwire.Fetch{Hashes: []common.Hash{env.Hash()}})
		text := b.out.String()
		at := 0
		for _, step := range []string{
			`way of a challenge" registration=1 step=queued provider=post`,
			`way of a registration" registration=1 step=register code=ok state=waiting`,
			`way of a registration" registration=1 step=confirm code=ok state=active`,
			`way of a wake-up" registration=1 step=rung`,
			`way of a wake-up" registration=1 step=queued provider=post`,
			`way of a wake-up" registration=1 step=tried provider=post route=1 number=1`,
			`way of a wake-up" registration=1 step=verdict provider=post class=delivered`,
			`way of a wake-up" registration=1 step="match ended" outcome=fetched`,
			`way of a wake-up" registration=1 step="sign of life"`,
		} {
			next := strings.Index(text[at:], step)
			require.GreaterOrEqual(t, next, 0, "%s, after\n%s", step, text[:at])
			at += next
		}
		require.Contains(t, text, `way of a challenge" registration=1 step=verdict provider=post class=delivered`)
		require.NotContains(t, text, "token-of-bob")
	})
}
