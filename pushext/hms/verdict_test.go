package hms_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext"
	"whisperpush/pushext/emulate"
	"whisperpush/pushext/hms"
	"whisperpush/testutil/emulatetest"
)

// TestVerdicts is Huawei's "Push Kit server result codes", row by row. The code
// decides, whatever the status.
func TestVerdicts(t *testing.T) {
	const (
		dead, bad, broken, retry = pushext.TokenDead, pushext.MessageBad, pushext.ProviderBroken, pushext.Retry
		lane                     = emulatetest.Lane
	)
	code := func(code string) emulate.Answer { return emulate.Answer{Code: code} }
	partial := func(msg string) emulate.Answer { return emulate.Answer{Code: "80100000", Message: msg} }
	raw := emulatetest.Raw
	// The first such answer is believed to be about an old access token.
	twice := func(a emulate.Answer) emulate.Answer { a.Times = 2; return a }
	emulatetest.Table{
		Kind: "hms", Codes: emulatetest.Codes(t, "hms"),
		New: func(t *testing.T) emulatetest.Bench {
			e, err := emulate.StartHMS(emulate.HMSConfig{Addr: emulate.Memory})
			require.NoError(t, err)
			t.Cleanup(e.Close)
			p, err := hms.New(hms.Config{
				Endpoint: e.URL(), TokenURL: e.TokenURL(), AppID: e.AppID(), AppSecret: e.AppSecret(),
				HTTPClient: &http.Client{Transport: e.Transport()},
			})
			require.NoError(t, err)
			return emulatetest.Bench{Provider: p, Service: e.Service, ScriptOAuth: e.ScriptOAuth}
		},
		Rows: append([]emulatetest.Row{
			{Says: code("80000000"), Class: pushext.Delivered, Reason: "hms 80000000"},

			// The token. 80300007 is also what a wrong app id brings: the dispatcher
			// believes it only while other devices are reached.
			{Says: code("80300007"), Class: dead, Reason: "hms 80300007"},
			{Says: partial(`{"success":0,"failure":1,"illegal_tokens":["TOKEN"]}`), Class: dead, Reason: "hms 80100000 illegal"},
			{Says: partial(`{"success":1,"failure":1,"illegal_tokens":["another"]}`), Class: pushext.Delivered, Reason: "hms 80100000"},
			{Says: partial(`{"success":0,"failure":1,"illegal_tokens":["another"]}`), Class: retry, Reason: "hms 80100000"},
			{Says: partial(`Some tokens are right, the others are illegal`), Class: retry, Reason: "hms 80100000"},

			// Our account.
			{Says: twice(code("80200001")), Class: broken, Reason: "hms 80200001"},
			{Says: twice(code("80200003")), Class: broken, Reason: "hms 80200003"},
			{Says: twice(emulate.Answer{Code: "80200003", Status: 401}), Class: broken, Reason: "hms 80200003"},
			{Says: twice(raw(401, "-")), Class: broken, Reason: "hms 401"},
			{Says: code("80300002"), Class: broken, Reason: "hms 80300002"},
			{Says: raw(403, "-"), Class: broken, Reason: "hms 403"},
			{Says: raw(404, "-"), Class: broken, Reason: "hms 404"},
			{Says: raw(302, "-"), Class: broken, Reason: "hms 302"},
			{OAuth: true, Says: raw(400, `{"error":1101}`), Class: broken, Reason: "hms oauth 400"},
			{OAuth: true, Says: raw(403, "-"), Class: broken, Reason: "hms oauth 403"},

			// This message.
			{Says: emulate.Answer{Code: "80100001", Status: 400}, Class: bad, Reason: "hms 80100001"},
			{Says: emulate.Answer{Code: "80100003", Status: 400}, Class: bad, Reason: "hms 80100003"},
			{Says: code("80100004"), Class: bad, Reason: "hms 80100004"},
			{Says: code("80300008"), Class: bad, Reason: "hms 80300008"},
			{Says: code("80300010"), Class: bad, Reason: "hms 80300010"},
			{Says: code("80300011"), Class: bad, Reason: "hms 80300011"},
			{Says: code("89999999"), Class: bad, Reason: "hms other code"},

			// What passes.
			{Says: code("80600003"), Class: retry, Reason: "hms 80600003", Heeds: lane},
			{Says: code("81000001"), Class: retry, Reason: "hms 81", Heeds: lane},
			{Says: emulate.Answer{Code: "81999999", Status: 500}, Class: retry, Reason: "hms 81", Heeds: lane},
			{Says: raw(408, "-"), Class: retry, Reason: "hms 408", Heeds: lane},
			{Says: raw(429, "-"), Class: retry, Reason: "hms 429", Heeds: emulatetest.Address},
			{Says: raw(500, "-"), Class: retry, Reason: "hms 500", Heeds: lane},
			{Says: raw(503, "Service Unavailable"), Class: retry, Reason: "hms 503", Heeds: lane},
			{Says: raw(200, "<html>"), Class: retry, Reason: "hms 200 unreadable"},
			{OAuth: true, Says: raw(429, "-"), Class: retry, Reason: "hms oauth 429", Heeds: lane},
			{OAuth: true, Says: raw(500, "-"), Class: retry, Reason: "hms oauth 500", Heeds: lane},
			{OAuth: true, Says: raw(503, "-"), Class: retry, Reason: "hms oauth 503", Heeds: lane},
			{OAuth: true, Says: raw(200, "<html>"), Class: retry, Reason: "hms oauth unreadable"},
			{OAuth: true, Says: raw(200, `{"access_token":"","token_type":"Bearer"}`), Class: retry, Reason: "hms oauth unreadable"},
		}, slices.Concat(
			emulatetest.Strange(emulatetest.Row{Says: raw(200, `{"code":"80300007","msg":"All the tokens are invalid","requestId":"1"}`), Class: dead, Reason: "hms 80300007"}, "code"),
			emulatetest.Strange(emulatetest.Row{Says: raw(200, `{"code":"80000000","msg":"Success","requestId":"1"}`), Class: pushext.Delivered, Reason: "hms 80000000"}, "code"),
			emulatetest.Strange(emulatetest.Row{Says: raw(200, `{"code":80000000}`), Class: pushext.Delivered, Reason: "hms 80000000"}, "code"),
			[]emulatetest.Row{
				{Says: partial(`{"success":"0","failure":[],"illegal_tokens":[1,null,"TOKEN",{}],"more":1}`), Class: dead, Reason: "hms 80100000 illegal"},
				{Says: partial(`{"success":1,"failure":"1","illegal_tokens":{}}`), Class: pushext.Delivered, Reason: "hms 80100000"},
			},
		)...),
	}.Run(t)
}
