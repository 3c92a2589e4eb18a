package pushserver

import (
	"slices"

	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/registration"
)

// unchallenged reports whether addresses at a provider are proven by the
// request that names them, or need no proof.
func (r *registry) unchallenged(provider string) bool { return r.skip[provider] || r.linked(provider) }

func (r *registry) linked(provider string) bool {
	_, linked := r.providers[provider].(pushext.Linked)
	return linked
}

// provenElsewhere reports whether an address other than the link itself is
// proven. Links cost nothing to make: a registration that has nothing else
// gives way before the others.
func (r *registry) provenElsewhere(rec *record) bool {
	return slices.ContainsFunc(rec.Routes, func(route registration.Route) bool { return route.Proven && !r.linked(route.Provider) })
}
