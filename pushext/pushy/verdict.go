package pushy

import (
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"whisperpush/pushext"
	"whisperpush/pushext/attempt"
)

// result is Pushy's answer.
type result struct {
	Success bool   `json:"success"`
	ID      string `json:"id"`
	Info    struct {
		Failed []string `json:"failed"` // tokens that are not of the app
	} `json:"info"`
	Code string `json:"code"` // of an error
}

// classes are the error codes that say more than their status. Pushy's public
// pages give an error a code and a sentence, but no full list.
var classes = map[string]pushext.Class{
	"NO_RECIPIENTS":            pushext.TokenDead, // no device has this token, and there was one
	"INVALID_PARAM":            pushext.MessageBad,
	"PAYLOAD_LIMIT_EXCEEDED":   pushext.MessageBad,
	"INVALID_API_KEY":          pushext.ProviderBroken,
	"INVALID_AUTH_CREDENTIALS": pushext.ProviderBroken,
	"NO_APNS_AUTH":             pushext.ProviderBroken,
	"ACCOUNT_SUSPENDED":        pushext.ProviderBroken,
}

// verdict judges the answer to a notification for one token.
func verdict(a attempt.Answer, token string, now time.Time) pushext.Verdict {
	var r result
	err := json.Unmarshal(a.Body, &r)
	class, known := classes[r.Code]
	v := pushext.Verdict{Class: class, Reason: "pushy " + attempt.Status(a.Status)}
	if known {
		v.Reason += " " + r.Code
	}
	switch {
	case a.Status == http.StatusTooManyRequests, a.Status >= 500, a.Status == http.StatusRequestTimeout:
		return a.Later(now, "pushy "+attempt.Status(a.Status))
	case a.Status >= 200 && a.Status < 300 && err == nil && r.Success:
		v.Class = pushext.Delivered
		if slices.Contains(r.Info.Failed, token) {
			v.Class, v.Reason = pushext.TokenDead, v.Reason+" failed"
		}
	case a.Status >= 200 && a.Status < 300 && !known:
		v.Class, v.Reason = pushext.Retry, v.Reason+" unreadable"
	case known:
	case a.Status == http.StatusBadRequest && err == nil, a.Status == http.StatusRequestEntityTooLarge:
		v.Class = pushext.MessageBad
	default:
		v.Class = pushext.ProviderBroken
	}
	return v
}
