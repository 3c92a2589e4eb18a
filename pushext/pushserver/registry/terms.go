package registry

import (
	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/registration"
)

// terms are what a registry asks of registrations. They may change while it runs.
type terms struct {
	limits    registration.Limits
	providers map[string]pushext.Provider
}

// SetTerms makes changes that are decided from now on keep other limits, which are
// complete, and be checked by other instances of the providers. The limits on codes stay
// those of Open. Existing registrations stay as they are until they are renewed or have
// to give way.
func (r *Registry) SetTerms(limits registration.Limits, providers []pushext.Provider) {
	next := &terms{limits: limits, providers: make(map[string]pushext.Provider, len(providers))}
	for _, p := range providers {
		next.providers[p.Name()] = p
	}
	r.terms.Store(next)
}
