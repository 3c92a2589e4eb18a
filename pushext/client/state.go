package client

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"

	"whisperpush/mailserver/mailwire"
	"whisperpush/pushext/client/evidence"
	"whisperpush/pushext/pushwire"
)

// stateFormat is the number of the format of the text in the Store. Texts from
// before 2027 have no number, and are the state of one account.
const stateFormat = 2

// accounts is the text in the Store: what the device keeps for each mailserver.
type accounts struct {
	Format   int                        `json:"format"`
	Accounts map[string]json.RawMessage `json:"accounts"` // by the first push key, compressed, in hexadecimal
}

// state is what a Device keeps between runs for one mailserver.
type state struct {
	RegistrationKey hexutil.Bytes `json:"registrationKey"` // secp256k1, private
	SealKey         hexutil.Bytes `json:"sealKey"`         // X25519, private
	SealPublicKey   hexutil.Bytes `json:"sealPublicKey"`

	// PushKey is the server's, compressed, if it is not the key that the account
	// is named by. Successions are those that led to it
	// (pushwire.EncodeSuccession), oldest first.
	PushKey     hexutil.Bytes   `json:"pushKey,omitempty"`
	Successions []hexutil.Bytes `json:"successions,omitempty"`

	Installation string `json:"installation,omitempty"` // Config.Installation, hashed

	Version uint64 `json:"version"`         // of the newest change requested
	Active  bool   `json:"active"`          // the server confirmed the registration
	Plain   bool   `json:"plain,omitempty"` // wake-ups come in the plain form
	// Asked is the other form, if a Register asked for it and got no reply. Until
	// there is a reply, wake-ups may come in either form.
	Asked form `json:"asked,omitempty"`

	Epoch  uint64        `json:"epoch,omitempty"`  // in which Seq counts, as the server names it; 0: not known
	Seq    uint64        `json:"seq"`              // of the newest wake-up opened
	Since  uint32        `json:"since,omitempty"`  // the first start by the device's own clock, Unix seconds
	Begin  uint32        `json:"begin,omitempty"`  // the same by the server's clock; 0: not known yet
	Heard  uint32        `json:"heard,omitempty"`  // the latest answer by the device's own clock, Unix seconds
	Cursor hexutil.Bytes `json:"cursor,omitempty"` // how far the history was read (mailwire.Cursor)
	Behind bool          `json:"behind,omitempty"` // something beyond Cursor may exist that no wake-up will name

	Known marks `json:"known,omitzero"` // messages that were shown, and envelopes that were read elsewhere
	// Elsewhere are envelopes that were read elsewhere, on a device with
	// Config.Complete, which gives them to the app all the same.
	Elsewhere marks              `json:"elsewhere,omitzero"`
	Waiting   waitingList        `json:"waiting,omitzero"`    // what the app has not confirmed
	Dismissed []common.Hash      `json:"dismissed,omitempty"` // dismissals whose arrival the server does not know of, the oldest first
	Ledger    *ledgerState       `json:"ledger,omitempty"`    // what the server has signed about what it owes; replaced as a whole
	Evidence  *evidence.Evidence `json:"evidence,omitempty"`  // that it withheld something
	Unproved  int                `json:"unproved,omitempty"`  // see Device.Unproved
	Grouped   bool               `json:"grouped,omitempty"`   // the registration shares a group with other devices
	Shown     []common.Hash      `json:"shown,omitempty"`     // envelopes, from before 2027; moved to Known
}

// form is a form of wake-ups; empty: none.
type form string

const (
	sealedForm form = "sealed"
	plainForm  form = "plain"
)

func formOf(plain bool) form {
	if plain {
		return plainForm
	}
	return sealedForm
}

// newState makes the keys of a new device.
func newState(now time.Time) (*state, error) {
	key, err := crypto.GenerateKey()
	if err != nil {
		return nil, fmt.Errorf("client: registration key: %w", err)
	}
	private, public, err := pushwire.NewSealKey()
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	return &state{RegistrationKey: crypto.FromECDSA(key), SealKey: private, SealPublicKey: public, Since: uint32(now.Unix())}, nil
}

// errDamaged says that the text in the Store is not that of a device.
var errDamaged = errors.New("client: device state is damaged, remove it to start anew")

// readAccounts reads the text of a Store. A text from before 2027 becomes the
// account of the server whose push key it is first used with.
func readAccounts(text []byte, account string) (accounts, error) {
	all := accounts{Format: stateFormat, Accounts: make(map[string]json.RawMessage)}
	if len(text) == 0 {
		return all, nil
	}
	var got accounts
	if err := json.Unmarshal(text, &got); err != nil {
		return all, fmt.Errorf("%w: %w", errDamaged, err)
	}
	switch {
	case got.Format > stateFormat:
		return all, fmt.Errorf("client: device state is of a later version, format %d (> %d)", got.Format, stateFormat)
	case got.Format == 0:
		all.Accounts[account] = text
	case got.Accounts != nil:
		all.Accounts = got.Accounts
	}
	return all, nil
}

func readState(text []byte) (*state, error) {
	s := new(state)
	if err := json.Unmarshal(text, s); err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	if _, err := s.identity(); err != nil {
		return nil, fmt.Errorf("%w: registration key: %w", errDamaged, err)
	}
	if len(s.SealKey) != pushwire.SealKeySize {
		return nil, fmt.Errorf("%w: seal key of %d bytes", errDamaged, len(s.SealKey))
	}
	if _, err := crypto.DecompressPubkey(s.PushKey); len(s.PushKey) > 0 && err != nil {
		return nil, fmt.Errorf("%w: push key: %w", errDamaged, err)
	}
	if _, err := mailwire.ParseCursor(s.Cursor); err != nil {
		return nil, fmt.Errorf("%w: history cursor: %w", errDamaged, err)
	}
	for _, hash := range s.Shown {
		s.Known.add(markOf(hash))
	}
	s.Shown = nil
	if s.Ledger != nil && !s.Ledger.sound() {
		s.Ledger = nil
	}
	if excess := len(s.Waiting) - maxWaiting; excess > 0 {
		s.Waiting, s.Behind = s.Waiting[excess:], true
	}
	return s, nil
}

func (s *state) identity() (*ecdsa.PrivateKey, error) { return crypto.ToECDSA(s.RegistrationKey) }

// account is the compressed registration key.
func (s *state) account() ([pushwire.PushKeySize]byte, error) {
	key, err := s.identity()
	if err != nil {
		return [pushwire.PushKeySize]byte{}, err
	}
	return [pushwire.PushKeySize]byte(crypto.CompressPubkey(&key.PublicKey)), nil
}

// nextVersion returns a version greater than all before, including those of a
// state that was lost: the time in milliseconds.
func (s *state) nextVersion(now time.Time) uint64 {
	s.Version = max(s.Version+1, uint64(now.UnixMilli()))
	return s.Version
}

// errReplaced says that another process, or a person, gave the device in the
// store new keys.
var errReplaced = errors.New("client: the device was begun anew in the store, by another process or by hand; open it again")

// merge takes over what another process did to the state in the store since base.
// theirs is what is in the store now.
func (s *state) merge(base, theirs *state) error {
	if !bytes.Equal(s.RegistrationKey, theirs.RegistrationKey) {
		return errReplaced
	}
	// Sequence numbers are compared only within one epoch. A new epoch comes from
	// the process that changed it.
	if s.Epoch == theirs.Epoch {
		s.Seq = max(s.Seq, theirs.Seq)
	} else if s.Epoch == base.Epoch {
		s.Epoch, s.Seq = theirs.Epoch, theirs.Seq
	}
	s.Version = max(s.Version, theirs.Version)
	if bytes.Equal(s.PushKey, base.PushKey) && len(s.Successions) <= len(theirs.Successions) || len(s.PushKey) == 0 {
		s.PushKey, s.Successions = theirs.PushKey, theirs.Successions // otherwise it changed here
	}
	s.Active = changed(s.Active, base.Active, theirs.Active)
	s.Plain = changed(s.Plain, base.Plain, theirs.Plain)
	s.Asked = changed(s.Asked, base.Asked, theirs.Asked)
	s.Installation = changed(s.Installation, base.Installation, theirs.Installation)
	s.Heard = max(s.Heard, theirs.Heard)
	s.Begin = changed(s.Begin, base.Begin, theirs.Begin)
	s.Behind = changed(s.Behind, base.Behind, theirs.Behind)
	s.Cursor = later(s.Cursor, base.Cursor, theirs.Cursor)
	s.Ledger = newerLedger(s.Ledger, base.Ledger, theirs.Ledger)
	s.Unproved = max(s.Unproved, theirs.Unproved)
	if s.Evidence == nil {
		s.Evidence = theirs.Evidence
	}
	s.Grouped = changed(s.Grouped, base.Grouped, theirs.Grouped)

	for _, k := range theirs.Known.list {
		s.Known.add(k)
	}
	for _, k := range theirs.Elsewhere.list {
		s.Elsewhere.add(k)
	}
	s.Dismissed = slices.DeleteFunc(s.Dismissed, func(h common.Hash) bool { // the other process told the server
		return slices.Contains(base.Dismissed, h) && !slices.Contains(theirs.Dismissed, h)
	})
	for _, h := range theirs.Dismissed {
		if !slices.Contains(s.Dismissed, h) && !slices.Contains(base.Dismissed, h) { // else this process told it
			s.Dismissed = append(s.Dismissed, h)
		}
	}
	s.Dismissed = newest(s.Dismissed)
	ours := s.Waiting
	s.Waiting = nil
	for _, w := range theirs.Waiting {
		if at := ours.find(w.Hash); at >= 0 || base.Waiting.find(w.Hash) < 0 { // else this process dropped it
			if at >= 0 && w.Message == (mark{}) {
				w.Message = ours[at].Message
			}
			s.Waiting = append(s.Waiting, w)
		}
	}
	for _, w := range ours {
		if s.Waiting.find(w.Hash) < 0 && base.Waiting.find(w.Hash) < 0 { // else the other process dropped it
			s.Waiting = append(s.Waiting, w)
		}
	}
	s.Waiting = slices.DeleteFunc(s.Waiting, func(w waiting) bool {
		return s.Known.has(markOf(w.Hash)) || w.Message != (mark{}) && s.Known.has(w.Message)
	})
	if excess := len(s.Waiting) - maxWaiting; excess > 0 {
		s.Waiting, s.Behind = s.Waiting[excess:], true
	}
	return nil
}

// changed returns this process's value if it changed it, and otherwise the other
// process's.
func changed[T comparable](ours, base, theirs T) T {
	if ours != base {
		return ours
	}
	return theirs
}

// later returns the cursor that is further along the log. What either process
// found on the way is among what waits.
func later(ours, base, theirs []byte) []byte {
	a, errA := mailwire.ParseCursor(ours)
	b, errB := mailwire.ParseCursor(theirs)
	if errA == nil && errB == nil && a.Log == b.Log && !a.IsZero() && !b.IsZero() {
		if b.Seq > a.Seq {
			return theirs
		}
		return ours
	}
	if !bytes.Equal(ours, base) {
		return ours
	}
	return theirs
}

// NewGroup returns a random group id for Registration.Group.
func NewGroup() []byte {
	id := make([]byte, pushwire.MaxGroup)
	rand.Read(id)
	return id
}
