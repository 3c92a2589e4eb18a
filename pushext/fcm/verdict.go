package fcm

import (
	"net/http"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"whisperpush/pushext"
	"whisperpush/pushext/attempt"
)

// quotaPause is how long to wait after a 429 without Retry-After: FCM's quotas
// are per minute.
const quotaPause = time.Minute

// invalidToken is the message that tells an invalid token from an invalid payload; both
// are INVALID_ARGUMENT. FCM reference, ErrorCode, and
// firebase.google.com/docs/cloud-messaging/manage-tokens.
const invalidToken = "The registration token is not a valid FCM registration token"

const errorType = "type.googleapis.com/google.firebase.fcm.v1.FcmError"

// readFailure reads Google's error object, google.rpc.Status with FCM's detail among
// others.
func readFailure(a attempt.Answer) (code, message string, ok bool) {
	object, _ := a.Object()
	message = attempt.Text(object, "error.message")
	object.Get("error.details").ForEach(func(_, detail gjson.Result) bool {
		if detail.IsObject() && attempt.Text(detail, "@type") == errorType {
			code = attempt.Text(detail, "errorCode")
		}
		return code == ""
	})
	return code, message, code != "" || message != "" || attempt.Text(object, "error.status") != ""
}

// errorCode is FCM's ErrorCode in an answer, "" if there is none.
func errorCode(a attempt.Answer) string {
	code, _, _ := readFailure(a)
	return code
}

// throttled judges a 429. FCM answers so when the project's quota of a minute is
// spent, when a device was sent more than 240 messages in a minute or 5,000 in an
// hour, and when it is overloaded; the code is QUOTA_EXCEEDED for all three. Only the
// first concerns all devices, and only that one comes with a detail that names the
// project.
func throttled(a attempt.Answer, now time.Time) pushext.Verdict {
	v := pushext.Verdict{Class: pushext.RetryAt, Scope: pushext.ScopeAddress, At: now.Add(quotaPause), Reason: "fcm 429 QUOTA_EXCEEDED"}
	if at, ok := a.RetryAfter(now); ok {
		v.At = at
	}
	if ofProject(a) {
		v.Scope, v.Reason = pushext.ScopeProvider, "fcm 429 RATE_LIMIT_EXCEEDED"
	}
	return v
}

// ofProject reports whether an answer says that the quota of the project was
// exceeded, and not that of a device: by google.rpc.ErrorInfo, whose consumer is the
// project (cloud.google.com/apis/design/errors), or by google.rpc.QuotaFailure, whose
// subject is.
func ofProject(a attempt.Answer) (project bool) {
	object, _ := a.Object()
	object.Get("error.details").ForEach(func(_, detail gjson.Result) bool {
		if !detail.IsObject() {
			return true
		}
		switch attempt.Text(detail, "@type") {
		case "type.googleapis.com/google.rpc.ErrorInfo":
			project = attempt.Text(detail, "reason") == "RATE_LIMIT_EXCEEDED" &&
				strings.HasPrefix(attempt.Text(detail, "metadata.consumer"), "projects/")
		case "type.googleapis.com/google.rpc.QuotaFailure":
			detail.Get("violations").ForEach(func(_, violation gjson.Result) bool {
				project = violation.IsObject() && strings.HasPrefix(attempt.Text(violation, "subject"), "project:")
				return !project
			})
		}
		return !project
	})
	return project
}

// verdict judges an answer of projects.messages.send by the table of
// firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode. The code in FcmError decides
// where there is one; an HTTP status alone never makes a token dead, because a proxy, a
// wrong path or a wrong project answers 404 too.
func verdict(a attempt.Answer, now time.Time) pushext.Verdict {
	is := func(class pushext.Class, reason string) pushext.Verdict {
		return pushext.Verdict{Class: class, Reason: "fcm " + attempt.Status(a.Status) + reason}
	}
	if a.Status == http.StatusOK {
		if object, _ := a.Object(); attempt.Text(object, "name") == "" {
			return is(pushext.Retry, " unreadable") // a captive portal says 200 as well
		}
		return is(pushext.Delivered, "")
	}
	code, text, google := readFailure(a)
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
		return throttled(a, now)
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
