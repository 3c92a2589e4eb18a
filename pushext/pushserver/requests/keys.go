package requests

import (
	"crypto/ecdsa"
	"errors"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// MaxFormerKeys is how many former push keys a server knows. A request that opens with none of
// its keys is tried with each of them.
const MaxFormerKeys = pushwire.MaxSuccessions

// FormerKey is a push key that a server had.
type FormerKey struct {
	Key   *ecdsa.PrivateKey
	Until time.Time // when its overlap ended, or will end; requests to it are refused from then on
	// Succession leads to the key after it. nil: others may know the key, and nothing
	// that it signs is to be believed.
	Succession *pushwire.Succession
}

// Keys are the push keys of a server.
type Keys struct {
	Current *ecdsa.PrivateKey
	Former  []FormerKey // oldest first, at most MaxFormerKeys
	// Next is about to replace Current, and may have done so at another server of the same
	// cluster. Requests to it are answered, but nobody is told of it. nil: there is none.
	Next *ecdsa.PrivateKey
}

// Succeed returns the keys with next as the current one from at on. The key before it is still
// answered for the length of overlap. 0: it is refused at once, and nothing that it signs leads
// to the next one, as others may know it.
func (k Keys) Succeed(next *ecdsa.PrivateKey, at time.Time, overlap time.Duration) (Keys, error) {
	former := FormerKey{Key: k.Current, Until: at.Add(overlap).UTC().Round(0)}
	if overlap > 0 {
		s, err := pushwire.NewSuccession(k.Current, next, uint64(at.Unix()), uint64(former.Until.Unix()))
		if err != nil {
			return Keys{}, err
		}
		former.Succession = &s
	}
	list := append(slices.Clone(k.Former), former)
	return Keys{Current: next, Former: list[max(len(list)-MaxFormerKeys, 0):]}, nil
}

// EndOverlap returns the keys with the key before the current one refused from at on, and
// with nothing that leads from it to the current one. There must be such a key.
func (k Keys) EndOverlap(at time.Time) Keys {
	k.Former = slices.Clone(k.Former)
	last := &k.Former[len(k.Former)-1]
	last.Until, last.Succession = at.UTC().Round(0), nil
	return k
}

// Open opens a request with the key that it is encrypted to, and returns that key. The signer
// is nil if there is nobody to answer.
func (k Keys) Open(env *whisper.Envelope) (req pushwire.Request, signer *ecdsa.PublicKey, key *ecdsa.PrivateKey, err error) {
	for _, key = range k.private() {
		if req, signer, err = pushwire.OpenRequest(env, key); !errors.Is(err, whisper.ErrCannotOpen) {
			return req, signer, key, err
		}
	}
	return req, nil, nil, err
}

// private returns all keys in the order in which they are tried: the current one, those before it
// from the newest on, and the next one last.
func (k Keys) private() []*ecdsa.PrivateKey {
	list := []*ecdsa.PrivateKey{k.Current}
	for i := len(k.Former) - 1; i >= 0 && len(list) <= MaxFormerKeys; i-- {
		list = append(list, k.Former[i].Key)
	}
	if k.Next != nil {
		list = append(list, k.Next)
	}
	return list
}

// Overlap reports whether the key before the current one is still answered, and until when.
func (k Keys) Overlap(now time.Time) (until time.Time, ok bool) {
	if len(k.Former) == 0 {
		return time.Time{}, false
	}
	last := k.Former[len(k.Former)-1]
	return last.Until, last.Succession != nil && now.Before(last.Until)
}

// Announced returns the key that is known to everybody who knows any key that is answered:
// during an overlap the former one, with the succession that follows it.
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
	next       bool // it is not current yet
}

// keyring is Keys as a list: the current one first, then those before it, and the next one last.
type keyring struct {
	Keys
	own []ownKey
}

func newKeyring(k Keys) *keyring {
	r := &keyring{Keys: k}
	for at, key := range k.private() {
		own := ownKey{private: key, public: [33]byte(crypto.CompressPubkey(&key.PublicKey)), next: key == k.Next}
		if at > 0 && !own.next {
			f := k.Former[len(k.Former)-at]
			own.until, own.succession = f.Until, f.Succession
		}
		r.own = append(r.own, own)
	}
	return r
}

// open opens a request with the key that it is encrypted to, and returns that key's index.
func (r *keyring) open(env *whisper.Envelope) (req pushwire.Request, signer *ecdsa.PublicKey, at int, err error) {
	req, signer, key, err := r.Open(env)
	for at := range r.own {
		if r.own[at].private == key {
			return req, signer, at, err
		}
	}
	return req, signer, 0, err
}

// of returns the key with a public half, or the current one if there is none.
func (r *keyring) of(public [33]byte) *ownKey {
	for at := range r.own {
		if r.own[at].public == public {
			return &r.own[at]
		}
	}
	return &r.own[0]
}

// refuses reports whether the key at an index is no longer answered.
func (r *keyring) refuses(at int, now time.Time) bool {
	return at > 0 && !r.own[at].next && (at > 1 || !now.Before(r.own[at].until) || r.own[at].succession == nil)
}

// path returns the successions from the key at an index to the current one: none if that is the
// current one, or if others may know a key on the way. During an overlap, a device that has the
// current key gets the last succession too: what the former key signed is the same server's.
func (r *keyring) path(at int, now time.Time) (path []pushwire.Succession) {
	if r.own[at].next {
		return nil
	}
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

// any reports whether holds is true for one of the keys. What names a server by one of its
// former keys names no other server.
func (r *keyring) any(holds func(public [33]byte) bool) bool {
	for i := range r.own {
		if holds(r.own[i].public) {
			return true
		}
	}
	return false
}
