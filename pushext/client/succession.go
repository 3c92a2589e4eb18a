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

// A mailserver may replace its push key. Its replies then carry a succession that both keys
// signed, and the device changes to the next key: first in its store, under the unchanged name
// of the account, and then on the road. After a crash between the two, the device still has the
// former key, which leads it here again.

// current is the push key, compressed, that an account named by its first push key has now.
func (s *state) current(named string) []byte {
	if len(s.PushKey) > 0 {
		return s.PushKey
	}
	key, _ := hex.DecodeString(named) // valid: the device made the name
	return key
}

// successions are those that led to the current push key, oldest first. An entry of the store
// that cannot be decoded is left out, with all before it.
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

// follow moves along a path of verified successions.
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

// replace gives the account the push key that the app says is the server's now. No signature
// joins the two keys, so what the former key signed no longer proves anything.
func (s *state) replace(pushKey []byte) {
	s.PushKey, s.Successions, s.Ledger = bytes.Clone(pushKey), nil, nil
}

// had reports whether a push key is the account's current one, or one that led to it.
func (s *state) had(named string, pushKey []byte) bool {
	return hex.EncodeToString(pushKey) == named || bytes.Equal(s.PushKey, pushKey) ||
		slices.ContainsFunc(s.successions(), func(one pushwire.Succession) bool {
			return bytes.Equal(one.Former[:], pushKey) || bytes.Equal(one.Next[:], pushKey)
		})
}

// named finds an account by push keys, in their order: the account that has the key as its
// name, or that had the key later. If no key has an account, the first key is the name.
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

// signers tells whose signatures count as the server's: those of its push key, and those that
// its former keys made while the server answered to them. The caller holds mu.
func (d *Device) signers() *evidence.Signers {
	signers, err := evidence.NewSigners(d.state.current(d.keep.account), d.state.successions())
	if err != nil {
		signers, _ = evidence.NewSigners(d.state.current(d.keep.account), nil)
	}
	return signers
}

// PushKey is the push key, compressed and in hexadecimal, that the mailserver has now, as far
// as the device knows. It differs from Config.PushKey after the server has replaced its key.
func (d *Device) PushKey() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return hex.EncodeToString(d.state.current(d.keep.account))
}

// publicKey returns the current push key. The caller holds mu.
func (d *Device) publicKey() (*ecdsa.PublicKey, error) {
	return crypto.DecompressPubkey(d.state.current(d.keep.account))
}

// goOn takes the successions of a reply, and reports whether they gave the device another push
// key. If so, that key is in the store. The caller has the turn.
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
		d.state.follow([]pushwire.Succession{*last}) // it began with this key: signatures of the former one count as the server's too
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

// retarget has the existing road use the account's push key.
func (d *Device) retarget() {
	d.mu.Lock()
	key, err := d.publicKey()
	s := d.session
	d.mu.Unlock()
	if err != nil {
		return // cannot happen: the key was verified
	}
	d.server.goOn(key)
	if s != nil {
		s.goOn(key)
	}
}
