package webhook_test

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
			e, p := start(t, emulate.WebhookConfig{TLS: true})
			return p, &emulatetest.Backend{
				Service: e.Service,
				NewDevice: func() (pushext.Address, string) {
					n, token := endpoint(e)
					return n.Address, token
				},
				Answers: map[providertest.Fault]emulate.Answer{
					providertest.Unavailable: {Status: 503},
					providertest.Throttled:   {Status: 429},
					providertest.Gone:        {Status: 410},
					providertest.Malformed:   {Status: 400},
					providertest.Garbage:     {Status: 799, Body: []byte("<html>")},
				},
			}
		},
		Lacks:        []providertest.Fault{providertest.Refused}, // each receiver speaks for itself alone
		Spellings:    providertest.URLSpellings,
		BadAddresses: map[string]pushext.Address{"no secret": {Token: "https://example.org/"}},
	})
}
