package apns_test

import (
	"strings"
	"testing"

	"whisperpush/pushext"
	"whisperpush/pushext/emulate"
	"whisperpush/pushext/providertest"
	"whisperpush/testutil/emulatetest"
)

func TestConformance(t *testing.T) {
	providertest.Run(t, providertest.Harness{
		New: func(t *testing.T) (pushext.Provider, providertest.Backend) {
			e, p, _ := start(t)
			return p, &emulatetest.Backend{
				Service: e.Service,
				NewDevice: func() (pushext.Address, string) {
					token := e.NewToken()
					return pushext.Address{Token: token}, token
				},
				Answers: map[providertest.Fault]emulate.Answer{
					providertest.Unavailable: {Code: "ServiceUnavailable"},
					providertest.Throttled:   {Code: "TooManyRequests"},
					providertest.Gone:        {Code: "Unregistered"},
					providertest.Malformed:   {Code: "BadPriority"},
					providertest.Refused:     {Code: "InvalidProviderToken"},
					providertest.Garbage:     {Status: 799, Body: []byte("<html>")},
				},
			}
		},
		Spellings: func(addr pushext.Address) map[string]pushext.Address {
			return map[string]pushext.Address{"capitals": {Token: strings.ToUpper(addr.Token)}}
		},
		BadAddresses: map[string]pushext.Address{"short": {Token: "abcd"}},
	})
}
