package registry

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"time"

	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushwire"
)

const (
	// maxRoots bounds the roots that share a handle: each Notify for it tries the
	// registrations of all of them.
	maxRoots = 16
	// maxSourceHoldings bounds the sources whose holdings are remembered.
	maxSourceHoldings = 4096
)

// checkShares checks what a registration shares with others: the group, the handle, the
// addresses. Only what it did not have before is checked, so that a renewal that does not
// grow is never refused for a limit that others have reached. old is the live
// registration before it, nil if there is none.
func (c *decision) checkShares(rec, old *Record) error {
	if len(rec.Group) > 0 && (old == nil || !bytes.Equal(old.Group, rec.Group)) {
		all, err := c.members(prefixGroup, c.fingerprint(prefixGroup, rec.Group), c.terms.Load().limits.PerGroup)
		if err != nil {
			return err
		}
		elsewhere, err := c.elsewhere(prefixGroup, c.fingerprint(prefixGroup, rec.Group), c.terms.Load().limits.PerGroup)
		if err != nil {
			return err
		}
		if len(others(all, rec.ID))+len(elsewhere) >= c.terms.Load().limits.PerGroup {
			return registration.Refuse(pushwire.Limit, "too many devices share this group id")
		}
	}
	if len(rec.handle) > 0 && (old == nil || !bytes.Equal(old.handle, rec.handle) || !bytes.Equal(old.Root, rec.Root)) {
		if err := c.checkHandle(rec); err != nil {
			return err
		}
	}
	for i := range rec.Routes {
		if old != nil && slices.ContainsFunc(old.Routes, rec.Routes[i].LeadsTo) {
			continue
		}
		if err := c.checkAddress(rec, i); err != nil {
			return err
		}
	}
	return nil
}

func others(all []member, self registration.ID) []member {
	return slices.DeleteFunc(all, func(m member) bool { return m.id == self })
}

// checkHandle checks the registrations that share a handle. Whoever was given a handle
// may register it, so only those with the same root, the owner's own, count together. A
// few other roots may share it, and one whose registrations are all newcomers gives way.
func (c *decision) checkHandle(rec *Record) error {
	all, err := c.members(prefixHandle, c.fingerprint(prefixHandle, rec.handle), math.MaxInt)
	if err != nil {
		return err
	}
	mine := c.rootFingerprint(rec)
	byRoot := make(map[[16]byte][]registration.ID)
	var roots [][16]byte // by the age of their oldest
	for _, m := range others(all, rec.ID) {
		root, err := c.rootOf(m)
		if err != nil {
			return err
		}
		if byRoot[root] == nil {
			roots = append(roots, root)
		}
		byRoot[root] = append(byRoot[root], m.id)
	}
	elsewhere, err := c.elsewhere(prefixHandle, c.fingerprint(prefixHandle, rec.handle), maxRoots*c.terms.Load().limits.PerHandle)
	if err != nil {
		return err
	}
	same := len(byRoot[mine])
	for _, root := range elsewhere {
		if bytes.Equal(root, mine[:]) {
			same++
		}
	}
	if same >= c.terms.Load().limits.PerHandle {
		return registration.Refuse(pushwire.Limit, "too many registrations share this handle; choose another")
	}
	if byRoot[mine] != nil || len(roots) < maxRoots {
		return nil
	}
	for _, root := range roots {
		if !slices.ContainsFunc(byRoot[root], func(id registration.ID) bool { return !c.isNewcomer(id) }) {
			for _, id := range byRoot[root] {
				if err := c.evict(id); err != nil {
					return err
				}
			}
			return nil
		}
	}
	return registration.Refuse(pushwire.Limit, "too many roots share this handle; choose another")
}

func (r *Registry) isNewcomer(id registration.ID) bool {
	_, is := r.newcomers.byID[id]
	return is
}

// rootOf is the fingerprint of the root of a registration that was found by its handle.
func (c *decision) rootOf(m member) ([16]byte, error) {
	if len(m.value) == 16 {
		return [16]byte(m.value), nil
	}
	rec, err := c.read(m.id, false)
	if err != nil || rec == nil {
		return [16]byte{}, err
	}
	return c.rootFingerprint(rec), nil
}

// checkAddress checks the registrations that claim an address. One that has not proven it
// gives way, whatever else it has proven, so that nobody can keep an owner out.
func (c *decision) checkAddress(rec *Record, at int) error {
	for {
		all, err := c.members(prefixAddress, c.addressFingerprint(&rec.Routes[at]), math.MaxInt)
		if err != nil {
			return err
		}
		if all = others(all, rec.ID); len(all) < c.terms.Load().limits.PerAddress {
			return nil
		}
		gives, err := c.claimant(all, &rec.Routes[at])
		if err != nil {
			return err
		}
		if gives == nil {
			return registration.Refuse(pushwire.Limit, "route %d: too many registrations have this address", at+1)
		}
		if !gives.Proved {
			if err := c.evict(gives.ID); err != nil {
				return err
			}
			continue
		}
		next := gives.without(&rec.Routes[at])
		if len(next.Routes) == 0 {
			next.die(reasonEvicted)
		}
		c.put(edit{old: gives, next: next})
	}
}

// claimant returns the one of all that has not proven an address and has waited longest
// for the code: a claim whose code has expired is worth nothing any more. nil says that
// all have proven it.
func (c *decision) claimant(all []member, to *registration.Route) (gives *Record, err error) {
	var until time.Time
	for _, m := range all {
		if len(m.value) == 1 && m.value[0] == 1 {
			continue // it owns the address
		}
		rec, err := c.read(m.id, true)
		if err != nil {
			return nil, err
		}
		if rec == nil {
			continue
		}
		at := slices.IndexFunc(rec.Routes, to.LeadsTo)
		if at < 0 || rec.Routes[at].Proven {
			continue
		}
		claimed := time.Time{}
		for _, challenge := range rec.challenges {
			if challenge.route == at {
				claimed = challenge.until
			}
		}
		if gives == nil || claimed.Before(until) {
			gives, until = rec, claimed
		}
	}
	return gives, nil
}

// moveSource counts a renewal for the network it comes from, if that has room;
// otherwise it stays counted where it was.
func (c *decision) moveSource(rec, old *Record) error {
	if rec.source == old.source {
		return nil
	}
	n, err := c.held(rec.source)
	if err != nil {
		return err
	}
	full := n.registrations >= c.registrationShare() || !rec.Proved && c.newcomers.of(rec.source) >= c.terms.Load().limits.UnconfirmedPerSource
	if full || n.channels+c.newcomers.channelsOf(rec.source)+len(rec.Channels) > c.channelShare() {
		rec.source = old.source
	}
	return nil
}

// registrationShare is how many registrations a source may hold, and channelShare how
// many channels: as many as are free once it has them. So neither ever runs out: if n
// sources take all they get, each has one part of n + 1, and one part is left, which a
// source that has none yet may halve. What newcomers hold counts as free, because they
// give way.
func (c *decision) registrationShare() int {
	return min(c.terms.Load().limits.PerSource, c.terms.Load().limits.Registrations-c.count[classLive])
}

func (c *decision) channelShare() int {
	return c.terms.Load().limits.AllChannels - c.channels + c.newcomers.channels
}

// checkProof checks its source's share for a registration that was put and has proved its
// first address, because it does not give way any more.
func (c *decision) checkProof(rec *Record) error {
	have, err := c.held(rec.source)
	if err != nil {
		return err
	}
	if have.registrations-c.newcomers.of(rec.source) > c.registrationShare() {
		return registration.Refuse(pushwire.Limit, "your network has its share of this server's registrations; register from another network")
	}
	if len(rec.Channels) == 0 {
		return nil
	}
	return c.checkChannelShare(rec)
}

// checkChannelShare checks its source's share for a registration that was put and has
// more channels than before, or now holds by proof what it held without.
func (c *decision) checkChannelShare(rec *Record) error {
	have, err := c.held(rec.source)
	if err != nil {
		return err
	}
	n := have.channels
	if !rec.Proved {
		n += c.newcomers.channelsOf(rec.source)
	}
	if n > c.channelShare() {
		return registration.Refuse(pushwire.Limit, "your network has its share of this server's channels; register fewer, or from another network")
	}
	return nil
}

// holding is what the registrations of a source hold.
type holding struct {
	registrations int
	channels      int // of those that proved an address
}

// held is what a source holds.
func (c *decision) held(source [16]byte) (holding, error) {
	if have, known := c.sources.Get(source); known {
		return have, nil
	}
	var have holding
	var before []registration.ID // keys of an earlier version, without a value
	err := c.scan(append([]byte{prefixSource}, source[:]...), func(key, value []byte) bool {
		have.registrations++
		if len(value) == 4 {
			have.channels += int(binary.BigEndian.Uint32(value))
		} else {
			before = append(before, registration.ID(binary.BigEndian.Uint64(key[len(key)-8:])))
		}
		return true
	})
	if err != nil {
		return holding{}, err
	}
	for _, id := range before {
		rec, err := c.read(id, true)
		if err != nil {
			return holding{}, err
		}
		if rec != nil {
			have.channels += rec.provenChannels()
		}
	}
	c.sources.Add(source, have)
	return have, nil
}

// makeRoom makes room for a registration that was put: newcomers give way, first those of
// its own network if that has too many. If its own turn comes, what it asks for is
// refused. old is the live registration before it, nil if there is none.
func (c *decision) makeRoom(rec, old *Record) error {
	if old == nil {
		have, err := c.held(rec.source)
		if err != nil {
			return err
		}
		if have.registrations > c.registrationShare() || !rec.Proved && c.newcomers.of(rec.source) > c.terms.Load().limits.UnconfirmedPerSource {
			if err := c.giveWay(c.newcomers.firstOf(rec.source), rec, "too many registrations came from your network"); err != nil {
				return err
			}
		}
		for c.count[classFresh] > c.terms.Load().limits.Unconfirmed || c.count[classFresh]+c.count[classLive] > c.terms.Load().limits.Registrations {
			if err := c.giveWay(c.newcomers.first(), rec, "this server has no room for another registration"); err != nil {
				return err
			}
		}
	}
	had := 0
	if old != nil {
		had = len(old.Channels)
	}
	if len(rec.Channels) <= had {
		return nil
	}
	if err := c.checkChannelShare(rec); err != nil {
		return err
	}
	const full = "this server has no room for more channels"
	for c.channels > c.terms.Load().limits.AllChannels {
		giving := c.newcomers.channels
		if !rec.Proved {
			giving -= len(rec.Channels)
		}
		if c.channels-giving > c.terms.Load().limits.AllChannels {
			return registration.Refuse(pushwire.Limit, full)
		}
		if err := c.giveWay(c.newcomers.first(), rec, full); err != nil {
			return err
		}
	}
	return nil
}

// giveWay removes the registration whose turn it is, 0 for none, to make room
// for another.
func (c *decision) giveWay(id registration.ID, to *Record, otherwise string) error {
	if id == 0 || id == to.ID {
		return registration.Refuse(pushwire.Limit, "%s", otherwise)
	}
	return c.evict(id)
}

// evict removes a newcomer.
func (c *decision) evict(id registration.ID) error {
	rec, err := c.read(id, true)
	if err != nil {
		return err
	}
	if rec == nil { // damaged; it goes when it is due
		one := c.newcomers.byID[id]
		c.counting(func(sign int) {
			if sign > 0 {
				c.newcomers.remove(id)
			} else {
				c.newcomers.add(one)
			}
		})
		return nil
	}
	c.put(edit{old: rec, reason: reasonEvicted})
	c.after = append(c.after, func() { c.m.ended.WithLabelValues("evicted").Inc() })
	return nil
}
