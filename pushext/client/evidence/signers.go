package evidence

import (
	"bytes"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"

	"whisperpush/pushext/pushwire"
)

// Signers are the push keys of one server: the present one and the former ones, linked by
// successions that both keys signed. A former key counts for what was signed before its
// overlap was over.
type Signers struct {
	pushKey     []byte // compressed
	successions []pushwire.Succession
}

// NewSigners checks that successions, oldest first, lead to a push key, which is compressed.
// The error wraps ErrUnproved.
func NewSigners(pushKey []byte, successions []pushwire.Succession) (*Signers, error) {
	for i := range successions {
		s := &successions[i]
		next := pushKey
		if i+1 < len(successions) {
			next = successions[i+1].Former[:]
		}
		if !bytes.Equal(s.Next[:], next) {
			return nil, unproved("the push keys do not follow each other")
		}
		if err := s.Verify(); err != nil {
			return nil, unproved("the push keys do not follow each other: %v", err)
		}
	}
	return &Signers{pushKey: bytes.Clone(pushKey), successions: successions}, nil
}

// PushKey returns the key that the server has, compressed.
func (s *Signers) PushKey() []byte { return s.pushKey }

// Successions returns the successions that led to it, encoded as in a file.
func (s *Signers) Successions() (all []hexutil.Bytes) {
	for i := range s.successions {
		if b, err := pushwire.EncodeSuccession(s.successions[i]); err == nil { // it has a fixed size
			all = append(all, b)
		}
	}
	return all
}

// Head reports whether one of the keys signed a head of the ledger with an ID.
func (s *Signers) Head(h *Head, ledger common.Hash) bool {
	return s.any(h.At, func(pushKey []byte) bool { return h.SignedBy(pushKey, ledger) })
}

// Page reports whether one of the keys signed an answer.
func (s *Signers) Page(p *Page) bool { return s.any(p.At, p.SignedBy) }

// any reports whether one of the keys signed something at a time, in Unix milliseconds.
func (s *Signers) any(at uint64, signed func(pushKey []byte) bool) bool {
	if signed(s.pushKey) {
		return true
	}
	for i := range s.successions {
		if at/1000 <= s.successions[i].Until && signed(s.successions[i].Former[:]) {
			return true
		}
	}
	return false
}

// signers returns those that a file names.
func (e *Evidence) signers() (*Signers, error) {
	all := make([]pushwire.Succession, len(e.Successions))
	for i, b := range e.Successions {
		var err error
		if all[i], err = pushwire.DecodeSuccession(b); err != nil {
			return nil, unproved("the push keys do not follow each other: %v", err)
		}
	}
	return NewSigners(e.PushKey, all)
}
