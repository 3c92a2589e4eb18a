package pushy_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext"
	"whisperpush/pushext/emulate"
	"whisperpush/pushext/pushy"
	"whisperpush/testutil/emulatetest"
)

// TestVerdicts is pushy.me/docs/api/send-notifications, row by row.
func TestVerdicts(t *testing.T) {
	const (
		dead, bad, broken, retry = pushext.TokenDead, pushext.MessageBad, pushext.ProviderBroken, pushext.Retry
		lane                     = emulatetest.Lane
	)
	code := func(code string) emulate.Answer { return emulate.Answer{Code: code} }
	with := func(status int, code string) emulate.Answer { return emulate.Answer{Status: status, Code: code} }
	raw := emulatetest.Raw
	emulatetest.Table{
		Kind: "pushy", Codes: emulatetest.Codes(t, "pushy"),
		New: func(t *testing.T) emulatetest.Bench {
			e, err := emulate.StartPushy(emulate.PushyConfig{Addr: emulate.Memory, TLS: true})
			require.NoError(t, err)
			t.Cleanup(e.Close)
			p, err := pushy.New(pushy.Config{Endpoint: e.URL(), APIKey: e.APIKey(), HTTPClient: &http.Client{Transport: e.Transport()}})
			require.NoError(t, err)
			return emulatetest.Bench{Provider: p, Service: e.Service}
		},
		Rows: append([]emulatetest.Row{
			{Says: raw(200, `{"success":true,"id":"x","info":{"devices":1}}`), Class: pushext.Delivered, Reason: "pushy 200"},
			{Says: raw(200, `{"success":true,"info":{"devices":1,"failed":["another"]}}`), Class: pushext.Delivered, Reason: "pushy 200"},
			{Says: raw(200, `{"success":false}`), Class: retry, Reason: "pushy 200 unreadable"},
			{Says: raw(200, `<html>`), Class: retry, Reason: "pushy 200 unreadable"},

			// The token.
			{Says: code("NO_RECIPIENTS"), Class: dead, Reason: "pushy 400 NO_RECIPIENTS"},
			{Says: raw(200, `{"success":true,"info":{"devices":1,"failed":["TOKEN"]}}`), Class: dead, Reason: "pushy 200 failed"},
			{Says: with(500, "NO_RECIPIENTS"), Class: retry, Reason: "pushy 500", Heeds: lane}, // not exact enough

			// This message.
			{Says: code("INVALID_PARAM"), Class: bad, Reason: "pushy 400 INVALID_PARAM"},
			{Says: code("PAYLOAD_LIMIT_EXCEEDED"), Class: bad, Reason: "pushy 400 PAYLOAD_LIMIT_EXCEEDED"},
			{Says: with(400, "OF_THE_FUTURE"), Class: bad, Reason: "pushy 400"},
			{Says: raw(413, "-"), Class: bad, Reason: "pushy 413"},

			// Our account or endpoint.
			{Says: code("INVALID_API_KEY"), Class: broken, Reason: "pushy 401 INVALID_API_KEY"},
			{Says: with(401, "INVALID_AUTH_CREDENTIALS"), Class: broken, Reason: "pushy 401 INVALID_AUTH_CREDENTIALS"},
			{Says: with(400, "NO_APNS_AUTH"), Class: broken, Reason: "pushy 400 NO_APNS_AUTH"},
			{Says: with(403, "ACCOUNT_SUSPENDED"), Class: broken, Reason: "pushy 403 ACCOUNT_SUSPENDED"},
			{Says: with(401, "OF_THE_FUTURE"), Class: broken, Reason: "pushy 401"},
			{Says: with(403, "OF_THE_FUTURE"), Class: broken, Reason: "pushy 403"},
			{Says: with(404, "OF_THE_FUTURE"), Class: broken, Reason: "pushy 404"},
			{Says: raw(400, "<html>"), Class: broken, Reason: "pushy 400"},
			{Says: raw(302, "-"), Class: broken, Reason: "pushy 302"},

			// What passes.
			{Says: code("RATE_LIMIT_EXCEEDED"), Class: retry, Reason: "pushy 429", Heeds: emulatetest.Address},
			{Says: code("INTERNAL_ERROR"), Class: retry, Reason: "pushy 500", Heeds: lane},
			{Says: raw(408, "-"), Class: retry, Reason: "pushy 408", Heeds: lane},
			{Says: raw(502, "-"), Class: retry, Reason: "pushy 502", Heeds: lane},
			{Says: raw(503, "-"), Class: retry, Reason: "pushy 503", Heeds: lane},
			{Says: raw(799, "-"), Class: retry, Reason: "pushy other", Heeds: lane},
		}, slices.Concat(
			emulatetest.Strange(emulatetest.Row{Says: raw(200, `{"success":true,"id":"x","info":{"devices":1,"failed":["another"]}}`), Class: pushext.Delivered, Reason: "pushy 200"}, "success"),
			emulatetest.Strange(emulatetest.Row{Says: raw(200, `{"success":true,"id":"x","info":{"devices":1,"failed":["TOKEN"]}}`), Class: dead, Reason: "pushy 200 failed"}, "success", "info.failed.0"),
			emulatetest.Strange(emulatetest.Row{Says: raw(400, `{"code":"NO_RECIPIENTS","error":"x"}`), Class: dead, Reason: "pushy 400 NO_RECIPIENTS"}, "code"),
			[]emulatetest.Row{{Says: raw(200, `{"success":true,"id":1,"info":"sent"}`), Class: pushext.Delivered, Reason: "pushy 200"}},
		)...),
	}.Run(t)
}
