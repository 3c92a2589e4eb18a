package fcm_test

import (
	"testing"

	"whisperpush/pushext"
	"whisperpush/pushext/emulate"
	"whisperpush/pushext/providertest"
	"whisperpush/testutil/emulatetest"
)

func TestConformance(t *testing.T) {
	providertest.Run(t, providertest.Harness{
		New: func(t *testing.T) (pushext.Provider, providertest.Backend) {
			e, p := start(t, emulate.FCMConfig{})
			return p, &emulatetest.Backend{
				Service: e.Service,
				NewDevice: func() (pushext.Address, string) {
					token := e.NewToken()
					return pushext.Address{Token: token}, token
				},
				Answers: map[providertest.Fault]emulate.Answer{
					providertest.Unavailable: {Code: "UNAVAILABLE"},
					providertest.Throttled:   {Code: "QUOTA_EXCEEDED"},
					providertest.Gone:        {Code: "UNREGISTERED"},
					providertest.Malformed:   {Code: "INVALID_ARGUMENT"},
					providertest.Refused:     {Code: "THIRD_PARTY_AUTH_ERROR"},
					providertest.Garbage:     {Status: 200, Body: []byte("<html>log in</html>")},
				},
			}
		},
		BadAddresses: map[string]pushext.Address{"url": {Token: "https://example.org/"}, "keys": {Token: "a", Keys: [][]byte{{1}}}},
	})
}
