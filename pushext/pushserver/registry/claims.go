package registry

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"whisperpush/durable"
	"whisperpush/pushext/pushserver/registration"
)

// claimLife is how long a settled claim is kept: an older claim of another shard may come
// late, and has to be told that it is older.
const claimLife = 24 * time.Hour

func claimKey(address [16]byte) []byte { return append([]byte{prefixClaim}, address[:]...) }

// claim notes that an address was proved here, so that its owner in another shard is
// told, whatever crashes.
func (c *decision) claim(route *registration.Route, now time.Time) {
	if c.shard == nil {
		return
	}
	c.set(claimKey(c.addressFingerprint(route)), append(binary.BigEndian.AppendUint64(nil, registration.Millis(now)), 0))
	c.after = append(c.after, c.shard.Others.Claimed)
}

// claimAt decodes a record at prefixClaim.
func (r *Registry) claimAt(address [16]byte, value []byte) (claim registration.Claim, settled bool, err error) {
	if len(value) != 9 {
		return claim, false, fmt.Errorf("a claim to an address has %d bytes, want 9", len(value))
	}
	return registration.Claim{Address: address, At: binary.BigEndian.Uint64(value), Shard: r.shard.Number}, value[8] == 1, nil
}

// Claims returns the claims that are not settled, up to most of them, and forgets old
// ones that are.
func (r *Registry) Claims(most int, now time.Time) (open []registration.Claim, err error) {
	err = r.apply(func(c *decision) error {
		open = nil
		var old [][]byte
		var failed error
		err := c.scan([]byte{prefixClaim}, func(key, value []byte) bool {
			claim, settled, err := c.claimAt([16]byte(key[1:]), value)
			switch {
			case err != nil:
				failed = err
			case !settled:
				open = append(open, claim)
			case now.Sub(registration.FromMillis(claim.At)) > claimLife:
				old = append(old, slices.Clone(key))
			}
			return failed == nil && len(open) < most
		})
		for _, key := range old {
			c.delete(key)
		}
		return errors.Join(err, failed)
	})
	return open, err
}

// Settled notes that no registration of another shard owns the address of a claim.
func (r *Registry) Settled(claim registration.Claim) error {
	return r.apply(func(c *decision) error {
		held, _, err := c.claimed(claim.Address)
		if err == nil && held == claim {
			c.set(claimKey(claim.Address), append(binary.BigEndian.AppendUint64(nil, claim.At), 1))
		}
		return err
	})
}

// claimed returns the claim of this shard to an address, zero if there is none.
func (c *decision) claimed(address [16]byte) (claim registration.Claim, settled bool, err error) {
	value, err := c.value(claimKey(address))
	if errors.Is(err, durable.ErrNotFound) {
		return claim, false, nil
	}
	if err != nil {
		return claim, false, fmt.Errorf("read a claim to an address: %w", err)
	}
	return c.claimAt(address, value)
}

// Yield takes an address that another shard claims from its owner here, if there is one.
// If the address was claimed here later, Yield returns that claim, and the other shard is
// to yield.
func (r *Registry) Yield(to registration.Claim) (later *registration.Claim, err error) {
	err = r.apply(func(c *decision) error {
		later = nil
		held, _, err := c.claimed(to.Address)
		if err != nil {
			return err
		}
		if held != (registration.Claim{}) {
			if to.Before(held) {
				later = &held
				return nil
			}
			c.delete(claimKey(to.Address))
		}
		owners, err := c.members(prefixAddress, to.Address, r.terms.Load().limits.PerAddress+1)
		if err != nil {
			return err
		}
		for _, m := range owners {
			if len(m.value) != 1 || m.value[0] != 1 {
				continue
			}
			loser, err := c.read(m.id, true)
			if err != nil {
				return err
			}
			if loser == nil {
				continue
			}
			at := slices.IndexFunc(loser.Routes, func(route registration.Route) bool {
				return c.addressFingerprint(&route) == to.Address
			})
			if at >= 0 {
				c.lose(loser, &loser.Routes[at])
			}
		}
		return nil
	})
	return later, err
}

// elsewhere returns what other shards have under keys that begin with prefix and a
// fingerprint, at most most of each.
func (r *Registry) elsewhere(prefix byte, f [16]byte, most int) ([][]byte, error) {
	if r.shard == nil {
		return nil, nil
	}
	values, err := r.shard.Others.Values(append([]byte{prefix}, f[:]...), most)
	if err != nil {
		return nil, fmt.Errorf("read what other shards have: %w", err)
	}
	return values, nil
}

// GroupKey is the key under which the group of a registration is filed, nil if it is in
// none.
func (r *Registry) GroupKey(rec *Record) []byte {
	if len(rec.Group) == 0 {
		return nil
	}
	f := r.fingerprint(prefixGroup, rec.Group)
	return append([]byte{prefixGroup}, f[:]...)
}

// Grouped returns the registrations of a group, by the GroupKey of another shard.
func (r *Registry) Grouped(key []byte) (ids []registration.ID, err error) {
	if len(key) != 17 || key[0] != prefixGroup {
		return nil, fmt.Errorf("a group's key has %d bytes, want 17", len(key))
	}
	all, err := r.settled().members(prefixGroup, [16]byte(key[1:]), r.terms.Load().limits.PerGroup)
	for _, m := range all {
		ids = append(ids, m.id)
	}
	return ids, err
}

// HandleKey is the beginning of the keys under which registrations with a handle are
// filed, in all stores that are sealed with the fingerprints of s.
func HandleKey(s interface{ Fingerprint(...[]byte) [16]byte }, handle []byte) []byte {
	f := s.Fingerprint([]byte{prefixHandle}, handle)
	return append([]byte{prefixHandle}, f[:]...)
}

// AddressPrefix is the beginning of the keys under which registrations with an address
// are filed; their values are 1 if they own it.
func AddressPrefix(address [16]byte) []byte { return append([]byte{prefixAddress}, address[:]...) }
