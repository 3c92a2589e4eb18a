package pushext

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"time"

	"github.com/syndtr/goleveldb/leveldb"

	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// register creates or replaces the registration of a key. It returns what is
// on disk now, with the errands that are to be sent to addresses that need
// proof. The same request again changes nothing and returns none. An error
// is a *refusal, which leaves everything as it was and comes with the record
// held, if any; or the disk's.
func (r *registry) register(key [33]byte, source whisper.Source, g *pushwire.Register, now time.Time) (*record, []*errand, error) {
	routes, err := r.checkRoutes(key, g)
	if err != nil {
		return nil, nil, err
	}
	if !g.Plain {
		if err := pushwire.CheckSealKey(g.SealKey); err != nil {
			return nil, nil, refuse(pushwire.Malformed, "the seal key is not an X25519 public key that can be sealed to")
		}
	}
	digest, err := digestOf(g)
	if err != nil {
		return nil, nil, err
	}

	r.change.Lock()
	defer r.change.Unlock()
	old, err := r.lookup(key)
	if err != nil {
		return nil, nil, err
	}
	if old != nil {
		switch {
		case g.Version > old.version:
		case g.Version == old.version && old.digest == digest && old.live():
			return old, nil, nil
		default:
			return old, nil, refuse(pushwire.Stale, "version %d is not above %d, which the server holds", g.Version, old.version)
		}
	}
	rec := &record{
		registration: registration{
			key: key, version: g.Version, registered: now, expires: now.Add(r.lifetime(g.Lifetime)),
			routes: routes, sealKey: g.SealKey, plain: g.Plain, group: g.Group,
		},
		channels: newChannels(g.Channels),
		digest:   digest,
		source:   r.fingerprint(prefixSource, []byte(source)),
		root:     g.Preferences.Root,
		handle:   g.Preferences.Handle,
		revoked:  g.Preferences.Revoked,
	}
	var b leveldb.Batch
	edits := []edit{{old: old, next: rec}}
	if old != nil && old.live() {
		rec.id, rec.collapse, rec.fresh = old.id, old.collapse, old.fresh
		for i := range rec.routes {
			rec.routes[i].proven = slices.ContainsFunc(old.routes, func(was route) bool {
				return was.proven && was.equal(&rec.routes[i])
			})
		}
	} else {
		if edits, err = r.admit(rec, old); err != nil {
			return old, nil, err
		}
		rec.fresh = true
		rec.collapse = randomID()
		rec.id = r.next
		b.Put(keyNextID, binary.BigEndian.AppendUint64(nil, uint64(rec.id)+1))
	}
	crowd, err := r.checkShares(rec, old)
	if err != nil {
		return old, nil, err
	}
	edits = append(edits, crowd...)
	errands, err := r.challenge(rec, source, now)
	if err != nil {
		return old, nil, err
	}
	r.decide(rec, now)
	if err := r.commit(&b, dedupe(edits)...); err != nil {
		r.release(errands)
		return old, nil, err
	}
	if rec.id == r.next {
		r.next++
	}
	return rec, errands, nil
}

// checkRoutes judges what needs no look at other registrations.
func (r *registry) checkRoutes(key [33]byte, g *pushwire.Register) ([]route, error) {
	if len(g.Routes) > r.limits.Routes {
		return nil, refuse(pushwire.Limit, "%d routes, at most %d", len(g.Routes), r.limits.Routes)
	}
	if len(g.Channels) > r.limits.Channels {
		return nil, refuse(pushwire.Limit, "%d channels, at most %d", len(g.Channels), r.limits.Channels)
	}
	routes := make([]route, 0, len(g.Routes))
	for i := range g.Routes {
		provider := r.providers[g.Routes[i].Provider]
		if provider == nil {
			return nil, refuse(pushwire.UnknownProvider, "route %d: this server has no provider of that name", i+1)
		}
		next := route{
			provider: g.Routes[i].Provider,
			address:  Address{Token: string(g.Routes[i].Address), Keys: g.Routes[i].Keys},
		}
		for j := range routes {
			if routes[j].provider == next.provider && routes[j].address.Token == next.address.Token {
				return nil, refuse(pushwire.BadAddress, "routes %d and %d are the same", j+1, i+1)
			}
		}
		if err := provider.Check(next.address); err != nil {
			return nil, refuse(pushwire.BadAddress, "route %d: %v", i+1, err)
		}
		if r.linked(next.provider) && next.address.Token != string(key[:]) {
			return nil, refuse(pushwire.BadAddress, "route %d: the address must be the registration key that signs the request", i+1)
		}
		routes = append(routes, next)
	}
	return routes, nil
}

func (r *registry) lifetime(seconds uint64) time.Duration {
	if seconds == 0 || seconds > uint64(r.limits.Lifetime/time.Second) {
		return r.limits.Lifetime
	}
	return time.Duration(seconds) * time.Second
}

// admit finds room for a new registration: the oldest one that was never
// confirmed gives way. old is the tombstone of the same key, or nil.
func (r *registry) admit(rec, old *record) ([]edit, error) {
	edits := []edit{{next: rec}}
	if old != nil {
		// The id of an ended registration is never used again.
		edits = append([]edit{{old: old, reason: reasonAnew}}, edits...)
	}
	if r.count[classFresh] >= r.limits.Unconfirmed || r.count[classFresh]+r.count[classLive] >= r.limits.Registrations {
		oldest, err := r.oldest(classFresh)
		if err != nil {
			return nil, err
		}
		if oldest == nil {
			return nil, refuse(pushwire.Limit, "this server has no room for another registration")
		}
		r.m.ended.WithLabelValues("evicted").Inc()
		edits = append(edits, edit{old: oldest, reason: reasonEvicted})
	}
	return edits, nil
}

// oldest returns the record of a class that is due first, nil if there is none.
func (r *registry) oldest(class byte) (*record, error) {
	it := r.store.scan(prefixDue, class)
	defer it.Release()
	for it.Next() {
		key := it.Key()
		rec, err := r.read(registrationID(binary.BigEndian.Uint64(key[len(key)-8:])), true)
		if err != nil || rec != nil {
			return rec, err
		}
	}
	return nil, it.Error()
}

// checkShares checks the limits of what registrations share: the source, the
// group, the handle, the addresses. One that never proved an address gives way
// to another that claims it, so that nobody can keep an owner out.
func (r *registry) checkShares(rec, old *record) ([]edit, error) {
	if r.channels+len(rec.channels) > r.limits.AllChannels {
		return nil, refuse(pushwire.Limit, "this server has no room for more channels")
	}
	for _, share := range []struct {
		prefix byte
		f      [16]byte
		max    int
		used   bool
		text   string
	}{
		{prefixSource, rec.source, r.limits.PerSource, true, "too many registrations came from your network"},
		{prefixGroup, r.fingerprint(prefixGroup, rec.group), r.limits.PerGroup, len(rec.group) > 0, "too many devices share this group id"},
		{prefixHandle, r.fingerprint(prefixHandle, rec.handle), r.limits.PerHandle, len(rec.handle) > 0, "too many registrations share this handle; choose another"},
	} {
		if !share.used {
			continue
		}
		all, err := r.members(share.prefix, share.f, share.max)
		if err != nil {
			return nil, err
		}
		if others(all, rec.id) >= share.max {
			return nil, refuse(pushwire.Limit, "%s", share.text)
		}
	}
	var edits []edit
	for i := range rec.routes {
		all, err := r.members(prefixAddress, r.addressFingerprint(&rec.routes[i]), r.limits.PerAddress)
		if err != nil {
			return nil, err
		}
		for n := others(all, rec.id); n >= r.limits.PerAddress; n-- {
			gives, err := r.claimant(all, rec.id, edits)
			if err != nil {
				return nil, err
			}
			if gives == nil {
				return nil, refuse(pushwire.Limit, "route %d: too many registrations claim this address", i+1)
			}
			r.m.ended.WithLabelValues("evicted").Inc()
			edits = append(edits, edit{old: gives, reason: reasonEvicted})
		}
	}
	return edits, nil
}

func others(all []member, self registrationID) int {
	n := len(all)
	for _, m := range all {
		if m.id == self {
			n--
		}
	}
	return n
}

// claimant returns the oldest fresh registration of all that is not removed yet.
func (r *registry) claimant(all []member, self registrationID, removed []edit) (*record, error) {
	for _, m := range all {
		if m.id == self || slices.ContainsFunc(removed, func(e edit) bool { return e.old.id == m.id }) {
			continue
		}
		rec, err := r.read(m.id, true)
		if err != nil {
			return nil, err
		}
		if rec != nil && rec.fresh {
			return rec, nil
		}
	}
	return nil, nil
}

// dedupe leaves out edits of a record that was edited before.
func dedupe(edits []edit) []edit {
	seen := make(map[registrationID]bool)
	return slices.DeleteFunc(edits, func(e edit) bool {
		if e.old == nil {
			return false
		}
		defer func() { seen[e.old.id] = true }()
		return seen[e.old.id]
	})
}

// digestOf tells two requests of one version apart.
func digestOf(body pushwire.RequestBody) ([32]byte, error) {
	b, err := pushwire.EncodeRequest(pushwire.Request{Body: body})
	if err != nil {
		return [32]byte{}, refuse(pushwire.CodeFor(err), "the request cannot be read")
	}
	return sha256.Sum256(b), nil
}

// randomID is 24 random characters of base64url.
func randomID() string {
	var b [18]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}
