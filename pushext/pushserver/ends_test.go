package pushserver

import "whisperpush/pushext/pushserver/registration"

// noEnds is told of registrations that end, and keeps nothing of them.
type noEnds struct{}

func (noEnds) record(id registration.ID) []byte { return idKey('d', id) }
func (noEnds) died(registration.ID, string)     {}
func (noEnds) gone(registration.ID, string)     {}
