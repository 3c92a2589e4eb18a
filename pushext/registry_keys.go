package pushext

import (
	"encoding/binary"
	"time"
)

// class is that of prefixDue.
func (r *record) class() int {
	switch {
	case !r.live():
		return classTomb
	case !r.proved:
		return classFresh
	}
	return classLive
}

// keys are the secondary keys of a record, by which it is found.
func (r *registry) keys(rec *record) map[string][]byte {
	id := binary.BigEndian.AppendUint64(nil, uint64(rec.id))
	keys := map[string][]byte{
		string(r.keyKey(rec.key)):                    id,
		string(dueKey(rec.class(), rec.due, rec.id)): rec.dueValue(),
	}
	if !rec.live() {
		return keys
	}
	add := func(prefix byte, f [16]byte, value []byte) {
		key := append([]byte{prefix}, f[:]...)
		keys[string(append(key, id...))] = value
	}
	for i := range rec.routes {
		owns := byte(0)
		if rec.routes[i].proven && !r.skip[rec.routes[i].provider] {
			owns = 1
		}
		add(prefixAddress, r.addressFingerprint(&rec.routes[i]), []byte{owns})
	}
	if len(rec.group) > 0 {
		add(prefixGroup, r.fingerprint(prefixGroup, rec.group), nil)
	}
	if len(rec.handle) > 0 {
		root := r.rootFingerprint(rec)
		add(prefixHandle, r.fingerprint(prefixHandle, rec.handle), root[:])
	}
	add(prefixSource, rec.source, nil)
	return keys
}

func idKey(prefix byte, id registrationID) []byte {
	return binary.BigEndian.AppendUint64([]byte{prefix}, uint64(id))
}

func dueKey(class int, due time.Time, id registrationID) []byte {
	key := binary.BigEndian.AppendUint64([]byte{prefixDue, byte(class)}, millis(due))
	return binary.BigEndian.AppendUint64(key, uint64(id))
}

func (r *registry) keyKey(key [33]byte) []byte {
	f := r.fingerprint(prefixKey, key[:])
	return append([]byte{prefixKey}, f[:]...)
}

// fingerprint is the store's, apart for each prefix.
func (r *registry) fingerprint(prefix byte, secret []byte) [16]byte {
	return r.store.fingerprint([]byte{prefix}, secret)
}

// canonical is the one spelling of a route's address. Registrations are kept by
// it, and so fingerprints are of it.
func (r *registry) canonical(route *route) Address {
	if c, ok := r.providers[route.provider].(Canonicalizer); ok {
		return c.Canonical(route.address)
	}
	return route.address
}

// respell gives the addresses of a record their one spelling. An earlier version
// kept them as they were written, and has filed the record by that.
func (r *registry) respell(rec *record) {
	for i := range rec.routes {
		route := &rec.routes[i]
		if one := r.canonical(route); one.Token != route.address.Token {
			rec.filed = append(rec.filed, r.addressFingerprint(route))
			route.address = one
		}
	}
}

// addressKey is where a registration is found by an address.
func addressKey(address [16]byte, id registrationID) []byte {
	key := append([]byte{prefixAddress}, address[:]...)
	return binary.BigEndian.AppendUint64(key, uint64(id))
}

// rootFingerprint tells the roots apart that share a handle.
func (r *registry) rootFingerprint(rec *record) [16]byte { return r.fingerprint(domainRoot, rec.root) }

func (r *registry) addressFingerprint(route *route) [16]byte {
	secret := append([]byte(route.provider), 0)
	return r.fingerprint(prefixAddress, append(secret, route.address.Token...))
}
