package apns

import (
	"net/http"
	"time"

	"github.com/sideshow/apns2"

	"whisperpush/pushext"
	"whisperpush/pushext/attempt"
)

// refusal is APNs' error object.
type refusal struct {
	reason string
	since  time.Time // with 410: since when the token is invalid; zero is unknown
}

func readRefusal(a attempt.Answer) refusal {
	object, _ := a.Object()
	r := refusal{reason: attempt.Text(object, "reason")}
	if ms := attempt.Number(object, "timestamp"); ms > 0 {
		r.since = time.UnixMilli(ms)
	}
	return r
}

// classes are APNs' reasons, Apple: "Handling notification responses from APNs".
// A reason that is missing here is judged by its status.
var classes = map[string]pushext.Class{
	// About this device. BadDeviceToken is also the answer to a token of the
	// other environment; the dispatcher believes deaths only while others live.
	apns2.ReasonBadDeviceToken: pushext.TokenDead,
	apns2.ReasonUnregistered:   pushext.TokenDead,
	"ExpiredToken":             pushext.TokenDead,
	// A token of another app, which anyone can register: not a fault of the configuration.
	apns2.ReasonDeviceTokenNotForTopic: pushext.MessageBad,

	// About our configuration.
	apns2.ReasonBadTopic:                    pushext.ProviderBroken,
	apns2.ReasonMissingTopic:                pushext.ProviderBroken,
	apns2.ReasonTopicDisallowed:             pushext.ProviderBroken,
	apns2.ReasonBadCertificate:              pushext.ProviderBroken,
	apns2.ReasonBadCertificateEnvironment:   pushext.ProviderBroken,
	apns2.ReasonExpiredProviderToken:        pushext.ProviderBroken,
	apns2.ReasonForbidden:                   pushext.ProviderBroken,
	apns2.ReasonInvalidProviderToken:        pushext.ProviderBroken,
	apns2.ReasonMissingProviderToken:        pushext.ProviderBroken,
	"UnrelatedKeyIdInToken":                 pushext.ProviderBroken,
	"BadEnvironmentKeyIdInToken":            pushext.ProviderBroken,
	apns2.ReasonBadPath:                     pushext.ProviderBroken,
	apns2.ReasonMethodNotAllowed:            pushext.ProviderBroken,
	apns2.ReasonTooManyProviderTokenUpdates: pushext.ProviderBroken,

	// About this message.
	apns2.ReasonBadCollapseID:      pushext.MessageBad,
	apns2.ReasonBadExpirationDate:  pushext.MessageBad,
	apns2.ReasonBadMessageID:       pushext.MessageBad,
	apns2.ReasonBadPriority:        pushext.MessageBad,
	apns2.ReasonDuplicateHeaders:   pushext.MessageBad,
	apns2.ReasonInvalidPushType:    pushext.MessageBad,
	apns2.ReasonMissingDeviceToken: pushext.MessageBad,
	apns2.ReasonPayloadEmpty:       pushext.MessageBad,
	apns2.ReasonPayloadTooLarge:    pushext.MessageBad,

	// Temporary. TooManyRequests is about this device only.
	apns2.ReasonIdleTimeout:         pushext.Retry,
	apns2.ReasonTooManyRequests:     pushext.Retry,
	apns2.ReasonInternalServerError: pushext.Retry,
	apns2.ReasonServiceUnavailable:  pushext.Retry,
	apns2.ReasonShutdown:            pushext.Retry,
}

// verdict judges an answer. A reason counts only with the status it belongs to
// when it would end a registration.
func verdict(a attempt.Answer, now time.Time) pushext.Verdict {
	r := readRefusal(a)
	class, known := classes[r.reason]
	v := pushext.Verdict{Class: class, Reason: "apns " + attempt.Status(a.Status)}
	if known {
		v.Reason += " " + r.reason
	}
	switch {
	case a.Status == http.StatusOK:
		return pushext.Verdict{Class: pushext.Delivered, Reason: "apns 200"}
	case class == pushext.TokenDead && known:
		want := http.StatusGone
		if r.reason == apns2.ReasonBadDeviceToken {
			want = http.StatusBadRequest
		}
		if a.Status != want {
			v.Class = pushext.ProviderBroken
		} else {
			v.At = r.since
		}
		return v
	case r.reason == apns2.ReasonTooManyRequests, a.Status == http.StatusTooManyRequests && !known:
		return a.LaterHere(now, v.Reason) // APNs limits only what one device is sent
	case class == pushext.Retry && known, a.Status >= 500:
		return a.Later(now, v.Reason)
	case known:
		return v
	case a.Status == http.StatusRequestEntityTooLarge, a.Status == http.StatusBadRequest && r.reason != "":
		v.Class = pushext.MessageBad // a reason that is not known yet
	default:
		v.Class = pushext.ProviderBroken // not APNs, or nothing about this message
	}
	return v
}
