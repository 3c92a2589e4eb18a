package gorush_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext"
	"whisperpush/pushext/emulate"
	"whisperpush/pushext/gorush"
	"whisperpush/testutil/emulatetest"
)

// TestVerdicts is what gorush's answers allow to conclude, row by row: the text
// of a log line, without the status, the time and the Retry-After of the service
// behind it.
func TestVerdicts(t *testing.T) {
	const (
		dead, bad, broken, retry = pushext.TokenDead, pushext.MessageBad, pushext.ProviderBroken, pushext.Retry
		lane                     = emulatetest.Lane
	)
	line := func(text string) emulate.Answer { return emulate.Answer{Message: text} }
	raw := emulatetest.Raw
	// Of gorush itself, on either platform.
	server := []emulatetest.Row{
		{Says: raw(200, `{"success":"ok","counts":1,"logs":[]}`), Class: pushext.Delivered, Reason: "gorush 200"},
		{Says: raw(200, `{"success":"ok","counts":2,"logs":[]}`), Class: pushext.Delivered, Reason: "gorush 200"}, // the topic too
		{Says: raw(200, `{"success":"ok","counts":0,"logs":[]}`), Class: broken, Reason: "gorush took nothing"},
		{Says: raw(200, `{"success":"ok","counts":1,"logs":[{}]}`), Class: retry, Reason: "gorush failed-push"},
		{Says: raw(200, `{"success":"no","counts":1}`), Class: retry, Reason: "gorush 200 unreadable"},
		{Says: raw(200, `<html>`), Class: retry, Reason: "gorush 200 unreadable"},
		{Says: line("dial tcp 192.0.2.4: a secret"), Class: retry, Reason: "gorush failed-push"},
		{Says: raw(400, "-"), Class: bad, Reason: "gorush 400"},
		{Says: raw(413, "-"), Class: bad, Reason: "gorush 413"},
		{Says: raw(302, "-"), Class: broken, Reason: "gorush 302"},
		{Says: raw(401, "-"), Class: broken, Reason: "gorush 401"},
		{Says: raw(403, "-"), Class: broken, Reason: "gorush 403"},
		{Says: raw(404, "-"), Class: broken, Reason: "gorush 404"},
		{Says: raw(410, "-"), Class: broken, Reason: "gorush 410"}, // no device's end
		{Says: raw(408, "-"), Class: retry, Reason: "gorush 408", Heeds: lane},
		{Says: raw(429, "-"), Class: retry, Reason: "gorush 429", Heeds: lane},
		{Says: raw(500, "-"), Class: retry, Reason: "gorush 500", Heeds: lane},
		{Says: raw(502, "-"), Class: retry, Reason: "gorush 502", Heeds: lane},
		{Says: raw(503, "-"), Class: retry, Reason: "gorush 503", Heeds: lane},
		{Says: raw(799, "-"), Class: retry, Reason: "gorush other", Heeds: lane},
	}
	for platform, rows := range map[string][]emulatetest.Row{
		gorush.Android: {
			{Says: line("The registration token is not a valid FCM registration token"), Class: dead, Reason: "gorush invalid token"},
			// Also of other missing things: the dispatcher believes it only while others are reached.
			{Says: line("Requested entity was not found."), Class: dead, Reason: "gorush not found"},
			{Says: line("NotRegistered"), Class: dead, Reason: "gorush NotRegistered"},
			{Says: line("SenderId mismatch"), Class: bad, Reason: "gorush sender mismatch"},
			{Says: line("Quota exceeded."), Class: retry, Reason: "gorush quota"},
			{Says: line("Unregistered"), Class: retry, Reason: "gorush failed-push"}, // a word of the other platform
		},
		gorush.IOS: {
			{Says: line("BadDeviceToken"), Class: dead, Reason: "gorush BadDeviceToken"},
			{Says: line("Unregistered"), Class: dead, Reason: "gorush Unregistered"},
			{Says: line("ExpiredToken"), Class: dead, Reason: "gorush ExpiredToken"},
			{Says: line("DeviceTokenNotForTopic"), Class: bad, Reason: "gorush DeviceTokenNotForTopic"},
			{Says: line("PayloadTooLarge"), Class: bad, Reason: "gorush PayloadTooLarge"},
			{Says: line("BadCollapseId"), Class: bad, Reason: "gorush BadCollapseId"},
			{Says: line("TopicDisallowed"), Class: broken, Reason: "gorush TopicDisallowed"},
			{Says: line("BadTopic"), Class: broken, Reason: "gorush BadTopic"},
			{Says: line("MissingTopic"), Class: broken, Reason: "gorush MissingTopic"},
			{Says: line("ExpiredProviderToken"), Class: broken, Reason: "gorush ExpiredProviderToken"},
			{Says: line("InvalidProviderToken"), Class: broken, Reason: "gorush InvalidProviderToken"},
			{Says: line("MissingProviderToken"), Class: broken, Reason: "gorush MissingProviderToken"},
			{Says: line("BadCertificate"), Class: broken, Reason: "gorush BadCertificate"},
			{Says: line("BadCertificateEnvironment"), Class: broken, Reason: "gorush BadCertificateEnvironment"},
			{Says: line("Forbidden"), Class: broken, Reason: "gorush Forbidden"},
			{Says: line("TooManyRequests"), Class: retry, Reason: "gorush failed-push"},
			{Says: line("InternalServerError"), Class: retry, Reason: "gorush failed-push"},
			{Says: line("Requested entity was not found."), Class: retry, Reason: "gorush failed-push"},
		},
	} {
		t.Run(platform, emulatetest.Table{
			Kind: "gorush",
			New: func(t *testing.T) emulatetest.Bench {
				e, err := emulate.StartGorush(emulate.GorushConfig{Addr: emulate.Memory, Platform: number(platform)})
				require.NoError(t, err)
				t.Cleanup(e.Close)
				p, err := gorush.New(config(e, platform, &http.Client{Transport: e.Transport()}))
				require.NoError(t, err)
				return emulatetest.Bench{Provider: p, Service: e.Service}
			},
			Rows: slices.Concat(rows, server,
				emulatetest.Strange(emulatetest.Row{Says: raw(200, `{"success":"ok","counts":1,"logs":[]}`), Class: pushext.Delivered, Reason: "gorush 200"}, "success", "counts")[1:],
				emulatetest.Strange(emulatetest.Row{Says: raw(200, fmt.Sprintf(`{"success":"ok","counts":1,"logs":[{"type":"failed-push","platform":"x","token":"***","message":"","error":%q}]}`, rows[0].Says.Message)), Class: dead, Reason: rows[0].Reason}, "success", "logs.0.error"),
			),
		}.Run)
	}
}
