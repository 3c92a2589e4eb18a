package requests

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext/pushserver/registration"
	"whisperpush/whisper"
)

// Whoever has notifications wait for envelopes that never come, with capabilities of
// their own or one of the victim's, from one network or from many, keeps nobody else's
// from ringing.
func TestAttackNotificationsThatWait(t *testing.T) {
	for _, c := range []struct {
		name     string
		networks int
		handles  int // of the attacker; 0: a capability of the victim's
		want     int
	}{
		{"one capability", 1, 1, maxReceiverNotifies},
		{"a hundred capabilities of one network", 1, 100, maxSourceNotifies},
		{"a hundred capabilities of fifty networks", 50, 100, maxNotifies},
		{"the victim's capability", 1, 0, maxReceiverNotifies},
		{"the victim's capability, from fifty networks", 50, 0, maxReceiverNotifies},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHall(t, registration.Limits{})
				p := h.open()
				p.Start()
				defer p.Stop()
				bob := h.rung("bob")
				var receivers []rung
				for i := range c.handles {
					receivers = append(receivers, h.rung(fmt.Sprint("mallory ", i)))
				}
				if c.handles == 0 {
					receivers = []rung{bob}
				}
				letter, err := whisper.Seal(t.Context(), whisper.Draft{Payload: []byte("hi"), Topic: whisper.Topic{1}, Key: hallKey})
				require.NoError(t, err)
				for i := range 2 * maxNotifies {
					to := receivers[i%len(receivers)]
					a := p.notify(whisper.Source(fmt.Sprint(i%c.networks)), to.by("mallory", common.Hash{1, byte(i), byte(i >> 8)}), time.Now())
					a.after(t.Context())
				}
				require.Len(t, p.notifies.all(), c.want)
				p.notify("alice's", bob.by("alice", letter.Hash()), time.Now()).after(t.Context())
				h.archive(letter)
				time.Sleep(5 * time.Second)
				require.Equal(t, 1.0, h.metric("notifications_total", "outcome", "rung"))
				s, err := h.options.Outbox.Status(bob.id)
				require.NoError(t, err)
				require.Equal(t, 1, s.Pending)
				require.LessOrEqual(t, len(p.notifies.all()), c.want)

				time.Sleep(time.Minute)
				require.Empty(t, p.notifies.all())
				require.Equal(t, 2.0*maxNotifies, h.metric("notifications_total", "outcome", "missing")+h.metric("notifications_total", "outcome", "overflow"))
			})
		})
	}
}
