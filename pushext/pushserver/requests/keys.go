package requests

import (
	"crypto/ecdsa"
	"errors"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// MaxFormerKeys is how many former push keys a server knows. A request for none of its keys is
// tried with each of them.
const MaxFormerKeys = pushwire.MaxSuccessions

// FormerKey is a push key that a server had.
type FormerKey struct {
	Key   *ecdsa.PrivateKey
	Until time.Time // when its overlap ended, or will; from then on its requests are refused
	// Succession leads to the key behind it. nil: the key may be known to others, and
	// nothing that it signs is to be believed.
	Succession *pushwire.Succession
}

// Keys are the push keys of a server.
type Keys struct {
	Current *ecdsa.PrivateKey
	Former  []FormerKey // oldest first, at most MaxFormerKeys
}

// Overlap reports whether the key before the current one is still answered to, and until when.
func (k Keys) Overlap(now time.Time) (until time.Time, ok bool) {
	if len(k.Former) == 0 {
		return time.Time{}, false
	}
	last := k.Former[len(k.Former)-1]
	return last.Until, last.Succession != nil && now.Before(last.Until)
}

// Announced is the key that everybody knows who knows one that is answered to: during an overlap
// the former one, with the succession behind it.
func (k Keys) Announced(now time.Time) (key *ecdsa.PrivateKey, successions []pushwire.Succession) {
	if _, ok := k.Overlap(now); !ok {
		return k.Current, nil
	}
	last := k.Former[len(k.Former)-1]
	return last.Key, []pushwire.Succession{*last.Succession}
}

// ownKey is one of a server's keys.
type ownKey struct {
	private    *ecdsa.PrivateKey
	public     [33]byte // compressed
	until      time.Time
	succession *pushwire.Succession
}

// keyring is Keys, the current one first and the oldest last.
type keyring struct {
	Keys
	own []ownKey
}

func newKeyring(k Keys) *keyring {
	r := &keyring{Keys: k, own: []ownKey{{private: k.Current, public: [33]byte(crypto.CompressPubkey(&k.Current.PublicKey))}}}
	for i := len(k.Former) - 1; i >= 0 && len(r.own) <= MaxFormerKeys; i-- {
		f := k.Former[i]
		r.own = append(r.own, ownKey{f.Key, [33]byte(crypto.CompressPubkey(&f.Key.PublicKey)), f.Until, f.Succession})
	}
	return r
}

// open opens a request with the key that it is encrypted to, and returns its number.
func (r *keyring) open(env *whisper.Envelope) (req pushwire.Request, signer *ecdsa.PublicKey, at int, err error) {
	for at = range r.own {
		if req, signer, err = pushwire.OpenRequest(env, r.own[at].private); !errors.Is(err, whisper.ErrCannotOpen) {
			return req, signer, at, err
		}
	}
	return req, signer, 0, err
}

// refuses reports whether the key with a number is not answered to any more.
func (r *keyring) refuses(at int, now time.Time) bool {
	return at > 0 && (at > 1 || !now.Before(r.own[at].until) || r.own[at].succession == nil)
}

// path leads from the key with a number to the current one: none if that is the current one, or
// if a key on the way may be known to others. While there is an overlap who has the current key
// is told of it too: what was signed by the former one is the same server's.
func (r *keyring) path(at int, now time.Time) (path []pushwire.Succession) {
	if _, ok := r.Overlap(now); ok {
		at = max(at, 1)
	}
	for ; at > 0; at-- {
		if r.own[at].succession == nil {
			return nil
		}
		path = append(path, *r.own[at].succession)
	}
	return path
}

// any reports whether something holds of one of the keys. What names a server by a key that it
// had names no other.
func (r *keyring) any(holds func(public [33]byte) bool) bool {
	for i := range r.own {
		if holds(r.own[i].public) {
			return true
		}
	}
	return false
}
