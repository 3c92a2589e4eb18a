package registry

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"time"

	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// SealedOnly is what a device is told if it asks for the plain form where that is
// refused.
const SealedOnly = "this server shows push services no hashes: register with a seal key, and not plain"

// Register creates or replaces the registration of a key. It returns what is on disk now,
// with the errands to be sent to addresses that need proof. The same request again
// changes nothing and returns no errands. An error is the disk's, or a
// *registration.Refusal, which leaves everything as it was and comes with the record
// held, if any.
func (r *Registry) Register(key [33]byte, source whisper.Source, g *pushwire.Register, now time.Time) (rec *Record, errands []*registration.Errand, err error) {
	routes, err := r.checkRoutes(key, g)
	if err != nil {
		return nil, nil, err
	}
	if g.Plain && r.terms.Load().limits.SealedOnly {
		return nil, nil, registration.Refuse(pushwire.Disabled, SealedOnly)
	}
	if !g.Plain {
		if err := pushwire.CheckSealKey(g.SealKey); err != nil {
			return nil, nil, registration.Refuse(pushwire.Malformed, "the seal key is not an X25519 public key that can be sealed to")
		}
	}
	digest, err := digestOf(g)
	if err != nil {
		return nil, nil, err
	}
	var paid Payment
	if len(g.Voucher) > 0 {
		if paid, err = r.admission.Redeem(g.Voucher); err != nil {
			return nil, nil, err
		}
	}

	err = r.apply(func(c *decision) error {
		rec, errands, err = c.register(key, source, g, routes, paid, digest, now)
		return err
	})
	if err != nil {
		r.release(errands)
		return rec, nil, err
	}
	return rec, errands, nil
}

// register decides. With an error it returns the record held, and the errands
// that are not to be sent.
func (c *decision) register(key [33]byte, source whisper.Source, g *pushwire.Register, routes []registration.Route, paid Payment, digest [32]byte, now time.Time) (held *Record, errands []*registration.Errand, err error) {
	old, err := c.lookup(key)
	if err != nil {
		return nil, nil, err
	}
	if old != nil {
		switch {
		case g.Version > old.Version:
		case g.Version == old.Version && old.digest == digest && old.Live():
			return old, nil, nil
		default:
			return old, nil, registration.Refuse(pushwire.Stale, "version %d is not above %d, which the server holds", g.Version, old.Version)
		}
	}
	rec := &Record{
		Registration: registration.Registration{
			Key: key, Version: g.Version, Registered: now, Expires: now.Add(c.lifetime(g.Lifetime)),
			Routes: routes, SealKey: g.SealKey, Plain: g.Plain, Group: g.Group,
		},
		Channels: newChannels(g.Channels),
		digest:   digest,
		source:   c.fingerprint(prefixSource, []byte(source)),
		Root:     g.Preferences.Root,
		handle:   g.Preferences.Handle,
		Revoked:  g.Preferences.Revoked,
	}
	if len(g.Chain) > 0 {
		rec.Chain = g.Version
	}
	before := old // what it renews, nil if it is new
	switch {
	case old == nil:
		c.create(rec)
	case !old.Live():
		before = nil
		c.put(edit{old: old, reason: reasonAnew}) // the id of one that ended is never used again
		c.create(rec)
	default:
		rec.ID, rec.Collapse, rec.Proved = old.ID, old.Collapse, old.Proved
		for i := range rec.Routes {
			rec.Routes[i].Proven = slices.ContainsFunc(old.Routes, func(was registration.Route) bool {
				return was.Proven && was.Equal(&rec.Routes[i])
			})
		}
		if err := c.moveSource(rec, old); err != nil {
			return old, nil, err
		}
	}
	if err := c.pay(rec, before, paid, now); err != nil {
		return old, nil, err
	}
	if err := c.checkShares(rec, before); err != nil {
		return old, nil, err
	}
	if errands, err = c.challenge(rec, source, now); err != nil {
		return old, nil, err
	}
	c.decideState(rec, now)
	c.put(edit{old: before, next: rec})
	c.startChain(rec, g.Chain)
	if err := c.makeRoom(rec, before); err != nil {
		return old, errands, err
	}
	return rec, errands, nil
}

// startChain keeps the start of the chain that a registration was given, if any, until
// its first wake-up.
func (c *decision) startChain(rec *Record, start []byte) {
	if rec.Chain == 0 {
		return
	}
	key := registration.ChainKey(rec.ID, rec.Chain)
	c.set(key, c.store.Seal(key, start))
	c.after = append(c.after, func() { c.ends.Started(rec.ID, rec.Chain, registration.Start(start)) })
}

// create gives a new registration its id and its collapse secret.
func (c *decision) create(rec *Record) {
	rec.ID, rec.Collapse = c.next, randomID()
	c.counting(func(sign int) { c.next += registration.ID(sign) * c.step() })
	c.set(KeyNextID, binary.BigEndian.AppendUint64(nil, uint64(c.next)))
}

// step is how far apart the ids are.
func (r *Registry) step() registration.ID {
	if r.shard == nil {
		return 1
	}
	return registration.ID(r.shard.Count)
}

// checkRoutes checks what needs no look at other registrations.
func (r *Registry) checkRoutes(key [33]byte, g *pushwire.Register) ([]registration.Route, error) {
	if len(g.Routes) > r.terms.Load().limits.Routes {
		return nil, registration.Refuse(pushwire.Limit, "%d routes, at most %d", len(g.Routes), r.terms.Load().limits.Routes)
	}
	if len(g.Channels) > r.terms.Load().limits.Channels {
		return nil, registration.Refuse(pushwire.Limit, "%d channels, at most %d", len(g.Channels), r.terms.Load().limits.Channels)
	}
	routes := make([]registration.Route, 0, len(g.Routes))
	for i := range g.Routes {
		provider := r.terms.Load().providers[g.Routes[i].Provider]
		if provider == nil {
			return nil, registration.Refuse(pushwire.UnknownProvider, "route %d: this server has no provider of that name", i+1)
		}
		next := registration.Route{
			Provider: g.Routes[i].Provider,
			Address:  pushext.Address{Token: string(g.Routes[i].Address), Keys: g.Routes[i].Keys},
		}
		if err := provider.Check(next.Address); err != nil {
			return nil, registration.Refuse(pushwire.BadAddress, "route %d: %v", i+1, err)
		}
		next.Address = r.canonical(&next)
		if at := slices.IndexFunc(routes, next.LeadsTo); at >= 0 {
			return nil, registration.Refuse(pushwire.BadAddress, "routes %d and %d are the same", at+1, i+1)
		}
		if r.linked(next.Provider) && next.Address.Token != string(key[:]) {
			return nil, registration.Refuse(pushwire.BadAddress, "route %d: the address must be the registration key that signs the request", i+1)
		}
		routes = append(routes, next)
	}
	return routes, nil
}

func (r *Registry) lifetime(seconds uint64) time.Duration {
	if seconds == 0 || seconds > uint64(r.terms.Load().limits.Lifetime/time.Second) {
		return r.terms.Load().limits.Lifetime
	}
	return time.Duration(seconds) * time.Second
}

// digestOf tells two requests of one version apart.
func digestOf(body pushwire.RequestBody) ([32]byte, error) {
	b, err := pushwire.EncodeRequest(pushwire.Request{Body: body})
	if err != nil {
		return [32]byte{}, registration.Refuse(pushwire.CodeFor(err), "the request cannot be read")
	}
	return sha256.Sum256(b), nil
}

// randomID is 24 random characters of base64url.
func randomID() string {
	var b [18]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}
