package webhook_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext"
	"whisperpush/pushext/emulate"
	"whisperpush/pushext/webhook"
	"whisperpush/testutil/emulatetest"
)

// TestVerdicts is what the Standard Webhooks specification and this package's
// documentation promise to receivers, row by row.
func TestVerdicts(t *testing.T) {
	const (
		dead, bad, retry = pushext.TokenDead, pushext.MessageBad, pushext.Retry
	)
	status := func(status int) emulate.Answer { return emulate.Answer{Status: status} }
	emulatetest.Table{
		Kind: "webhook",
		New: func(t *testing.T) emulatetest.Bench {
			e, err := emulate.StartWebhook(emulate.WebhookConfig{Addr: emulate.Memory, TLS: true})
			require.NoError(t, err)
			t.Cleanup(e.Close)
			p, err := webhook.New(webhook.Config{AllowPrivate: true})
			require.NoError(t, err)
			p.Through(e.Transport())
			return emulatetest.Bench{Provider: p, Service: e.Service, Device: func() (pushext.Address, string) {
				url, token, secret := e.NewEndpoint()
				return pushext.Address{Token: url, Keys: [][]byte{secret}}, token
			}}
		},
		Rows: []emulatetest.Row{
			{Says: emulate.Answer{Status: 200, Body: []byte(strings.Repeat("x", 1<<20))}, Class: pushext.Delivered, Reason: "webhook 200"},
			{Says: status(202), Class: pushext.Delivered, Reason: "webhook 202"},
			{Says: status(204), Class: pushext.Delivered, Reason: "webhook 204"},

			// The endpoint.
			{Says: status(404), Class: dead, Reason: "webhook 404"},
			{Says: status(410), Class: dead, Reason: "webhook 410"},

			// Its receiver's refusal of this message; redirects are not followed.
			{Says: status(400), Class: bad, Reason: "webhook 400"},
			{Says: status(401), Class: bad, Reason: "webhook 401"},
			{Says: status(403), Class: bad, Reason: "webhook 403"},
			{Says: status(409), Class: bad, Reason: "webhook 409"},
			{Says: status(413), Class: bad, Reason: "webhook 413"},
			{Says: status(302), Class: bad, Reason: "webhook 302"},
			{Says: status(499), Class: bad, Reason: "webhook other"},

			// What passes. A time is believed only with the statuses that RFC 9110
			// and RFC 6585 give one to.
			{Says: status(429), Class: retry, Reason: "webhook 429", Heeds: emulatetest.Address},
			{Says: status(503), Class: retry, Reason: "webhook 503", Heeds: emulatetest.Host},
			{Says: status(408), Class: retry, Reason: "webhook 408"},
			{Says: status(425), Class: retry, Reason: "webhook 425"},
			{Says: status(500), Class: retry, Reason: "webhook 500"},
			{Says: status(502), Class: retry, Reason: "webhook 502"},
			{Says: status(504), Class: retry, Reason: "webhook 504"},
			{Says: status(799), Class: retry, Reason: "webhook other"},
		},
	}.Run(t)
}
