package pushwire

import (
	"crypto/hpke"
	"testing"

	"github.com/ethereum/go-ethereum/common"
)

// BenchmarkSeal is why a Sealer is kept, and why the key agreement is not left to the
// standard library.
func BenchmarkSeal(b *testing.B) {
	_, public, err := NewSealKey()
	if err != nil {
		b.Fatal(err)
	}
	p := Payload{Kind: Messages, Seq: 1, Hashes: make([]common.Hash, MaxHashes)}
	b.Run("kept", func(b *testing.B) {
		s, err := NewSealer(public)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if _, err := s.Seal(p); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("payload", func(b *testing.B) {
		for b.Loop() {
			if _, err := SealPayload(p, public); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("standard-library", func(b *testing.B) {
		kem, kdf, aead := suite()
		key, err := kem.NewPublicKey(public)
		if err != nil {
			b.Fatal(err)
		}
		plain := make([]byte, PlainSize)
		for b.Loop() {
			if _, err := hpke.Seal(key, kdf, aead, []byte(sealInfo), plain); err != nil {
				b.Fatal(err)
			}
		}
	})
}
