package apns_test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext"
	"whisperpush/pushext/apns"
	"whisperpush/pushext/emulate"
	"whisperpush/testutil/emulatetest"
)

// TestVerdicts is Apple's "Handling notification responses from APNs", row by row.
func TestVerdicts(t *testing.T) {
	const (
		dead, bad, broken, retry = pushext.TokenDead, pushext.MessageBad, pushext.ProviderBroken, pushext.Retry
		device, lane             = emulatetest.Address, emulatetest.Lane
	)
	died := time.UnixMilli(900_000_000_123)
	code := func(code string) emulate.Answer { return emulate.Answer{Code: code} }
	gone := func(code string) emulate.Answer { return emulate.Answer{Code: code, Timestamp: died} }
	raw := emulatetest.Raw
	emulatetest.Table{
		Kind: "apns", Codes: emulatetest.Codes(t, "apns"),
		New: func(t *testing.T) emulatetest.Bench {
			e, err := emulate.StartAPNS(emulate.APNSConfig{Addr: emulate.Memory})
			require.NoError(t, err)
			t.Cleanup(e.Close)
			p, err := apns.New(config(e, &http.Client{Transport: e.Transport()}))
			require.NoError(t, err)
			return emulatetest.Bench{Provider: p, Service: e.Service}
		},
		Rows: append([]emulatetest.Row{
			{Says: raw(200, ""), Class: pushext.Delivered, Reason: "apns 200"},

			// The token. A time is compared with the registration's by the dispatcher.
			{Says: code("BadDeviceToken"), Class: dead, Reason: "apns 400 BadDeviceToken"},
			{Says: gone("Unregistered"), Class: dead, Reason: "apns 410 Unregistered", Since: died},
			{Says: gone("ExpiredToken"), Class: dead, Reason: "apns 410 ExpiredToken", Since: died},
			{Says: raw(410, `{"reason":"Unregistered"}`), Class: dead, Reason: "apns 410 Unregistered"},
			{Says: code("DeviceTokenNotForTopic"), Class: bad, Reason: "apns 400 DeviceTokenNotForTopic"},
			// Nothing less exact ends a registration.
			{Says: emulate.Answer{Code: "Unregistered", Status: 400}, Class: broken, Reason: "apns 400 Unregistered"},
			{Says: emulate.Answer{Code: "BadDeviceToken", Status: 410}, Class: broken, Reason: "apns 410 BadDeviceToken"},
			{Says: raw(410, "<html>"), Class: broken, Reason: "apns 410"},
			{Says: raw(410, `{"reason":"Gone"}`), Class: broken, Reason: "apns 410"},

			// Our configuration.
			{Says: code("TopicDisallowed"), Class: broken, Reason: "apns 400 TopicDisallowed"},
			{Says: code("BadTopic"), Class: broken, Reason: "apns 400 BadTopic"},
			{Says: code("MissingTopic"), Class: broken, Reason: "apns 400 MissingTopic"},
			{Says: code("ExpiredProviderToken"), Class: broken, Reason: "apns 403 ExpiredProviderToken"},
			{Says: code("InvalidProviderToken"), Class: broken, Reason: "apns 403 InvalidProviderToken"},
			{Says: code("MissingProviderToken"), Class: broken, Reason: "apns 403 MissingProviderToken"},
			{Says: code("UnrelatedKeyIdInToken"), Class: broken, Reason: "apns 403 UnrelatedKeyIdInToken"},
			{Says: code("BadEnvironmentKeyIdInToken"), Class: broken, Reason: "apns 403 BadEnvironmentKeyIdInToken"},
			{Says: code("BadCertificate"), Class: broken, Reason: "apns 403 BadCertificate"},
			{Says: code("BadCertificateEnvironment"), Class: broken, Reason: "apns 403 BadCertificateEnvironment"},
			{Says: code("Forbidden"), Class: broken, Reason: "apns 403 Forbidden"},
			{Says: raw(403, "-"), Class: broken, Reason: "apns 403"},
			{Says: raw(401, "-"), Class: broken, Reason: "apns 401"},
			{Says: code("BadPath"), Class: broken, Reason: "apns 404 BadPath"},
			{Says: code("MethodNotAllowed"), Class: broken, Reason: "apns 405 MethodNotAllowed"},
			{Says: code("TooManyProviderTokenUpdates"), Class: broken, Reason: "apns 429 TooManyProviderTokenUpdates"},
			{Says: raw(302, "-"), Class: broken, Reason: "apns 302"},
			{Says: raw(400, "<html>"), Class: broken, Reason: "apns 400"},

			// This message.
			{Says: code("BadCollapseId"), Class: bad, Reason: "apns 400 BadCollapseId"},
			{Says: code("BadExpirationDate"), Class: bad, Reason: "apns 400 BadExpirationDate"},
			{Says: code("BadPriority"), Class: bad, Reason: "apns 400 BadPriority"},
			{Says: code("BadMessageId"), Class: bad, Reason: "apns 400 BadMessageId"},
			{Says: code("PayloadEmpty"), Class: bad, Reason: "apns 400 PayloadEmpty"},
			{Says: code("DuplicateHeaders"), Class: bad, Reason: "apns 400 DuplicateHeaders"},
			{Says: code("InvalidPushType"), Class: bad, Reason: "apns 400 InvalidPushType"},
			{Says: code("MissingDeviceToken"), Class: bad, Reason: "apns 400 MissingDeviceToken"},
			{Says: raw(400, `{"reason":"OfTheFuture"}`), Class: bad, Reason: "apns 400"},
			{Says: code("PayloadTooLarge"), Class: bad, Reason: "apns 413 PayloadTooLarge"},
			{Says: raw(413, "-"), Class: bad, Reason: "apns 413"},

			// What passes. TooManyRequests is about one device.
			{Says: code("TooManyRequests"), Class: retry, Reason: "apns 429 TooManyRequests", Heeds: device},
			{Says: raw(429, "-"), Class: retry, Reason: "apns 429", Heeds: device},
			{Says: code("IdleTimeout"), Class: retry, Reason: "apns 400 IdleTimeout", Heeds: lane},
			{Says: code("InternalServerError"), Class: retry, Reason: "apns 500 InternalServerError", Heeds: lane},
			{Says: code("ServiceUnavailable"), Class: retry, Reason: "apns 503 ServiceUnavailable", Heeds: lane},
			{Says: code("Shutdown"), Class: retry, Reason: "apns 503 Shutdown", Heeds: lane},
			{Says: raw(502, "-"), Class: retry, Reason: "apns 502", Heeds: lane},
			{Says: raw(799, "<html>"), Class: retry, Reason: "apns other", Heeds: lane},
		}, slices.Concat(
			emulatetest.Strange(emulatetest.Row{Says: raw(410, `{"reason":"Unregistered"}`), Class: dead, Reason: "apns 410 Unregistered"}, "reason"),
			emulatetest.Strange(emulatetest.Row{Says: raw(410, `{"reason":"Unregistered","timestamp":900000000123}`), Class: dead, Reason: "apns 410 Unregistered", Since: died}, "reason", "timestamp"),
			[]emulatetest.Row{ // the time is unknown then
				{Says: raw(410, `{"reason":"Unregistered","timestamp":"900000000123"}`), Class: dead, Reason: "apns 410 Unregistered"},
				{Says: raw(410, `{"reason":"Unregistered","timestamp":[1]}`), Class: dead, Reason: "apns 410 Unregistered"},
				{Says: raw(410, `{"reason":"Unregistered","timestamp":-1}`), Class: dead, Reason: "apns 410 Unregistered"},
			},
		)...),
	}.Run(t)
}
