package pushwire

import (
	"testing"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"
)

// Whatever of a succession is another, one of its two signatures is not good.
func TestSuccessionIsSignedByBoth(t *testing.T) {
	good := vectorSuccession()
	require.NoError(t, good.Verify())
	third, err := crypto.GenerateKey()
	require.NoError(t, err)
	byThird, err := NewSuccession(third, vectorNextKey, good.Begun, good.Until)
	require.NoError(t, err)
	toThird, err := NewSuccession(vectorPushKey, third, good.Begun, good.Until)
	require.NoError(t, err)
	for name, change := range map[string]func(s *Succession){
		"nothing is signed":       func(s *Succession) { s.Signature, s.Consent = [SignatureSize]byte{}, [SignatureSize]byte{} },
		"the former does not":     func(s *Succession) { s.Signature = byThird.Signature },
		"the next does not":       func(s *Succession) { s.Consent = toThird.Consent },
		"signatures are swapped":  func(s *Succession) { s.Signature, s.Consent = s.Consent, s.Signature },
		"another former":          func(s *Succession) { s.Former = byThird.Former },
		"another next":            func(s *Succession) { s.Next = toThird.Next },
		"it begins later":         func(s *Succession) { s.Begun++ },
		"it lasts longer":         func(s *Succession) { s.Until++ },
		"no point of the curve":   func(s *Succession) { s.Next = [PushKeySize]byte{5} },
		"it follows upon itself":  func(s *Succession) { s.Next = s.Former },
		"times are told together": func(s *Succession) { s.Begun, s.Until = s.Until, s.Begun },
	} {
		t.Run(name, func(t *testing.T) {
			s := good
			change(&s)
			require.ErrorIs(t, s.Verify(), ErrSuccession)
		})
	}
}

func TestFollow(t *testing.T) {
	first, second := vectorPushKey, vectorNextKey
	third, err := crypto.GenerateKey()
	require.NoError(t, err)
	one, two := vectorSuccession(), Succession{}
	two, err = NewSuccession(second, third, 5, 6)
	require.NoError(t, err)
	bad := two
	bad.Consent[7]++
	compressed := func(key [PushKeySize]byte) []byte { return key[:] }
	for name, c := range map[string]struct {
		from   []byte
		listed []Succession
		want   []Succession
		err    error
	}{
		"both":                 {compressed(one.Former), []Succession{one, two}, []Succession{one, two}, nil},
		"from the middle":      {compressed(two.Former), []Succession{one, two}, []Succession{two}, nil},
		"at the end":           {compressed(two.Next), []Succession{one, two}, nil, nil},
		"of another server":    {crypto.CompressPubkey(&vectorRegistrationKey.PublicKey), []Succession{one, two}, nil, nil},
		"none":                 {compressed(one.Former), nil, nil, nil},
		"newest first":         {compressed(one.Former), []Succession{two, one}, []Succession{one}, nil},
		"a bad one on the way": {compressed(one.Former), []Succession{one, bad}, nil, ErrSuccession},
		"a bad one elsewhere":  {compressed(two.Next), []Succession{one, bad}, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Follow(c.from, c.listed)
			require.ErrorIs(t, err, c.err)
			require.Equal(t, c.want, got)
		})
	}
	offer := vectorOffer()
	key, err := offer.PushKey(&first.PublicKey)
	require.NoError(t, err)
	require.Equal(t, one.Former[:], key)
	offer.Successions = []Succession{one}
	key, err = offer.PushKey(&first.PublicKey)
	require.NoError(t, err)
	require.Equal(t, one.Next[:], key)
}

// A reader from before there were successions reads the ledger in front of them, and would take
// an empty list there for a broken one.
func TestReplyWithSuccessionsReadsWithoutThem(t *testing.T) {
	whole := readVectors(t)["confirm-reply-succession"]
	r := newReader(whole)
	var kept int
	for range 9 { // version to receiver
		if len(r.rest) > 0 && r.rest[0] >= 0xc0 {
			r.list("list")
		} else {
			r.bytes("string", MaxPayload)
		}
	}
	kept = len(r.rest)
	ledger := readLedger(r.list("ledger"), nil)
	require.NoError(t, r.err)
	require.Less(t, len(r.rest), kept)
	require.True(t, ledger.absent())
	require.Empty(t, ledger.Told)
	require.False(t, ledger.Head.SignedBy(vectorServer[:], LedgerID(ledger.Secret), ledger.Signature))
}

func FuzzDecodeSuccession(f *testing.F) {
	b, err := EncodeSuccession(vectorSuccession())
	require.NoError(f, err)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := DecodeSuccession(b)
		if err != nil {
			return
		}
		again, err := EncodeSuccession(s)
		require.NoError(t, err)
		got, err := DecodeSuccession(again)
		require.NoError(t, err)
		require.Equal(t, s, got)
		_ = s.Verify()
	})
}
