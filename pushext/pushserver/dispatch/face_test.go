package dispatch

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushwire"
)

// An attempt that is repeated has the id of the first, whatever was tried in between.
func TestRepetitionsHaveOneID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, other := &scripted{name: "fcm"}, &scripted{name: "pushy"}
		r := newRig(t, Delivery{}, p, other)
		topic := r.device(1, "fcm token", "pushy token")
		r.start()
		defer r.stop()
		p.always(pushext.Verdict{Class: pushext.Retry, Reason: "fcm 503"})
		other.always(pushext.Verdict{Class: pushext.Retry, Reason: "pushy 503"})
		r.log.Archive(topic)
		time.Sleep(10 * time.Minute)
		for _, all := range [][]push{p.all(), other.all()} {
			require.Greater(t, len(all), 3)
			for _, sent := range all {
				require.Equal(t, all[0].ID, sent.ID)
				require.Equal(t, all[0].CollapseID, sent.CollapseID)
			}
		}
		require.NotEqual(t, p.all()[0].ID, other.all()[0].ID)
		p.set(nil)
		r.log.Archive(topic)
		time.Sleep(10 * time.Minute)
		sent := p.all()
		require.NotEqual(t, sent[0].ID, sent[len(sent)-1].ID, "another wake-up")
	})
}

// A face tells nothing of the secret that it is derived from, and anything else
// that differs makes it another.
func TestFace(t *testing.T) {
	to := registration.Route{Provider: "fcm", Address: pushext.Address{Token: "token"}}
	is := faceOf("secret", pushwire.Messages, to, "nonce")
	require.Equal(t, is, faceOf("secret", pushwire.Messages, to, "nonce"))
	require.Equal(t, is, faceOf("secret", pushwire.Challenge, to, "nonce"))
	require.Equal(t, is.collapse, faceOf("secret", pushwire.Messages, to, "nonce 2").collapse)
	require.NotEqual(t, is.id, faceOf("secret", pushwire.Messages, to, "nonce 2").id)
	for what, other := range map[string]face{
		"secret":   faceOf("secret 2", pushwire.Messages, to, "nonce"),
		"kind":     faceOf("secret", pushwire.Dismiss, to, "nonce"),
		"provider": faceOf("secret", pushwire.Messages, registration.Route{Provider: "fcm-eu", Address: to.Address}, "nonce"),
		"token":    faceOf("secret", pushwire.Messages, registration.Route{Provider: "fcm", Address: pushext.Address{Token: "token 2"}}, "nonce"),
		"border":   faceOf("secret", pushwire.Messages, registration.Route{Provider: "fc", Address: pushext.Address{Token: "mtoken"}}, "nonce"),
	} {
		require.NotEqual(t, is.collapse, other.collapse, what)
		require.NotEqual(t, is.id, other.id, what)
	}
	require.False(t, strings.Contains(is.collapse+is.id, "secret"))
}

func BenchmarkFace(b *testing.B) {
	to := registration.Route{Provider: "fcm", Address: pushext.Address{Token: strings.Repeat("token", 30)}}
	secret, number := strings.Repeat("s", 24), nonce()
	b.ReportAllocs()
	for b.Loop() {
		faceOf(secret, pushwire.Messages, to, number)
	}
}
