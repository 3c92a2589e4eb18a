package webhook

import (
	"net/http"
	"time"

	"whisperpush/pushext"
	"whisperpush/pushext/attempt"
)

// verdict depends only on the status: 2xx is delivered, 404 and 410 end the
// registration (Standard Webhooks: 410 Gone disables the endpoint), 408, 425, 429
// and 5xx are temporary, and with any other status, redirects included, the
// receiver refuses this message.
func verdict(a attempt.Answer, now time.Time) pushext.Verdict {
	reason := "webhook " + attempt.Status(a.Status)
	switch {
	case a.Status >= 200 && a.Status < 300:
		return pushext.Verdict{Class: pushext.Delivered, Reason: reason}
	case a.Status == http.StatusNotFound, a.Status == http.StatusGone:
		return pushext.Verdict{Class: pushext.TokenDead, Reason: reason}
	case a.Status == http.StatusTooManyRequests:
		return a.LaterHere(now, reason)
	case a.Status == http.StatusServiceUnavailable:
		return a.LaterHost(now, reason)
	case a.Status >= 500, a.Status == http.StatusRequestTimeout, a.Status == http.StatusTooEarly:
		return pushext.Verdict{Class: pushext.Retry, Reason: reason}
	}
	return pushext.Verdict{Class: pushext.MessageBad, Reason: reason}
}
