package client

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"

	"whisperpush/pushext/pushwire"
)

// maxShown is how many hashes of shown envelopes are remembered, to tell a
// repeated push from a new message. It is more than a server keeps waiting for
// one device.
const maxShown = 2048

// state is what a Device keeps between runs.
type state struct {
	RegistrationKey hexutil.Bytes `json:"registrationKey"` // secp256k1, private
	SealKey         hexutil.Bytes `json:"sealKey"`         // X25519, private
	SealPublicKey   hexutil.Bytes `json:"sealPublicKey"`

	Version uint64 `json:"version"`         // of the newest change asked for
	Active  bool   `json:"active"`          // the server confirmed the registration
	Plain   bool   `json:"plain,omitempty"` // wake-ups were asked for in the plain form

	Seq    uint64        `json:"seq"`              // of the newest wake-up opened
	Since  uint32        `json:"since,omitempty"`  // when the history begins, Unix seconds, before there is a cursor
	Cursor hexutil.Bytes `json:"cursor,omitempty"` // where the history was read to (mailwire.Cursor)

	Shown []common.Hash `json:"shown,omitempty"` // oldest first, at most maxShown
}

func loadState(ctx context.Context, store Store) (*state, error) {
	text, err := store.Load(ctx)
	if err != nil {
		return nil, fmt.Errorf("client: reading device state: %w", err)
	}
	s := new(state)
	if len(text) == 0 {
		return s, s.create(time.Now())
	}
	if err := json.Unmarshal(text, s); err != nil {
		return nil, fmt.Errorf("client: device state is damaged, remove it to start anew: %w", err)
	}
	if _, err := s.identity(); err != nil {
		return nil, fmt.Errorf("client: device state is damaged, remove it to start anew: %w", err)
	}
	return s, nil
}

// create makes the keys of a new device.
func (s *state) create(now time.Time) error {
	key, err := crypto.GenerateKey()
	if err != nil {
		return fmt.Errorf("client: registration key: %w", err)
	}
	private, public, err := pushwire.NewSealKey()
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	*s = state{RegistrationKey: crypto.FromECDSA(key), SealKey: private, SealPublicKey: public, Since: uint32(now.Unix())}
	return nil
}

func (s *state) identity() (*ecdsa.PrivateKey, error) { return crypto.ToECDSA(s.RegistrationKey) }

func (s *state) save(ctx context.Context, store Store) error {
	text, err := json.MarshalIndent(s, "", "\t")
	if err == nil {
		err = store.Save(ctx, text)
	}
	if err != nil {
		return fmt.Errorf("client: keeping device state: %w", err)
	}
	return nil
}

// nextVersion returns a version greater than every one before, also than those
// of a state that was lost: the time in milliseconds.
func (s *state) nextVersion(now time.Time) uint64 {
	s.Version = max(s.Version+1, uint64(now.UnixMilli()))
	return s.Version
}

// show remembers an envelope as shown and says whether it was not before.
func (s *state) show(hash common.Hash) bool {
	if slices.Contains(s.Shown, hash) {
		return false
	}
	s.Shown = append(s.Shown, hash)
	if excess := len(s.Shown) - maxShown; excess > 0 {
		s.Shown = slices.Delete(s.Shown, 0, excess)
	}
	return true
}

// NewGroup returns a random group id for Registration.Group.
func NewGroup() []byte {
	id := make([]byte, pushwire.MaxGroup)
	rand.Read(id)
	return id
}
