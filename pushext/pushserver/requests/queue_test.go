package requests

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// A full queue drops, and never blocks the peer's read loop; meanwhile new
// devices have to work more.
func TestQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall(t, registration.Limits{Queue: 4, PoW: 1e-9})
		p := h.open()
		env, err := whisper.Seal(t.Context(), whisper.Draft{Key: hallKey, Topic: pushwire.Topic()})
		require.NoError(t, err)
		require.InDelta(t, 1e-9, p.work(""), 1e-12)
		for i := range 6 {
			p.Handle(Peer{nowhere{}, [32]byte{byte(i)}}, env)
		}
		require.Equal(t, 4, p.desk.Waiting())
		require.Equal(t, 2.0, h.metric("requests_dropped_total", "reason", "queue"))
		require.InDelta(t, 256e-9, p.work(""), 1e-9)
	})
}
