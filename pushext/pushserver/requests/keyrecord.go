package requests

import (
	"crypto/ecdsa"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"

	"whisperpush/pushext/pushwire"
)

// KeyRecord is the written form of Keys, as JSON. It is as secret as they are.
type KeyRecord struct {
	Current string            `json:"current,omitempty"` // secret, in hexadecimal
	Next    string            `json:"next,omitempty"`    // the same
	Former  []FormerKeyRecord `json:"former"`            // oldest first
}

// FormerKeyRecord is the written form of a FormerKey.
type FormerKeyRecord struct {
	Key   string    `json:"key"`   // secret, in hexadecimal
	Next  string    `json:"next"`  // the public key that followed it, compressed, in hexadecimal
	Until time.Time `json:"until"` // when its overlap ends, or ended
	// Succession is in the form of pushwire.EncodeSuccession; empty: others may know the key.
	Succession hexutil.Bytes `json:"succession,omitempty"`
}

// Record returns the written form of k.
func (k Keys) Record() (KeyRecord, error) {
	r := KeyRecord{Current: secretHex(k.Current), Former: []FormerKeyRecord{}}
	if k.Next != nil {
		r.Next = secretHex(k.Next)
	}
	for i, f := range k.Former {
		behind := k.Current
		if i+1 < len(k.Former) {
			behind = k.Former[i+1].Key
		}
		one := FormerKeyRecord{Key: secretHex(f.Key), Next: PublicHex(behind), Until: f.Until}
		if f.Succession != nil {
			var err error
			if one.Succession, err = pushwire.EncodeSuccession(*f.Succession); err != nil {
				return KeyRecord{}, err
			}
		}
		r.Former = append(r.Former, one)
	}
	return r, nil
}

// Keys reverses Record. It accepts only a complete record.
func (r KeyRecord) Keys() (k Keys, err error) {
	if len(r.Former) > MaxFormerKeys {
		return Keys{}, fmt.Errorf("there are %d former push keys, at most %d", len(r.Former), MaxFormerKeys)
	}
	if k.Current, err = crypto.HexToECDSA(r.Current); err != nil {
		return Keys{}, errors.New("the push key is not a secp256k1 private key")
	}
	if r.Next != "" {
		if k.Next, err = crypto.HexToECDSA(r.Next); err != nil {
			return Keys{}, errors.New("the next push key is not a secp256k1 private key")
		}
	}
	for _, f := range r.Former {
		one := FormerKey{Until: f.Until}
		if one.Key, err = crypto.HexToECDSA(f.Key); err != nil {
			return Keys{}, errors.New("a former push key is not a secp256k1 private key")
		}
		if len(f.Succession) > 0 {
			s, err := pushwire.DecodeSuccession(f.Succession)
			if err == nil {
				err = s.Verify()
			}
			if err != nil {
				return Keys{}, fmt.Errorf("what a former push key signed is damaged: %w", err)
			}
			one.Succession = &s
		}
		k.Former = append(k.Former, one)
	}
	return k, nil
}

// LeadsTo reports whether key is the one that followed the last of the former keys.
func (r KeyRecord) LeadsTo(key *ecdsa.PrivateKey) bool {
	return len(r.Former) > 0 && r.Former[len(r.Former)-1].Next == PublicHex(key)
}

// PublicHex returns the public half of a push key, compressed, in hexadecimal.
func PublicHex(key *ecdsa.PrivateKey) string {
	return hex.EncodeToString(crypto.CompressPubkey(&key.PublicKey))
}

func secretHex(key *ecdsa.PrivateKey) string { return hex.EncodeToString(crypto.FromECDSA(key)) }
