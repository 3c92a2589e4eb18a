package webpush_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext"
	"whisperpush/pushext/emulate"
	"whisperpush/pushext/webpush"
	"whisperpush/testutil/emulatetest"
)

// TestVerdicts is RFC 8030 sections 5, 7 and 8.4, with what push services and
// UnifiedPush make of them, row by row.
func TestVerdicts(t *testing.T) {
	const (
		dead, bad, retry = pushext.TokenDead, pushext.MessageBad, pushext.Retry
		subscription     = emulatetest.Address
		host             = emulatetest.Host
	)
	status := func(status int) emulate.Answer { return emulate.Answer{Status: status} }
	key, err := webpush.NewKey()
	require.NoError(t, err)
	emulatetest.Table{
		Kind: "webpush",
		New: func(t *testing.T) emulatetest.Bench {
			e, err := emulate.StartWebPush(emulate.WebPushConfig{Addr: emulate.Memory, TLS: true})
			require.NoError(t, err)
			t.Cleanup(e.Close)
			p, err := webpush.New(webpush.Config{Key: key, Contact: "mailto:op@example.org", AllowPrivate: true})
			require.NoError(t, err)
			p.Through(e.Transport())
			return emulatetest.Bench{Provider: p, Service: e.Service, Device: func() (pushext.Address, string) {
				s, err := e.Subscribe(p.PublicKey())
				require.NoError(t, err)
				return pushext.Address{Token: s.Endpoint, Keys: [][]byte{s.P256dh, s.Auth}}, s.Token
			}}
		},
		Rows: []emulatetest.Row{
			{Says: status(201), Class: pushext.Delivered, Reason: "webpush 201"},
			{Says: status(200), Class: pushext.Delivered, Reason: "webpush 200"},
			{Says: status(202), Class: pushext.Delivered, Reason: "webpush 202"},

			// The subscription: 404 by the RFC, 410 in practice.
			{Says: status(404), Class: dead, Reason: "webpush 404"},
			{Says: status(410), Class: dead, Reason: "webpush 410"},
			// Our key, or a subscription made for another key, which anyone can
			// register: it ends nothing and pauses nobody.
			{Says: status(401), Class: retry, Reason: "webpush 401", Scope: pushext.ScopeAddress},
			{Says: status(403), Class: retry, Reason: "webpush 403", Scope: pushext.ScopeAddress},

			// This message, or something that is not a push service: redirects are not followed.
			{Says: status(400), Class: bad, Reason: "webpush 400"},
			{Says: status(405), Class: bad, Reason: "webpush 405"},
			{Says: status(413), Class: bad, Reason: "webpush 413"},
			{Says: status(415), Class: bad, Reason: "webpush 415"},
			{Says: status(301), Class: bad, Reason: "webpush 301"},
			{Says: status(302), Class: bad, Reason: "webpush 302"},
			{Says: status(307), Class: bad, Reason: "webpush 307"},

			// What passes. 429 is of one subscription (UnifiedPush), and 406 is how
			// Windows' service says it.
			{Says: status(429), Class: retry, Reason: "webpush 429", Heeds: subscription},
			{Says: status(406), Class: retry, Reason: "webpush 406", Heeds: subscription},
			{Says: status(408), Class: retry, Reason: "webpush 408"},
			{Says: status(500), Class: retry, Reason: "webpush 500", Heeds: host},
			{Says: status(502), Class: retry, Reason: "webpush 502", Heeds: host},
			{Says: status(503), Class: retry, Reason: "webpush 503", Heeds: host},
			{Says: status(507), Class: retry, Reason: "webpush 507", Heeds: host},
			{Says: status(799), Class: retry, Reason: "webpush other", Heeds: host},
		},
	}.Run(t)
}
