package registry

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/vault"
	"whisperpush/whisper"
)

// Kind says how an entry of the registry is tied to a registration. It is for taking
// registrations to other stores, where they may have other ids.
type Kind byte

// The kinds of entries.
const (
	Unknown    Kind = iota
	Sealed          // of the registration whose id follows the prefix; sealed under its key
	Filed           // of the registration whose id (8) the key ends with
	Named           // of the registration whose id (8) the value is
	Challenged      // of an address
	Spent           // of a voucher
	Claimed         // of an address, in a shard alone
)

// KindOf returns the kind of the entry with a key. Single records, under vault.Meta, are
// Unknown to it.
func KindOf(key []byte) Kind {
	if len(key) == 0 {
		return Unknown
	}
	kind, size := Unknown, 1+16
	switch key[0] {
	case PrefixRecord, PrefixListening:
		kind, size = Sealed, 1+8
	case prefixKey:
		kind = Named
	case prefixAddress, prefixGroup, prefixHandle, prefixSource:
		kind, size = Filed, 1+16+8
	case prefixDue:
		kind, size = Filed, 1+1+8+8
	case prefixChallenged:
		kind = Challenged
	case prefixSpent:
		kind = Spent
	case prefixClaim:
		kind = Claimed
	}
	if len(key) != size {
		return Unknown
	}
	return kind
}

// KeyOf returns the registration key of the record at a key of PrefixRecord. The error says that the record is damaged.
func KeyOf(v *vault.Vault, key, value []byte) ([33]byte, error) {
	plain, err := v.Open(key, value)
	if err != nil {
		return [33]byte{}, err
	}
	r, err := decodeRecord(registration.ID(binary.BigEndian.Uint64(key[1:])), plain)
	if err != nil {
		return [33]byte{}, err
	}
	return r.Key, nil
}

// TopicsOf returns the topics of the record at a key of PrefixListening, whatever their modes are. The error says that the
// record is damaged.
func TopicsOf(v *vault.Vault, key, value []byte) ([]whisper.Topic, error) {
	var r Record
	plain, err := v.Open(key, value)
	if err == nil {
		err = r.decodeListening(plain)
	}
	if err != nil {
		return nil, err
	}
	topics := make([]whisper.Topic, len(r.Channels))
	for i, c := range r.Channels {
		topics[i] = c.Topic
	}
	return topics, nil
}

// PayerOf is what the value of a Spent entry begins with if a registration key has used
// the voucher.
func PayerOf(v *vault.Vault, key [33]byte) [16]byte {
	return v.Fingerprint([]byte{domainPayer}, key[:])
}

// Ease adds up the challenges of an address that several shards have counted.
func Ease(values [][]byte) (sum []byte) {
	for _, value := range values {
		if len(value) == 9 { // see servedSince
			value = slices.Repeat(value[:8], int(value[8]))
		}
		sum = append(sum, value[:len(value)/8*8]...)
	}
	return sum
}

// A claim that was not settled when shards became one store: when the address was proved (8, Unix ms), a 0, and the number
// of the shard that claimed it, which the ids of its registrations are congruent to.
const unionClaim = 8 + 1 + 1

// ErrClaim says that a record of a claim is damaged.
var ErrClaim = errors.New("the record of a claim to an address is damaged")

// Contest is the claims of several shards to one address.
type Contest struct {
	latest registration.Claim
	open   bool
}

// Add adds the entry of a shard.
func (c *Contest) Add(shard int, key, value []byte) error {
	if len(value) != 9 {
		return ErrClaim
	}
	claim := registration.Claim{Address: [16]byte(key[1:]), At: binary.BigEndian.Uint64(value), Shard: shard}
	if c.latest.At == 0 || c.latest.Before(claim) {
		c.latest = claim
	}
	c.open = c.open || value[8] == 0
	return nil
}

// Entry is the entry of a contest in a store of all registrations, for SettleUnion; ok is
// false if nothing is to be settled.
func (c *Contest) Entry() (value []byte, ok bool) {
	return append(binary.BigEndian.AppendUint64(nil, c.latest.At), 0, byte(c.latest.Shard)), c.open
}

// InUnion tells whether the entry of a claim waits for SettleUnion.
func InUnion(value []byte) bool { return len(value) == unionClaim }

// SettleUnion settles the claims that so many shards had not settled when they became one
// store: the registration that claimed an address last keeps it, and the others lose it.
// It is called before any request is answered.
func (r *Registry) SettleUnion(shards int) error {
	for {
		done, err := r.settleUnion(shards)
		if err != nil || done {
			return err
		}
	}
}

func (r *Registry) settleUnion(shards int) (done bool, err error) {
	err = r.apply(func(c *decision) error {
		var claims []registration.Claim
		err := c.scan([]byte{prefixClaim}, func(key, value []byte) bool {
			if len(key) == 1+16 && InUnion(value) {
				claims = append(claims, registration.Claim{Address: [16]byte(key[1:]), At: binary.BigEndian.Uint64(value), Shard: int(value[9])})
			}
			return len(claims) < 64
		})
		if err != nil {
			return fmt.Errorf("read claims to addresses: %w", err)
		}
		done = len(claims) == 0
		for _, claim := range claims {
			if err := c.settleOne(claim, shards); err != nil {
				return err
			}
			c.delete(claimKey(claim.Address))
		}
		return nil
	})
	return done, err
}

// settleOne takes an address from all registrations but those of one shard.
func (c *decision) settleOne(claim registration.Claim, shards int) error {
	owners, err := c.members(prefixAddress, claim.Address, c.terms.Load().limits.PerAddress*shards)
	if err != nil {
		return err
	}
	for _, m := range owners {
		if len(m.value) != 1 || m.value[0] != 1 || int(m.id)%shards == claim.Shard {
			continue
		}
		loser, err := c.read(m.id, true)
		if err != nil {
			return err
		}
		if loser == nil {
			continue
		}
		at := slices.IndexFunc(loser.Routes, func(route registration.Route) bool { return c.addressFingerprint(&route) == claim.Address })
		if at >= 0 {
			c.lose(loser, &loser.Routes[at])
		}
	}
	return nil
}

// NextIDs returns the value of KeyNextID.
func NextIDs(next registration.ID) []byte { return binary.BigEndian.AppendUint64(nil, uint64(next)) }
