package gorush

import (
	"encoding/json"
	"net/http"
	"time"

	"whisperpush/pushext"
	"whisperpush/pushext/attempt"
)

// result is gorush's answer to /api/push.
type result struct {
	Success string `json:"success"`
	Counts  int    `json:"counts"` // notifications taken, not delivered
	Logs    []struct {
		Type  string `json:"type"`
		Error string `json:"error"`
	} `json:"logs"` // of failures, in sync mode
}

// failure is what a log line's text means.
type failure struct {
	class  pushext.Class
	reason string
}

// android are the texts of FCM that gorush passes on, without FCM's codes.
var android = map[string]failure{
	"The registration token is not a valid FCM registration token": {pushext.TokenDead, "invalid token"},
	// Of an unregistered token, and of anything else that FCM did not find.
	"Requested entity was not found.": {pushext.MessageBad, "not found"},
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

// verdict judges the answer to one notification for one token. A line that is not known is a
// failure that may pass.
func verdict(a attempt.Answer, platform string, now time.Time) pushext.Verdict {
	status := "gorush " + attempt.Status(a.Status)
	switch {
	case a.Status == http.StatusTooManyRequests, a.Status >= 500, a.Status == http.StatusRequestTimeout:
		return a.Later(now, status)
	case a.Status == http.StatusBadRequest, a.Status == http.StatusRequestEntityTooLarge:
		return pushext.Verdict{Class: pushext.MessageBad, Reason: status}
	case a.Status != http.StatusOK:
		return pushext.Verdict{Class: pushext.ProviderBroken, Reason: status}
	}
	var r result
	if err := json.Unmarshal(a.Body, &r); err != nil || r.Success != "ok" || r.Counts != 1 {
		return pushext.Verdict{Class: pushext.Retry, Reason: "gorush 200 unreadable"}
	}
	if len(r.Logs) == 0 {
		return pushext.Verdict{Class: pushext.Delivered, Reason: "gorush 200"}
	}
	texts := android
	if platform == IOS {
		texts = ios
	}
	if f, ok := texts[r.Logs[0].Error]; ok {
		return pushext.Verdict{Class: f.class, Reason: "gorush " + f.reason}
	}
	return pushext.Verdict{Class: pushext.Retry, Reason: "gorush failed-push"}
}
