package pushwire

import (
	"bytes"
	"crypto/ecdsa"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/crypto"
)

// domainSuccession begins the input of a Succession's signatures.
const domainSuccession = "whisperpush/2 succession"

// MaxSuccessions is how many successions a reply or an offer names. A device that was away
// while more push keys than that came and went must be given the new key by other means.
const MaxSuccessions = 3

// ErrSuccession means that a succession is not signed by both of its keys.
var ErrSuccession = errors.New("pushwire: succession is not signed by both push keys")

// Succession says that a server continues with another push key: [former, next, begun,
// until, signature, consent]. The former key signs it, so that whoever trusts that key
// may trust the next one. The next key signs it too, so that nobody can name a key that
// belongs to another server.
type Succession struct {
	Former, Next [PushKeySize]byte // push keys, compressed
	Begun        uint64            // since when the next key exists, Unix seconds
	Until        uint64            // until when the server answers the former one, Unix seconds
	Signature    [SignatureSize]byte
	Consent      [SignatureSize]byte
}

// NewSuccession makes both keys sign that next follows former.
func NewSuccession(former, next *ecdsa.PrivateKey, begun, until uint64) (Succession, error) {
	s := Succession{
		Former: [PushKeySize]byte(crypto.CompressPubkey(&former.PublicKey)), Next: [PushKeySize]byte(crypto.CompressPubkey(&next.PublicKey)),
		Begun: begun, Until: until,
	}
	signature, err := crypto.Sign(s.digest(), former)
	if err != nil {
		return Succession{}, fmt.Errorf("pushwire: signing a succession: %w", err)
	}
	consent, err := crypto.Sign(s.digest(), next)
	if err != nil {
		return Succession{}, fmt.Errorf("pushwire: signing a succession: %w", err)
	}
	copy(s.Signature[:], signature)
	copy(s.Consent[:], consent)
	return s, nil
}

// digest is what both signatures cover: Keccak-256("whisperpush/2 succession" ‖ former 33 ‖
// next 33 ‖ begun 8 ‖ until 8), numbers big-endian.
func (s *Succession) digest() []byte {
	var times [16]byte
	binary.BigEndian.PutUint64(times[:8], s.Begun)
	binary.BigEndian.PutUint64(times[8:], s.Until)
	return crypto.Keccak256([]byte(domainSuccession), s.Former[:], s.Next[:], times[:])
}

// Verify returns nil if both keys signed the succession, and otherwise an error that wraps
// ErrSuccession.
func (s *Succession) Verify() error {
	switch digest := s.digest(); {
	case s.Former == s.Next:
		return fmt.Errorf("%w: it names one key twice", ErrSuccession)
	case !crypto.VerifySignature(s.Former[:], digest, s.Signature[:]):
		return fmt.Errorf("%w: not by the former one", ErrSuccession)
	case !crypto.VerifySignature(s.Next[:], digest, s.Consent[:]):
		return fmt.Errorf("%w: not by the next one", ErrSuccession)
	}
	return nil
}

// Follow starts at a push key (compressed) and follows the listed successions, oldest first.
// It returns those that lead on from the key; none if there are none for it. The error wraps
// ErrSuccession if one of them is not signed properly.
func Follow(pushKey []byte, listed []Succession) (path []Succession, err error) {
	for i := range listed {
		s := &listed[i]
		if !bytes.Equal(s.Former[:], pushKey) {
			continue
		}
		if err := s.Verify(); err != nil {
			return nil, err
		}
		path = append(path, *s)
		pushKey = s.Next[:]
	}
	return path, nil
}

func (s *Succession) encode(w writer) {
	w.WriteBytes(s.Former[:])
	w.WriteBytes(s.Next[:])
	w.WriteUint64(s.Begun)
	w.WriteUint64(s.Until)
	w.WriteBytes(s.Signature[:])
	w.WriteBytes(s.Consent[:])
}

func readSuccession(r *reader) (s Succession) {
	r.fixed("former push key", s.Former[:])
	r.fixed("next push key", s.Next[:])
	s.Begun = r.uint("begin of a push key")
	s.Until = r.uint("end of a push key")
	r.fixed("signature", s.Signature[:])
	r.fixed("consent", s.Consent[:])
	return s
}

func writeSuccessions(w writer, all []Succession) {
	w.list(func() {
		for i := range all {
			w.list(func() { all[i].encode(w) })
		}
	})
}

func readSuccessions(r *reader) []Succession {
	return items(r, "successions", MaxSuccessions, sublist("succession", readSuccession))
}

// EncodeSuccession returns a single succession, in the form that it has in a reply, to be
// stored.
func EncodeSuccession(s Succession) ([]byte, error) {
	return encode(s.encode)
}

// DecodeSuccession reverses EncodeSuccession. It checks no signature. An error
// wraps ErrMalformed or ErrTooLarge.
func DecodeSuccession(b []byte) (Succession, error) {
	r := newReader(b)
	s := readSuccession(r)
	if r.err != nil {
		return Succession{}, r.err
	}
	return s, nil
}
