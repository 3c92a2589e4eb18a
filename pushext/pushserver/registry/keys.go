package registry

import (
	"encoding/binary"
	"time"

	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/registration"
)

// class is the class of a record at prefixDue.
func (r *Record) class() int {
	switch {
	case !r.Live():
		return classTomb
	case !r.Proved:
		return classFresh
	}
	return classLive
}

// keys are the secondary keys of a record, by which it is found.
func (r *Registry) keys(rec *Record) map[string][]byte {
	id := binary.BigEndian.AppendUint64(nil, uint64(rec.ID))
	keys := map[string][]byte{
		string(r.keyKey(rec.Key)):                    id,
		string(dueKey(rec.class(), rec.due, rec.ID)): rec.dueValue(),
	}
	if !rec.Live() {
		return keys
	}
	add := func(prefix byte, f [16]byte, value []byte) {
		key := append([]byte{prefix}, f[:]...)
		keys[string(append(key, id...))] = value
	}
	for i := range rec.Routes {
		owns := byte(0)
		if rec.Routes[i].Proven && !r.skip[rec.Routes[i].Provider] {
			owns = 1
		}
		add(prefixAddress, r.addressFingerprint(&rec.Routes[i]), []byte{owns})
	}
	if len(rec.Group) > 0 {
		add(prefixGroup, r.fingerprint(prefixGroup, rec.Group), nil)
	}
	if len(rec.handle) > 0 {
		root := r.rootFingerprint(rec)
		add(prefixHandle, r.fingerprint(prefixHandle, rec.handle), root[:])
	}
	add(prefixSource, rec.source, binary.BigEndian.AppendUint32(nil, uint32(rec.provenChannels())))
	return keys
}

func idKey(prefix byte, id registration.ID) []byte {
	return binary.BigEndian.AppendUint64([]byte{prefix}, uint64(id))
}

func dueKey(class int, due time.Time, id registration.ID) []byte {
	key := binary.BigEndian.AppendUint64([]byte{prefixDue, byte(class)}, registration.Millis(due))
	return binary.BigEndian.AppendUint64(key, uint64(id))
}

func (r *Registry) keyKey(key [33]byte) []byte {
	f := r.fingerprint(prefixKey, key[:])
	return append([]byte{prefixKey}, f[:]...)
}

// fingerprint is the store's fingerprint, kept apart for each prefix.
func (r *Registry) fingerprint(prefix byte, secret []byte) [16]byte {
	return r.store.Fingerprint([]byte{prefix}, secret)
}

// canonical is the one spelling of a route's address. Registrations are kept by it, and
// fingerprints are made of it.
func (r *Registry) canonical(route *registration.Route) pushext.Address {
	if c, ok := r.terms.Load().providers[route.Provider].(pushext.Canonicalizer); ok {
		return c.Canonical(route.Address)
	}
	return route.Address
}

// respell gives the addresses of a record their one spelling. An earlier version kept
// them as they were written, and filed the record under that.
func (r *Registry) respell(rec *Record) {
	for i := range rec.Routes {
		route := &rec.Routes[i]
		if one := r.canonical(route); one.Token != route.Address.Token {
			rec.filed = append(rec.filed, r.addressFingerprint(route))
			route.Address = one
		}
	}
}

// addressKey is where a registration is found by an address.
func addressKey(address [16]byte, id registration.ID) []byte {
	key := append([]byte{prefixAddress}, address[:]...)
	return binary.BigEndian.AppendUint64(key, uint64(id))
}

// rootFingerprint tells apart the roots that share a handle.
func (r *Registry) rootFingerprint(rec *Record) [16]byte { return r.fingerprint(domainRoot, rec.Root) }

func (r *Registry) addressFingerprint(route *registration.Route) [16]byte {
	secret := append([]byte(route.Provider), 0)
	return r.fingerprint(prefixAddress, append(secret, route.Address.Token...))
}
