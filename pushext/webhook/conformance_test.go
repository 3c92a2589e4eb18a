package webhook_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"whisperpush/pushext"
	"whisperpush/pushext/providertest"
	"whisperpush/testutil/emulate"
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
		Lacks: []providertest.Fault{providertest.Refused}, // each receiver speaks for itself alone
		Spellings: func(addr pushext.Address) map[string]pushext.Address {
			endpoint, _ := url.Parse(addr.Token)
			path := strings.TrimPrefix(endpoint.EscapedPath(), "/")
			first := fmt.Sprintf("%%%02x", path[0])
			spell := func(text string) pushext.Address { return pushext.Address{Token: text, Keys: addr.Keys} }
			return map[string]pushext.Address{
				"scheme":      spell("HTTPS" + strings.TrimPrefix(addr.Token, "https")),
				"port":        spell("https://" + endpoint.Hostname() + ":0" + endpoint.Port() + "/" + path),
				"dot segment": spell("https://" + endpoint.Host + "/x/../" + path),
				"encoded":     spell("https://" + endpoint.Host + "/" + first + path[1:]),
				"empty query": spell(addr.Token + "?"),
			}
		},
		BadAddresses: map[string]pushext.Address{"no secret": {Token: "https://example.org/"}},
	})
}
