package client

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"

	"github.com/ethereum/go-ethereum/crypto"

	"whisperpush/pushext/client/evidence"
	"whisperpush/pushext/pushwire"
)

// A mailserver may go on with another push key. Its replies then carry what both keys signed,
// and the device goes on with the next one: first in its store, under the name that the account
// has, and then on the road, so that a crash between the two leaves it at the former key, which
// leads it here again.

// current is the push key, compressed, that an account named by its first one has now.
func (s *state) current(named string) []byte {
	if len(s.PushKey) > 0 {
		return s.PushKey
	}
	key, _ := hex.DecodeString(named) // by whoever named it
	return key
}

// successions are those that led to the current push key, oldest first. What a store has that is
// none is left out, with all before it.
func (s *state) successions() []pushwire.Succession {
	var all []pushwire.Succession
	for _, b := range slices.Backward(s.Successions) {
		one, err := pushwire.DecodeSuccession(b)
		if err != nil {
			break
		}
		all = append(all, one)
	}
	slices.Reverse(all)
	return all
}

// follow goes on along a path of successions, which were verified.
func (s *state) follow(path []pushwire.Succession) {
	for i := range path {
		if b, err := pushwire.EncodeSuccession(path[i]); err == nil { // it has a fixed size
			s.Successions = append(s.Successions, b)
		}
	}
	if excess := len(s.Successions) - evidence.MaxSuccessions; excess > 0 {
		s.Successions = slices.Clone(s.Successions[excess:])
	}
	s.PushKey = bytes.Clone(path[len(path)-1].Next[:])
}

// replace gives the account the push key that the app says is the server's now. Nothing is signed
// that would join the two, so what the former one signed proves nothing any more.
func (s *state) replace(pushKey []byte) {
	s.PushKey, s.Successions, s.Ledger = bytes.Clone(pushKey), nil, nil
}

// had reports whether a push key is the account's, or one that led to it.
func (s *state) had(named string, pushKey []byte) bool {
	return hex.EncodeToString(pushKey) == named || bytes.Equal(s.PushKey, pushKey) ||
		slices.ContainsFunc(s.successions(), func(one pushwire.Succession) bool {
			return bytes.Equal(one.Former[:], pushKey) || bytes.Equal(one.Next[:], pushKey)
		})
}

// named finds the account of the first of some push keys that has one, be it by the key that
// it is named by or by one that it went on to; else the first is the name.
func (a *accounts) named(keys []string) string {
	for _, key := range keys {
		if a.Accounts[key] != nil {
			return key
		}
		pushKey, err := hex.DecodeString(key)
		if err != nil {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(a.Accounts)) {
			var s state
			if json.Unmarshal(a.Accounts[name], &s) == nil && s.had(name, pushKey) {
				return name
			}
		}
	}
	return keys[0]
}

// signers tells whose signatures are the server's: those of its push key, and of keys that it
// had, of what they signed while it answered to them. The caller holds mu.
func (d *Device) signers() *evidence.Signers {
	signers, err := evidence.NewSigners(d.state.current(d.keep.account), d.state.successions())
	if err != nil {
		signers, _ = evidence.NewSigners(d.state.current(d.keep.account), nil)
	}
	return signers
}

// PushKey is the push key, compressed and in hexadecimal, that the mailserver has now, as far as the
// device knows. It is another than Config.PushKey when the server has gone on with another one.
func (d *Device) PushKey() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return hex.EncodeToString(d.state.current(d.keep.account))
}

// publicKey is the same as a key. The caller holds mu.
func (d *Device) publicKey() (*ecdsa.PublicKey, error) {
	return crypto.DecompressPubkey(d.state.current(d.keep.account))
}

// goOn takes the successions of a reply, and reports whether the device has another push key by
// them. It is in the store then. The caller has the turn.
func (d *Device) goOn(ctx context.Context, reply *pushwire.Reply) (moved bool) {
	if len(reply.Successions) == 0 {
		return false
	}
	d.mu.Lock()
	before := d.state.PushKey
	listed, current := d.state.Successions, d.state.current(d.keep.account)
	path, err := pushwire.Follow(current, reply.Successions)
	last := &reply.Successions[len(reply.Successions)-1]
	switch {
	case err != nil:
	case len(path) > 0:
		d.state.follow(path)
	case len(listed) == 0 && bytes.Equal(last.Next[:], current) && last.Verify() == nil:
		d.state.follow([]pushwire.Succession{*last}) // it began with this key: what the former one signed is the server's too
	}
	d.mu.Unlock()
	if err != nil {
		d.logger.Warn("the mailserver names a next push key without both signatures; the device stays with the one that it has", "err", err)
		return false
	}
	if len(path) == 0 {
		return false
	}
	if err := d.save(ctx); err != nil {
		d.mu.Lock()
		d.state.PushKey, d.state.Successions = before, listed
		d.mu.Unlock()
		d.logger.Warn("the mailserver's next push key cannot be kept; the device stays with the one that it has until it can", "err", err)
		return false
	}
	d.logger.Info("the mailserver has another push key, by the word of both; the device goes on with it")
	d.retarget()
	return true
}

// retarget has the road that there is go on with the push key of the account.
func (d *Device) retarget() {
	d.mu.Lock()
	key, err := d.publicKey()
	s := d.session
	d.mu.Unlock()
	if err != nil {
		return // it was verified
	}
	d.server.goOn(key)
	if s != nil {
		s.goOn(key)
	}
}
