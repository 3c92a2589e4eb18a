package pushy

import (
	"net/http"
	"slices"
	"time"

	"github.com/tidwall/gjson"

	"whisperpush/pushext"
	"whisperpush/pushext/attempt"
)

// classes are the error codes that say more than their status. Pushy's public
// pages give an error a code and a sentence, but no full list.
var classes = map[string]pushext.Class{
	"NO_RECIPIENTS":            pushext.TokenDead, // no device has this token, and only one was sent
	"INVALID_PARAM":            pushext.MessageBad,
	"PAYLOAD_LIMIT_EXCEEDED":   pushext.MessageBad,
	"INVALID_API_KEY":          pushext.ProviderBroken,
	"INVALID_AUTH_CREDENTIALS": pushext.ProviderBroken,
	"NO_APNS_AUTH":             pushext.ProviderBroken,
	"ACCOUNT_SUSPENDED":        pushext.ProviderBroken,
}

// verdict judges the answer to a notification for one token.
func verdict(a attempt.Answer, token string, now time.Time) pushext.Verdict {
	object, readable := a.Object()
	code := attempt.Text(object, "code") // of an error
	class, known := classes[code]
	v := pushext.Verdict{Class: class, Reason: "pushy " + attempt.Status(a.Status)}
	if known {
		v.Reason += " " + code
	}
	switch {
	case a.Status == http.StatusTooManyRequests:
		return a.LaterHere(now, "pushy 429") // Pushy does not document whom it concerns
	case a.Status >= 500, a.Status == http.StatusRequestTimeout:
		return a.Later(now, "pushy "+attempt.Status(a.Status))
	case a.Status >= 200 && a.Status < 300 && object.Get("success").Type == gjson.True:
		v.Class = pushext.Delivered
		// Tokens that are not of the app.
		if slices.ContainsFunc(object.Get("info.failed").Array(), func(t gjson.Result) bool { return t.Type == gjson.String && t.Str == token }) {
			v.Class, v.Reason = pushext.TokenDead, v.Reason+" failed"
		}
	case a.Status >= 200 && a.Status < 300 && !known:
		v.Class, v.Reason = pushext.Retry, v.Reason+" unreadable"
	case known:
	case a.Status == http.StatusBadRequest && readable, a.Status == http.StatusRequestEntityTooLarge:
		v.Class = pushext.MessageBad
	default:
		v.Class = pushext.ProviderBroken
	}
	return v
}
