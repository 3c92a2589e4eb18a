package fcm

import (
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext"
	"whisperpush/pushext/attempt"
	"whisperpush/pushext/emulate"
	"whisperpush/testutil/emulatetest"
)

// accountKey is one for all tests, as making it takes long.
var accountKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

func googleError(status int, rpc, code, message string) string {
	details := ""
	if code != "" {
		details = fmt.Sprintf(`,"details":[{"@type":"type.googleapis.com/google.rpc.BadRequest"},{"@type":%q,"errorCode":%q}]`, errorType, code)
	}
	return fmt.Sprintf(`{"error":{"code":%d,"message":%q,"status":%q%s}}`, status, message, rpc, details)
}

// quotaOfProject is how FCM says that the quota of a project's minute is spent.
const quotaOfProject = `{"error":{"code":429,"message":"Quota exceeded.","status":"RESOURCE_EXHAUSTED","details":[` +
	`{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"RATE_LIMIT_EXCEEDED","domain":"googleapis.com",` +
	`"metadata":{"consumer":"projects/1234","quota_limit":"SendsPerMinutePerProject","quota_unit":"1/min/{project}"}},` +
	`{"@type":"type.googleapis.com/google.rpc.Help"}]}}`

// quotaFailure says it of a subject.
func quotaFailure(subject string) string {
	return fmt.Sprintf(`{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{"@type":%q,"errorCode":"QUOTA_EXCEEDED"},`+
		`{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"description":"x"},{"subject":%q}]}]}}`, errorType, subject)
}

// TestVerdicts is firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode, row by row.
func TestVerdicts(t *testing.T) {
	const (
		dead, bad, broken, retry = pushext.TokenDead, pushext.MessageBad, pushext.ProviderBroken, pushext.Retry
		device, lane             = emulatetest.Address, emulatetest.Lane
	)
	key, err := accountKey()
	require.NoError(t, err)
	code := func(code string) emulate.Answer { return emulate.Answer{Code: code} }
	raw := emulatetest.Raw
	google := func(status int, rpc, code, message string) emulate.Answer {
		return raw(status, googleError(status, rpc, code, message))
	}
	// The first such answer is believed to be about an old access token.
	twice := func(a emulate.Answer) emulate.Answer { a.Times = 2; return a }
	emulatetest.Table{
		Kind: "fcm", Codes: emulatetest.Codes(t, "fcm"), Patience: DefaultTimeout,
		New: func(t *testing.T) emulatetest.Bench {
			e, err := emulate.StartFCM(emulate.FCMConfig{Addr: emulate.Memory, Key: key})
			require.NoError(t, err)
			t.Cleanup(e.Close)
			p, err := New(Config{Endpoint: e.Endpoint(), CredentialsJSON: e.CredentialsJSON(), HTTPClient: &http.Client{Transport: e.Transport()}})
			require.NoError(t, err)
			return emulatetest.Bench{Provider: p, Service: e.Service, ScriptOAuth: e.ScriptOAuth}
		},
		Rows: append([]emulatetest.Row{
			{Says: raw(200, `{"name":"projects/p/messages/1"}`), Class: pushext.Delivered, Reason: "fcm 200"},
			{Says: raw(200, `<html>log in</html>`), Class: retry, Reason: "fcm 200 unreadable"}, // of a portal
			{Says: raw(200, `{"name":`), Class: retry, Reason: "fcm 200 unreadable"},
			{Says: raw(200, `{}`), Class: retry, Reason: "fcm 200 unreadable"},

			// The token.
			{Says: code("UNREGISTERED"), Class: dead, Reason: "fcm 404 UNREGISTERED"},
			{Says: emulate.Answer{Code: "INVALID_ARGUMENT", Message: invalidToken}, Class: dead, Reason: "fcm 400 INVALID_ARGUMENT token"},
			{Says: code("SENDER_ID_MISMATCH"), Class: bad, Reason: "fcm 403 SENDER_ID_MISMATCH"},
			// Nothing less exact ends a registration.
			{Says: google(404, "NOT_FOUND", "", "Requested entity was not found."), Class: broken, Reason: "fcm 404"},
			{Says: raw(404, "<html>nginx</html>"), Class: broken, Reason: "fcm 404"},
			{Says: emulate.Answer{Code: "UNREGISTERED", Status: 400}, Class: bad, Reason: "fcm 400 INVALID_ARGUMENT"},
			{Says: emulate.Answer{Code: "INVALID_ARGUMENT", Message: invalidToken + "s"}, Class: bad, Reason: "fcm 400 INVALID_ARGUMENT"},
			{Says: emulate.Answer{Code: "INVALID_ARGUMENT", Status: 404, Message: invalidToken}, Class: broken, Reason: "fcm 404"},

			// This message.
			{Says: code("INVALID_ARGUMENT"), Class: bad, Reason: "fcm 400 INVALID_ARGUMENT"},
			{Says: google(413, "INVALID_ARGUMENT", "", "x"), Class: bad, Reason: "fcm 413 INVALID_ARGUMENT"},

			// Our account, project or endpoint.
			{Says: code("THIRD_PARTY_AUTH_ERROR"), Class: broken, Reason: "fcm 401 THIRD_PARTY_AUTH_ERROR"},
			{Says: twice(google(401, "UNAUTHENTICATED", "", "invalid credentials")), Class: broken, Reason: "fcm 401"},
			{Says: google(403, "PERMISSION_DENIED", "", "denied"), Class: broken, Reason: "fcm 403"},
			{Says: raw(400, "Bad Request"), Class: broken, Reason: "fcm 400"},
			{Says: raw(302, "-"), Class: broken, Reason: "fcm 302"},
			{OAuth: true, Says: code("invalid_grant"), Class: broken, Reason: "fcm oauth 400"},
			{OAuth: true, Says: raw(401, "-"), Class: broken, Reason: "fcm oauth 401"},
			{OAuth: true, Says: raw(403, "-"), Class: broken, Reason: "fcm oauth 403"},

			// What passes. All quotas are per minute; one of them is the project's.
			{Says: code("QUOTA_EXCEEDED"), Class: pushext.RetryAt, Reason: "fcm 429 QUOTA_EXCEEDED", Heeds: device, Pause: time.Minute},
			{Says: raw(429, "-"), Class: pushext.RetryAt, Reason: "fcm 429 QUOTA_EXCEEDED", Heeds: device, Pause: time.Minute},
			{Says: raw(429, quotaOfProject), Class: pushext.RetryAt, Reason: "fcm 429 RATE_LIMIT_EXCEEDED", Heeds: lane, Pause: time.Minute},
			{Says: raw(429, quotaFailure("project:emulated-project")), Class: pushext.RetryAt, Reason: "fcm 429 RATE_LIMIT_EXCEEDED", Heeds: lane, Pause: time.Minute},
			{Says: raw(429, quotaFailure("device:TOKEN")), Class: pushext.RetryAt, Reason: "fcm 429 QUOTA_EXCEEDED", Heeds: device, Pause: time.Minute},
			{Says: code("INTERNAL"), Class: retry, Reason: "fcm 500 INTERNAL", Heeds: lane},
			{Says: code("UNAVAILABLE"), Class: retry, Reason: "fcm 503 UNAVAILABLE", Heeds: lane},
			{Says: code("UNSPECIFIED_ERROR"), Class: retry, Reason: "fcm 500 UNSPECIFIED_ERROR", Heeds: lane},
			{Says: google(503, "UNAVAILABLE", "OF_THE_FUTURE-"+invalidToken, "x"), Class: retry, Reason: "fcm 503", Heeds: lane},
			{Says: raw(408, "-"), Class: retry, Reason: "fcm 408", Heeds: lane},
			{Says: raw(500, "-"), Class: retry, Reason: "fcm 500", Heeds: lane},
			{Says: raw(502, strings.Repeat("x", 1<<20)), Class: retry, Reason: "fcm 502", Heeds: lane},
			{Says: raw(503, "Service Unavailable"), Class: retry, Reason: "fcm 503", Heeds: lane},
			{Says: raw(504, "-"), Class: retry, Reason: "fcm 504", Heeds: lane},
			{Says: raw(799, "-"), Class: retry, Reason: "fcm other", Heeds: lane},
			{OAuth: true, Says: raw(429, "-"), Class: retry, Reason: "fcm oauth 429", Heeds: lane},
			{OAuth: true, Says: raw(500, "-"), Class: retry, Reason: "fcm oauth 500", Heeds: lane},
			{OAuth: true, Says: raw(503, "-"), Class: retry, Reason: "fcm oauth 503", Heeds: lane},
			{OAuth: true, Says: raw(200, "<html>"), Class: retry, Reason: "fcm oauth unreadable"},
		}, slices.Concat(
			emulatetest.Strange(emulatetest.Row{Says: google(404, "NOT_FOUND", "UNREGISTERED", "x"), Class: dead, Reason: "fcm 404 UNREGISTERED"},
				"error.details.1.@type", "error.details.1.errorCode"),
			emulatetest.Strange(emulatetest.Row{Says: google(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", invalidToken), Class: dead, Reason: "fcm 400 INVALID_ARGUMENT token"},
				"error.message"),
			emulatetest.Strange(emulatetest.Row{Says: raw(429, quotaOfProject), Class: pushext.RetryAt, Reason: "fcm 429 RATE_LIMIT_EXCEEDED", Heeds: lane, Pause: time.Minute},
				"error.details.0.@type", "error.details.0.reason", "error.details.0.metadata", "error.details.0.metadata.consumer"),
			emulatetest.Strange(emulatetest.Row{Says: raw(200, `{"name":"projects/p/messages/1"}`), Class: pushext.Delivered, Reason: "fcm 200"}, "name"),
		)...),
	}.Run(t)
}

func FuzzVerdict(f *testing.F) {
	f.Add(404, "7", []byte(googleError(404, "NOT_FOUND", "UNREGISTERED", "x")))
	f.Add(400, "", []byte(googleError(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", invalidToken)))
	f.Add(200, "", []byte(`{"name":"n"}`))
	f.Add(503, "Thu, 01 Jan 1970 00:00:00 GMT", []byte(`{"error":{"details":[{"@type":1}]}}`))
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, status int, after string, body []byte) {
		v := verdict(attempt.Answer{Status: status, Header: http.Header{"Retry-After": {after}}, Body: body}, now)
		require.LessOrEqual(t, len(v.Reason), 40)
		if v.Class == pushext.TokenDead {
			require.Contains(t, []int{400, 404}, status)
		}
		if v.Class == pushext.RetryAt {
			require.False(t, v.At.Before(now))
			require.False(t, v.At.After(now.Add(attempt.MaxRetryAfter)))
		}
	})
}
