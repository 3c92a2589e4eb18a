package providertest

import (
	"fmt"
	"net/url"
	"strings"

	"whisperpush/pushext"
)

// URLSpellings are other ways to write an https URL that is an address, for
// Harness.Spellings of providers whose addresses are URLs.
func URLSpellings(addr pushext.Address) map[string]pushext.Address {
	endpoint, err := url.Parse(addr.Token)
	if err != nil {
		panic(err) // the suite's own address
	}
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
}
