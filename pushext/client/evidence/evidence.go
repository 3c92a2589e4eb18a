// Package evidence holds what convicts a mailserver that withheld a wake-up, for anybody to
// verify from bytes alone. It consists of three statements that the server signed, and an
// envelope:
//
//   - two heads of one ledger, or one of a ledger from its beginning: between them lie
//     exactly these hashes (pushwire.Head);
//   - an end mark: the envelope is in the archive's log, in a range of sequences of which
//     the heads say that all that matched is in the ledger (mailwire.Statement);
//   - the envelope, on a topic that the ledger is about, is not among the hashes.
//
// docs/privacy.md says what that proves, what it cannot prove, and what it reveals about a
// device.
package evidence

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"

	"whisperpush/mailserver/mailwire"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// Limits of a file, checked before it is verified.
const (
	// MaxSize is the longest file, in bytes.
	MaxSize = 8 << 20
	// MaxHashes is how many hashes may lie between two heads, and how many topics a ledger
	// may have.
	MaxHashes = 1 << 16
	// MaxSuccessions is how many push keys of the server may precede the one that is named.
	MaxSuccessions = 8
)

// ErrUnproved says that a file convicts nobody. The text says what does not fit.
var ErrUnproved = errors.New("evidence: it proves nothing")

func unproved(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrUnproved}, args...)...)
}

// Evidence is the content of a file.
type Evidence struct {
	PushKey hexutil.Bytes `json:"pushKey"` // of the convicted server, compressed
	// Successions led to PushKey, oldest first, each as encoded by
	// pushwire.EncodeSuccession, at most MaxSuccessions. Empty: that key alone signed
	// everything.
	Successions []hexutil.Bytes `json:"successions,omitempty"`

	Ledger common.Hash   `json:"ledger"` // its ID
	Leaves []common.Hash `json:"leaves"` // of the ledger's topics, ascending
	Salt   common.Hash   `json:"salt"`   // of the envelope's topic

	Before *Head         `json:"before,omitempty"` // nil: the ledger's beginning
	Hashes []common.Hash `json:"hashes"`           // hashes in the ledger between Before and After
	After  Head          `json:"after"`

	Page     Page          `json:"page"`
	Envelope hexutil.Bytes `json:"envelope"` // as it was archived, its RLP
}

// Head is a signed head of a ledger.
type Head struct {
	Log       hexutil.Bytes `json:"log"`
	Since     uint64        `json:"since"`
	Begun     uint64        `json:"begun"`
	Topics    common.Hash   `json:"topics"`
	Through   uint64        `json:"through"`
	At        uint64        `json:"at"`
	Count     uint64        `json:"count"`
	Chain     common.Hash   `json:"chain"`
	Signature hexutil.Bytes `json:"signature"`
}

// HeadOf returns the head of a ledger.
func HeadOf(l *pushwire.Ledger) Head {
	return Head{
		Log: bytes.Clone(l.Log), Since: l.Since, Begun: l.Begun, Topics: l.Topics, Through: l.Through, At: l.At, Count: l.Count, Chain: l.Chain,
		Signature: bytes.Clone(l.Signature[:]),
	}
}

// SignedBy reports whether a push key, compressed, signed the head for the ledger with an
// ID.
func (h *Head) SignedBy(pushKey []byte, ledger common.Hash) bool {
	if len(h.Signature) != pushwire.SignatureSize || len(h.Log) > pushwire.MaxLogID {
		return false
	}
	wire := pushwire.Head{Log: h.Log, Since: h.Since, Begun: h.Begun, Topics: h.Topics, Through: h.Through, At: h.At, Count: h.Count, Chain: h.Chain}
	return wire.SignedBy(pushKey, ledger, [pushwire.SignatureSize]byte(h.Signature))
}

// Page is a signed answer to a request for mail.
type Page struct {
	Log       hexutil.Bytes `json:"log"`
	After     uint64        `json:"after"`
	UpTo      uint64        `json:"upTo"`
	At        uint64        `json:"at"`
	Hashes    []common.Hash `json:"hashes"`
	Signature hexutil.Bytes `json:"signature"`
}

// PageOf returns the answer that consists of these envelopes and an end mark with a proof.
func PageOf(end mailwire.Cursor, p *mailwire.Proof, hashes []common.Hash) Page {
	return Page{Log: bytes.Clone(end.Log[:]), After: p.After, UpTo: end.Seq, At: p.At, Hashes: hashes, Signature: bytes.Clone(p.Signature[:])}
}

// SignedBy reports whether a push key, compressed, signed the answer.
func (p *Page) SignedBy(pushKey []byte) bool {
	if len(p.Signature) != mailwire.SignatureSize || len(p.Log) != mailwire.LogIDSize {
		return false
	}
	s := mailwire.Statement{Log: mailwire.LogID(p.Log), After: p.After, UpTo: p.UpTo, At: p.At, Hashes: p.Hashes}
	return s.SignedBy(pushKey, [mailwire.SignatureSize]byte(p.Signature))
}

// Encode returns the file.
func (e *Evidence) Encode() ([]byte, error) { return json.MarshalIndent(e, "", "\t") }

// Decode reads a file. It proves nothing until Verify succeeds.
func Decode(file []byte) (*Evidence, error) {
	if len(file) > MaxSize {
		return nil, fmt.Errorf("evidence: a file of %d bytes, at most %d", len(file), MaxSize)
	}
	e := new(Evidence)
	if err := json.Unmarshal(file, e); err != nil {
		return nil, fmt.Errorf("evidence: this is no such file: %w", err)
	}
	return e, nil
}

// Verify returns nil if the server with PushKey is convicted: it signed that everything
// that matched between the heads is among Hashes, and that the envelope, which matched and
// is not among them, was in its archive there. The server's offer says whether PushKey is
// the server's. Any other result wraps ErrUnproved.
func (e *Evidence) Verify() error {
	switch {
	case len(e.PushKey) != pushwire.PushKeySize:
		return unproved("push key of %d bytes, not %d", len(e.PushKey), pushwire.PushKeySize)
	case len(e.Successions) > MaxSuccessions:
		return unproved("more than %d push keys before the one that is named", MaxSuccessions)
	case len(e.Hashes) > MaxHashes, len(e.Leaves) > MaxHashes, len(e.Page.Hashes) > MaxHashes:
		return unproved("more than %d hashes", MaxHashes)
	}
	signers, err := e.signers()
	if err != nil {
		return err
	}
	if err := e.ledger(signers); err != nil {
		return err
	}
	envelope, err := whisper.DecodeEnvelope(e.Envelope)
	if err != nil {
		return unproved("the envelope: %v", err)
	}
	if !slices.Contains(e.Leaves, pushwire.TopicLeaf(e.Salt, envelope.Topic)) {
		return unproved("the ledger is not about the envelope's topic")
	}
	if slices.Contains(e.Hashes, envelope.Hash()) {
		return unproved("the server told of the envelope")
	}
	return e.page(signers, envelope.Hash())
}

// ledger checks the heads, and that the hashes lie between them.
func (e *Evidence) ledger(signers *Signers) error {
	after := &e.After
	if !signers.Head(after, e.Ledger) {
		return unproved("the later head is not signed by the push key")
	}
	count, value := uint64(0), pushwire.ChainBegin(e.Ledger)
	if before := e.Before; before != nil {
		switch {
		case !signers.Head(before, e.Ledger):
			return unproved("the earlier head is not signed by the push key")
		case !bytes.Equal(before.Log, after.Log), before.Since != after.Since, before.Begun != after.Begun, before.Topics != after.Topics:
			return unproved("the heads are not of one ledger")
		}
		count, value = before.Count, before.Chain
	}
	for _, h := range e.Hashes {
		count, value = count+1, pushwire.ChainNext(value, h)
	}
	switch {
	case count != after.Count || value != after.Chain:
		return unproved("the hashes do not lead to the later head")
	case pushwire.LedgerTopics(e.Leaves) != after.Topics:
		return unproved("the topics are not those of the ledger")
	}
	return nil
}

// page checks that an envelope is in the log between the heads.
func (e *Evidence) page(signers *Signers, hash common.Hash) error {
	from := e.After.Since
	if e.Before != nil {
		from = e.Before.Through
	}
	switch p := &e.Page; {
	case !signers.Page(p):
		return unproved("the answer is not signed by the push key")
	case !slices.Contains(p.Hashes, hash):
		return unproved("the answer does not have the envelope")
	case !bytes.Equal(p.Log, e.After.Log):
		return unproved("the answer is of another log than the ledger")
	case p.After < from || p.UpTo > e.After.Through:
		return unproved("the envelope is behind %d and not behind %d of the log, and the heads are about what is behind %d and not behind %d",
			p.After, p.UpTo, from, e.After.Through)
	case p.At < e.After.Begun || p.At > e.After.At:
		// The answer may be from another state of the log, before or after it was restored.
		return unproved("the answer was not signed between the beginning of the ledger and the later head")
	}
	return nil
}
