package webpush

import (
	"net/http"
	"time"

	"whisperpush/pushext"
	"whisperpush/pushext/attempt"
)

// verdict judges by the status alone, RFC 8030 sections 5, 7.3 and 8.4.
func verdict(a attempt.Answer, now time.Time) pushext.Verdict {
	reason := "webpush " + attempt.Status(a.Status)
	switch {
	case a.Status >= 200 && a.Status < 300: // 201, and what services answer in its place
		return pushext.Verdict{Class: pushext.Delivered, Reason: reason}
	case a.Status == http.StatusNotFound, a.Status == http.StatusGone:
		return pushext.Verdict{Class: pushext.TokenDead, Reason: reason}
	case a.Status == http.StatusTooManyRequests, a.Status == http.StatusNotAcceptable:
		// It concerns this subscription, as UnifiedPush says. Windows' service says it by 406.
		return a.LaterHere(now, reason)
	case a.Status >= 500:
		return a.LaterHost(now, reason)
	case a.Status == http.StatusRequestTimeout:
		return pushext.Verdict{Class: pushext.Retry, Reason: reason}
	case a.Status == http.StatusUnauthorized, a.Status == http.StatusForbidden:
		// Our key or clock is wrong, or this one subscription was made for
		// another key, which anyone can do: keep the message, stop nobody.
		return pushext.Verdict{Class: pushext.Retry, Scope: pushext.ScopeAddress, Reason: reason}
	}
	return pushext.Verdict{Class: pushext.MessageBad, Reason: reason}
}
