package hms

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"whisperpush/pushext"
	"whisperpush/pushext/attempt"
)

// code is the code in Push Kit's answer, which comes with HTTP 200 and with errors
// alike, and the message that explains it; "" if there is none.
func code(a attempt.Answer) (code, message string) {
	object, _ := a.Object()
	if member := object.Get("code"); member.Type == gjson.String || member.Type == gjson.Number {
		code = member.String()
	}
	return code, attempt.Text(object, "msg")
}

// classes are Push Kit's codes, Huawei: "Push Kit server result codes". Codes
// that begin with 81 are internal errors.
var classes = map[string]pushext.Class{
	"80000000": pushext.Delivered,
	"80300007": pushext.TokenDead, // all tokens invalid; also with a wrong app id: believed only while others succeed

	"80200001": pushext.ProviderBroken, // OAuth failed
	"80200003": pushext.ProviderBroken, // access token expired, after a refresh
	"80300002": pushext.ProviderBroken, // no permission to send to these tokens

	"80100001": pushext.MessageBad, // parameter error
	"80100003": pushext.MessageBad, // structure
	"80100004": pushext.MessageBad, // time to live
	"80300008": pushext.MessageBad, // body over 4096 bytes
	"80300010": pushext.MessageBad, // too many tokens
	"80300011": pushext.MessageBad, // no right to high priority

	"80600003": pushext.Retry, // their OAuth service failed
}

// expired reports whether an answer asks for a new access token.
func expired(a attempt.Answer) bool {
	if code, _ := code(a); code != "" {
		return code == "80200001" || code == "80200003"
	}
	return a.Status == http.StatusUnauthorized
}

// verdict judges the answer to a message for one token. The code decides where there is one.
func verdict(a attempt.Answer, token string, now time.Time) pushext.Verdict {
	code, message := code(a)
	class, known := classes[code]
	is := func(class pushext.Class, detail string) pushext.Verdict {
		return pushext.Verdict{Class: class, Reason: "hms " + detail}
	}
	switch {
	case known && class == pushext.Retry:
		return a.Later(now, "hms "+code)
	case known:
		return is(class, code)
	case code == "80100000": // some tokens are bad, and only one was sent
		return partial(message, token)
	case len(code) == 8 && strings.HasPrefix(code, "81"):
		return a.Later(now, "hms 81")
	case a.Status == http.StatusTooManyRequests:
		return a.LaterHere(now, "hms 429") // not documented, so whom it concerns is unknown
	case a.Status >= 500, a.Status == http.StatusRequestTimeout:
		return a.Later(now, "hms "+attempt.Status(a.Status))
	case code != "":
		return is(pushext.MessageBad, "other code") // a code that is not known yet
	case a.Status == http.StatusOK:
		return is(pushext.Retry, "200 unreadable")
	}
	return is(pushext.ProviderBroken, attempt.Status(a.Status))
}

// partial reads the message of code 80100000, itself JSON, which lists the tokens that are bad.
func partial(message, token string) pushext.Verdict {
	detail, _ := attempt.Object([]byte(message))
	switch {
	case slices.ContainsFunc(detail.Get("illegal_tokens").Array(), func(t gjson.Result) bool { return t.Type == gjson.String && t.Str == token }):
		return pushext.Verdict{Class: pushext.TokenDead, Reason: "hms 80100000 illegal"}
	case attempt.Number(detail, "success") > 0:
		return pushext.Verdict{Class: pushext.Delivered, Reason: "hms 80100000"}
	}
	return pushext.Verdict{Class: pushext.Retry, Reason: "hms 80100000"}
}
