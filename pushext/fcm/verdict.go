package fcm

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/tidwall/gjson"

	"whisperpush/pushext"
	"whisperpush/pushext/attempt"
)

// quotaPause is how long to wait after a 429 without Retry-After: FCM's quotas
// are per minute.
const quotaPause = time.Minute

// invalidToken is the message that alone tells an invalid token from an invalid
// payload; both are INVALID_ARGUMENT. FCM reference, ErrorCode, and
// firebase.google.com/docs/cloud-messaging/manage-tokens.
const invalidToken = "The registration token is not a valid FCM registration token"

// failure is Google's error object, google.rpc.Status with FCM's detail.
type failure struct {
	Error struct {
		Message string `json:"message"`
		Status  string `json:"status"`
		Details []struct {
			Type      string `json:"@type"`
			ErrorCode string `json:"errorCode"`
		} `json:"details"`
	} `json:"error"`
}

const errorType = "type.googleapis.com/google.firebase.fcm.v1.FcmError"

func readFailure(body []byte) (code, message string, ok bool) {
	var f failure
	if json.Unmarshal(body, &f) != nil || f.Error.Status == "" && f.Error.Message == "" {
		return "", "", false
	}
	for _, d := range f.Error.Details {
		if d.Type == errorType {
			return d.ErrorCode, f.Error.Message, true
		}
	}
	return "", f.Error.Message, true
}

// errorCode is FCM's ErrorCode in an answer's body, "" if there is none.
func errorCode(body []byte) string {
	code, _, _ := readFailure(body)
	return code
}

// verdict judges an answer of projects.messages.send by the table of
// firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode. The code in FcmError
// decides where there is one; an HTTP status alone never makes a token dead, as a
// proxy, a wrong path or a wrong project answers 404 too.
func verdict(a attempt.Answer, now time.Time) pushext.Verdict {
	is := func(class pushext.Class, reason string) pushext.Verdict {
		return pushext.Verdict{Class: class, Reason: "fcm " + attempt.Status(a.Status) + reason}
	}
	if a.Status == http.StatusOK {
		if name := gjson.GetBytes(a.Body, "name"); !gjson.ValidBytes(a.Body) || name.Type != gjson.String || name.Str == "" {
			return is(pushext.Retry, " unreadable") // a captive portal says 200 as well
		}
		return is(pushext.Delivered, "")
	}
	code, text, google := readFailure(a.Body)
	switch {
	case code == "UNREGISTERED" && a.Status == http.StatusNotFound:
		return is(pushext.TokenDead, " UNREGISTERED")
	case a.Status == http.StatusBadRequest && text == invalidToken:
		return is(pushext.TokenDead, " INVALID_ARGUMENT token")
	case code == "SENDER_ID_MISMATCH":
		// A token of another project: anyone can register one, so it must
		// neither stop the lane nor count as a death.
		return is(pushext.MessageBad, " SENDER_ID_MISMATCH")
	case code == "THIRD_PARTY_AUTH_ERROR":
		return is(pushext.ProviderBroken, " THIRD_PARTY_AUTH_ERROR")
	case a.Status == http.StatusTooManyRequests:
		if at, ok := a.RetryAfter(now); ok {
			return pushext.Verdict{Class: pushext.RetryAt, At: at, Reason: "fcm 429 QUOTA_EXCEEDED"}
		}
		return pushext.Verdict{Class: pushext.RetryAt, At: now.Add(quotaPause), Reason: "fcm 429 QUOTA_EXCEEDED"}
	case code == "UNSPECIFIED_ERROR":
		return a.Later(now, "fcm "+attempt.Status(a.Status)+" UNSPECIFIED_ERROR")
	case a.Status >= 500 || a.Status == http.StatusRequestTimeout:
		reason := "fcm " + attempt.Status(a.Status)
		if code == "UNAVAILABLE" || code == "INTERNAL" {
			reason += " " + code
		}
		return a.Later(now, reason)
	case google && (a.Status == http.StatusBadRequest || a.Status == http.StatusRequestEntityTooLarge):
		return is(pushext.MessageBad, " INVALID_ARGUMENT")
	}
	// 401, 403, 404 without FCM's code, redirects, and whatever else is not
	// about this message: our account, project or endpoint is wrong.
	return is(pushext.ProviderBroken, "")
}
