package registry

import (
	"slices"

	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/registration"
)

// unchallenged reports whether addresses at a provider are proven by the
// request that names them, or need no proof.
func (r *Registry) unchallenged(provider string) bool { return r.skip[provider] || r.linked(provider) }

// Link returns the provider of a name if it rings devices over links of their own.
func (r *Registry) Link(provider string) (pushext.Linked, bool) {
	l, ok := r.terms.Load().providers[provider].(pushext.Linked)
	return l, ok
}

func (r *Registry) linked(provider string) bool {
	_, ok := r.Link(provider)
	return ok
}

// provenElsewhere reports whether an address other than the link itself is
// proven. Links cost nothing to make: a registration that has nothing else
// gives way before the others.
func (r *Registry) provenElsewhere(rec *Record) bool {
	return slices.ContainsFunc(rec.Routes, func(route registration.Route) bool { return route.Proven && !r.linked(route.Provider) })
}
