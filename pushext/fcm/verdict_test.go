package fcm

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext"
	"whisperpush/pushext/attempt"
)

func googleError(status int, rpc, code, message string) string {
	details := ""
	if code != "" {
		details = fmt.Sprintf(`,"details":[{"@type":"type.googleapis.com/google.rpc.BadRequest"},{"@type":%q,"errorCode":%q}]`, errorType, code)
	}
	return fmt.Sprintf(`{"error":{"code":%d,"message":%q,"status":%q%s}}`, status, message, rpc, details)
}

func TestVerdict(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	minute := now.Add(time.Minute)
	tests := []struct {
		name    string
		status  int
		body    string
		class   pushext.Class // without Retry-After
		at      time.Time     // of RetryAt without Retry-After
		heeds   bool          // Retry-After makes it RetryAt
		reasons string
	}{
		{"ok", 200, `{"name":"projects/p/messages/1"}`, pushext.Delivered, time.Time{}, false, "fcm 200"},
		{"ok from a portal", 200, `<html>log in</html>`, pushext.Retry, time.Time{}, false, "fcm 200 unreadable"},
		{"ok without name", 200, `{}`, pushext.Retry, time.Time{}, false, "fcm 200 unreadable"},
		{"unregistered", 404, googleError(404, "NOT_FOUND", "UNREGISTERED", "Requested entity was not found."), pushext.TokenDead, time.Time{}, false, "fcm 404 UNREGISTERED"},
		{"not found without code", 404, googleError(404, "NOT_FOUND", "", "Requested entity was not found."), pushext.ProviderBroken, time.Time{}, false, "fcm 404"},
		{"not found by a proxy", 404, `<html>nginx</html>`, pushext.ProviderBroken, time.Time{}, false, "fcm 404"},
		{"unregistered with a foreign status", 400, googleError(400, "INVALID_ARGUMENT", "UNREGISTERED", "x"), pushext.MessageBad, time.Time{}, false, "fcm 400 INVALID_ARGUMENT"},
		{"invalid token", 400, googleError(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", invalidToken), pushext.TokenDead, time.Time{}, false, "fcm 400 INVALID_ARGUMENT token"},
		{"invalid payload", 400, googleError(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "Android message is too big"), pushext.MessageBad, time.Time{}, false, "fcm 400 INVALID_ARGUMENT"},
		{"invalid payload naming the token", 400, googleError(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", invalidToken+"s"), pushext.MessageBad, time.Time{}, false, "fcm 400 INVALID_ARGUMENT"},
		{"bad request by a proxy", 400, `Bad Request`, pushext.ProviderBroken, time.Time{}, false, "fcm 400"},
		{"sender mismatch", 403, googleError(403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH", "SenderId mismatch"), pushext.MessageBad, time.Time{}, false, "fcm 403 SENDER_ID_MISMATCH"},
		{"permission denied", 403, googleError(403, "PERMISSION_DENIED", "", "denied"), pushext.ProviderBroken, time.Time{}, false, "fcm 403"},
		{"third party", 401, googleError(401, "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR", "Auth error from APNS"), pushext.ProviderBroken, time.Time{}, false, "fcm 401 THIRD_PARTY_AUTH_ERROR"},
		{"oauth", 401, googleError(401, "UNAUTHENTICATED", "", "invalid credentials"), pushext.ProviderBroken, time.Time{}, false, "fcm 401"},
		{"quota", 429, googleError(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", "Quota exceeded."), pushext.RetryAt, minute, true, "fcm 429 QUOTA_EXCEEDED"},
		{"too many without code", 429, ``, pushext.RetryAt, minute, true, "fcm 429 QUOTA_EXCEEDED"},
		{"internal", 500, googleError(500, "INTERNAL", "INTERNAL", "Internal error encountered."), pushext.Retry, time.Time{}, true, "fcm 500 INTERNAL"},
		{"unspecified", 500, googleError(500, "UNKNOWN", "UNSPECIFIED_ERROR", "?"), pushext.Retry, time.Time{}, true, "fcm 500 UNSPECIFIED_ERROR"},
		{"unavailable", 503, googleError(503, "UNAVAILABLE", "UNAVAILABLE", "x"), pushext.Retry, time.Time{}, true, "fcm 503 UNAVAILABLE"},
		{"unavailable, not JSON", 503, `Service Unavailable`, pushext.Retry, time.Time{}, true, "fcm 503"},
		{"code of the future", 503, googleError(503, "UNAVAILABLE", "SECRET-"+invalidToken, "x"), pushext.Retry, time.Time{}, true, "fcm 503"},
		{"bad gateway", 502, ``, pushext.Retry, time.Time{}, true, "fcm 502"},
		{"gateway timeout", 504, ``, pushext.Retry, time.Time{}, true, "fcm 504"},
		{"request timeout", 408, ``, pushext.Retry, time.Time{}, true, "fcm 408"},
		{"too large", 413, googleError(413, "INVALID_ARGUMENT", "", "x"), pushext.MessageBad, time.Time{}, false, "fcm 413 INVALID_ARGUMENT"},
		{"redirect", 302, ``, pushext.ProviderBroken, time.Time{}, false, "fcm 302"},
		{"status of nobody", 799, ``, pushext.Retry, time.Time{}, true, "fcm other"},
	}
	for _, tt := range tests {
		for _, after := range []string{"", "7", now.Add(7 * time.Second).Format(http.TimeFormat), "later"} {
			t.Run(tt.name+"/retry-after="+after, func(t *testing.T) {
				a := attempt.Answer{Status: tt.status, Header: http.Header{}, Body: []byte(tt.body)}
				want := pushext.Verdict{Class: tt.class, At: tt.at, Reason: tt.reasons}
				if after != "" {
					a.Header.Set("Retry-After", after)
					if tt.heeds && after != "later" {
						want.Class, want.At = pushext.RetryAt, now.Add(7*time.Second)
					}
				}
				require.Equal(t, want, verdict(a, now))
			})
		}
	}
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
