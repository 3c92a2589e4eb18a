package registry

import (
	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/registration"
)

// terms are what a registry asks of registrations, and may ask otherwise while it runs.
type terms struct {
	limits    registration.Limits
	providers map[string]pushext.Provider
}

// SetTerms has changes that are decided from now on keep other limits, which are complete, and be checked by
// other instances of the providers. Of the limits on codes those of Open stay. What was registered before stays
// as it is until it is renewed or has to give way.
func (r *Registry) SetTerms(limits registration.Limits, providers []pushext.Provider) {
	next := &terms{limits: limits, providers: make(map[string]pushext.Provider, len(providers))}
	for _, p := range providers {
		next.providers[p.Name()] = p
	}
	r.terms.Store(next)
}
