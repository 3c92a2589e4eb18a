package pushserver

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext/pushwire"
)

// A server that wakes nobody forgets the keys too, and those of a registration
// that ended go at once.
func TestSealersAreForgottenByTime(t *testing.T) {
	bedTest(t, Limits{}, func(b *bed) {
		held := b.ext.dispatcher.AgreedKeys
		bob, carol := b.phone("bob"), b.phone("carol")
		bob.join(bob.registration(topicA))
		carol.join(carol.registration(topicB))
		b.envelope(topicA)
		b.envelope(topicB)
		time.Sleep(time.Second)
		require.Equal(t, 2, held())
		bob.version++
		require.Equal(t, pushwire.OK, bob.ask(&pushwire.Unregister{Version: bob.version}).Code)
		require.Equal(t, 1, held())
		time.Sleep(time.Hour)
		require.Zero(t, held())
	})
}
