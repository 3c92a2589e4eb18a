package gorush

import (
	"net/http"
	"slices"
	"time"

	"github.com/sideshow/apns2"
	"github.com/tidwall/gjson"

	"whisperpush/pushext"
	"whisperpush/pushext/attempt"
)

// failure is what a log line's text means.
type failure struct {
	class  pushext.Class
	reason string
}

// android are the texts of FCM that gorush passes on, without FCM's codes.
var android = map[string]failure{
	"The registration token is not a valid FCM registration token": {pushext.TokenDead, "invalid token"},
	// For an unregistered token, and for anything else that FCM did not find, such as a
	// project: believed only while others are reached.
	"Requested entity was not found.": {pushext.TokenDead, "not found"},
	"NotRegistered":                   {pushext.TokenDead, "NotRegistered"},
	"SenderId mismatch":               {pushext.MessageBad, "sender mismatch"},
	"Quota exceeded.":                 {pushext.Retry, "quota"},
}

// ios are the reasons of APNs, which gorush passes on without status and time.
var ios = map[string]failure{
	"BadDeviceToken":            {pushext.TokenDead, "BadDeviceToken"},
	"Unregistered":              {pushext.TokenDead, "Unregistered"},
	"ExpiredToken":              {pushext.TokenDead, "ExpiredToken"},
	"DeviceTokenNotForTopic":    {pushext.MessageBad, "DeviceTokenNotForTopic"},
	"PayloadTooLarge":           {pushext.MessageBad, "PayloadTooLarge"},
	"BadCollapseId":             {pushext.MessageBad, "BadCollapseId"},
	"TopicDisallowed":           {pushext.ProviderBroken, "TopicDisallowed"},
	"BadTopic":                  {pushext.ProviderBroken, "BadTopic"},
	"MissingTopic":              {pushext.ProviderBroken, "MissingTopic"},
	"ExpiredProviderToken":      {pushext.ProviderBroken, "ExpiredProviderToken"},
	"InvalidProviderToken":      {pushext.ProviderBroken, "InvalidProviderToken"},
	"MissingProviderToken":      {pushext.ProviderBroken, "MissingProviderToken"},
	"BadCertificate":            {pushext.ProviderBroken, "BadCertificate"},
	"BadCertificateEnvironment": {pushext.ProviderBroken, "BadCertificateEnvironment"},
	"Forbidden":                 {pushext.ProviderBroken, "Forbidden"},
}

// unavailable are the reasons of APNs with a status of 500 and more, the only ones after
// which gorush repeats a push to it.
var unavailable = []string{apns2.ReasonInternalServerError, apns2.ReasonServiceUnavailable, apns2.ReasonShutdown}

// verdict judges the answer to one notification for one token, of a server whose
// configuration is r. An unknown line is a failure that may pass.
func verdict(a attempt.Answer, platform string, r reading, now time.Time) pushext.Verdict {
	status := "gorush " + attempt.Status(a.Status)
	switch {
	case a.Status == http.StatusTooManyRequests, a.Status >= 500, a.Status == http.StatusRequestTimeout:
		return a.Later(now, status)
	case a.Status == http.StatusBadRequest, a.Status == http.StatusRequestEntityTooLarge:
		return pushext.Verdict{Class: pushext.MessageBad, Reason: status}
	case a.Status != http.StatusOK:
		return pushext.Verdict{Class: pushext.ProviderBroken, Reason: status}
	}
	object, _ := a.Object()
	if attempt.Text(object, "success") != "ok" {
		return pushext.Verdict{Class: pushext.Retry, Reason: "gorush 200 unreadable"}
	}
	// Failures are listed in sync mode alone, one for each try, the last one at the end.
	if failures := texts(object); len(failures) > 0 && !repaired(failures, platform, r.retries) {
		known := android
		if platform == IOS {
			known = ios
		}
		if f, ok := known[failures[len(failures)-1]]; ok {
			return pushext.Verdict{Class: f.class, Reason: "gorush " + f.reason}
		}
		return pushext.Verdict{Class: pushext.Retry, Reason: "gorush failed-push"}
	}
	// counts is how many tokens were taken, and one more for a topic. Pushes for a platform
	// that is not enabled are left out.
	if attempt.Number(object, "counts") < 1 {
		return pushext.Verdict{Class: pushext.ProviderBroken, Reason: "gorush took nothing"}
	}
	if r.refuse.Reason != "" {
		return r.refuse
	}
	return pushext.Verdict{Class: pushext.Delivered, Reason: status}
}

// texts are the errors in an answer's log lines; if there are lines and none has an
// error, it is one empty text.
func texts(object gjson.Result) (list []string) {
	lines := false
	object.Get("logs").ForEach(func(_, line gjson.Result) bool {
		lines = lines || line.IsObject()
		if text := attempt.Text(line, "error"); text != "" {
			list = append(list, text)
		}
		return true
	})
	if lines && len(list) == 0 {
		return []string{""}
	}
	return list
}

// repaired reports whether gorush's own repetition succeeded: gorush would have repeated
// the last failure once more, and there is no line of that.
func repaired(failures []string, platform string, retries int) bool {
	return len(failures) <= retries && (platform == Android || slices.Contains(unavailable, failures[len(failures)-1]))
}
