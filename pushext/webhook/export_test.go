package webhook

import (
	"net/http"

	"whisperpush/pushext/attempt"
)

// Through makes p post through another transport, one without a network.
func (p *Provider) Through(transport http.RoundTripper) { p.client = attempt.Client(transport) }
