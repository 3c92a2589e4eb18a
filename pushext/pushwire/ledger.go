package pushwire

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"whisperpush/whisper"
)

// A server can be asked for a ledger of a registration: a hash chain over the envelopes
// that it matched for it, and a signed head of that chain with each reply. A head says
// that every envelope in the archive's log after sequence Since and up to Through, on one
// of the topics that Topics commits to, is in the chain. So a server that keeps quiet
// about an envelope has two ways. Either it lied in a head; then everybody who has its
// word that the envelope is in its archive can prove the lie to anybody. Or it must end
// the ledger and begin another one, which shows in Since.

const (
	// LedgerSecretSize is the length of a ledger's secret, in bytes.
	LedgerSecretSize = 16
	// SignatureSize is the length of a signature r ‖ s, in bytes.
	SignatureSize = 64
	// MaxTold is the largest number of hashes that a Ledger tells.
	MaxTold = MaxFetch
)

const (
	domainLedger = "whisperpush/2 ledger"
	domainTopics = "whisperpush/2 ledger topics"
)

// LedgerQuery asks for a registration's ledger: [secret, count].
type LedgerQuery struct {
	// Secret is the secret of the ledger of which the device has a head; empty: it has none.
	Secret []byte
	// Count is that head's count. The hashes of the chain up to it are not told again.
	Count uint64
}

func (q *LedgerQuery) encode(w writer) {
	w.WriteBytes(q.Secret)
	w.WriteUint64(q.Count)
}

func readLedgerQuery(r *reader) (q LedgerQuery) {
	q.Secret = r.maybe("secret of a ledger", LedgerSecretSize)
	q.Count = r.uint("count of a ledger")
	return q
}

// Head is the part of a ledger that a server signs. It names neither the registration nor a
// topic.
type Head struct {
	Log     []byte      // identity of the archive's log, at most MaxLogID bytes
	Since   uint64      // receive sequence after which the ledger begins
	Begun   uint64      // when the ledger was begun, Unix milliseconds
	Topics  common.Hash // LedgerTopics of the registration's topics
	Through uint64      // receive sequence up to which everything is in the chain, and nothing after it
	At      uint64      // when the head was made, Unix milliseconds
	Count   uint64      // hashes in the chain
	Chain   common.Hash // its value after them
}

func (h *Head) encode(w writer) {
	w.WriteBytes(h.Log)
	w.WriteUint64(h.Since)
	w.WriteUint64(h.Begun)
	w.WriteBytes(h.Topics[:])
	w.WriteUint64(h.Through)
	w.WriteUint64(h.At)
	w.WriteUint64(h.Count)
	w.WriteBytes(h.Chain[:])
}

func (h *Head) decode(r *reader) {
	h.Log = r.bytes("log", MaxLogID)
	h.Since = r.uint("since")
	h.Begun = r.uint("begun")
	r.fixed("topics", h.Topics[:])
	h.Through = r.uint("through")
	h.At = r.uint("at")
	h.Count = r.uint("count")
	r.fixed("chain", h.Chain[:])
}

// digest is what the signature covers, for the ledger with an ID: Keccak-256("whisperpush/2
// ledger" ‖ RLP [id, log, since, begun, topics, through, at, count, chain]).
func (h *Head) digest(id common.Hash) []byte {
	b, err := encode(func(w writer) {
		w.WriteBytes(id[:])
		h.encode(w)
	})
	if err != nil {
		panic(err) // it has a fixed size
	}
	return crypto.Keccak256([]byte(domainLedger), b)
}

// Ledger is a signed head and the last hashes of the chain: [secret, log, since, begun,
// topics, through, at, count, chain, signature, [hash, …]]. A hash that the reply's body
// also names is replaced by its number there, as a Fetch is mostly told of envelopes that
// it asked for.
type Ledger struct {
	Secret [LedgerSecretSize]byte
	Head
	Signature [SignatureSize]byte
	// Told are the last hashes of the chain, in its order, at most MaxTold: those after
	// the count of the query, or as many of them as the server still knows.
	Told []common.Hash
}

// named returns the hashes of a body that a ledger refers to by their number.
func named(body ReplyBody) []common.Hash {
	if b, ok := body.(*FetchReply); ok {
		return slices.Concat(b.Sent, b.Missing, b.Later)
	}
	return nil
}

func (l *Ledger) encode(w writer, body ReplyBody) {
	w.WriteBytes(l.Secret[:])
	l.Head.encode(w)
	w.WriteBytes(l.Signature[:])
	named := named(body)
	w.list(func() {
		for i := range l.Told {
			if at := slices.Index(named, l.Told[i]); at >= 0 {
				w.WriteUint64(uint64(at))
			} else {
				w.WriteBytes(l.Told[i][:])
			}
		}
	})
}

// readLedger reads a ledger after a body.
func readLedger(r *reader, body ReplyBody) (l Ledger) {
	r.fixed("secret of a ledger", l.Secret[:])
	l.Head.decode(r)
	r.fixed("signature", l.Signature[:])
	named := named(body)
	l.Told = items(r, "hashes", MaxTold, func(r *reader) (h common.Hash) {
		b := r.bytes("hash", hashSize)
		switch {
		case len(b) == hashSize:
			copy(h[:], b)
		case len(b) > 1 || len(b) == 1 && b[0] == 0:
			r.fail(ErrMalformed, "hash of %d bytes is neither one nor a number", len(b))
		default:
			at := 0
			if len(b) == 1 {
				at = int(b[0])
			}
			if at >= len(named) {
				r.fail(ErrMalformed, "hash %d of the %d in the body", at, len(named))
				return h
			}
			h = named[at]
		}
		return h
	})
	if uint64(len(l.Told)) > l.Count {
		r.fail(ErrMalformed, "ledger of %d hashes tells %d", l.Count, len(l.Told))
	}
	return l
}

// absent reports whether l is all zeros: such a ledger stands in a reply that has no ledger
// but later elements.
func (l *Ledger) absent() bool {
	return l.Secret == [LedgerSecretSize]byte{} && l.Signature == [SignatureSize]byte{}
}

// Sign signs the head with the push key.
func (l *Ledger) Sign(pushKey *ecdsa.PrivateKey) error {
	signature, err := crypto.Sign(l.Head.digest(LedgerID(l.Secret)), pushKey)
	if err != nil {
		return fmt.Errorf("pushwire: signing the head of a ledger: %w", err)
	}
	copy(l.Signature[:], signature)
	return nil
}

// SignedBy reports whether the push key (compressed) signed the head of the ledger with an
// ID.
func (h *Head) SignedBy(pushKey []byte, id common.Hash, signature [SignatureSize]byte) bool {
	return crypto.VerifySignature(pushKey, h.digest(id), signature[:])
}

// NewLedgerSecret draws the secret of a ledger.
func NewLedgerSecret() (secret [LedgerSecretSize]byte) {
	rand.Read(secret[:])
	return secret
}

// LedgerID names a ledger: SHA-256("whisperpush/2 ledger" ‖ secret).
func LedgerID(secret [LedgerSecretSize]byte) common.Hash {
	return sha256.Sum256(append([]byte(domainLedger), secret[:]...))
}

// ChainBegin is the value of a ledger's chain before its first hash: the ledger's ID.
func ChainBegin(id common.Hash) common.Hash { return id }

// ChainNext is the value of a ledger's chain after a hash: SHA-256(value ‖ hash).
func ChainNext(value, hash common.Hash) common.Hash {
	return sha256.Sum256(append(value[:], hash[:]...))
}

// TopicSalt hides a topic in a ledger's commitment from everybody who does not know
// the ledger's secret: HMAC-SHA256(key = secret, topic).
func TopicSalt(secret [LedgerSecretSize]byte, t whisper.Topic) (salt common.Hash) {
	mac := hmac.New(sha256.New, secret[:])
	mac.Write(t[:])
	mac.Sum(salt[:0])
	return salt
}

// TopicLeaf commits to a topic: SHA-256(salt ‖ topic).
func TopicLeaf(salt common.Hash, t whisper.Topic) common.Hash {
	return sha256.Sum256(append(salt[:], t[:]...))
}

// TopicLeaves returns the leaves of topics in ascending order.
func TopicLeaves(secret [LedgerSecretSize]byte, topics []whisper.Topic) []common.Hash {
	leaves := make([]common.Hash, len(topics))
	for i, t := range topics {
		leaves[i] = TopicLeaf(TopicSalt(secret, t), t)
	}
	slices.SortFunc(leaves, func(a, b common.Hash) int { return bytes.Compare(a[:], b[:]) })
	return leaves
}

// LedgerTopics commits to the topics of leaves, in their order:
// SHA-256("whisperpush/2 ledger topics" ‖ leaf ‖ …).
func LedgerTopics(leaves []common.Hash) (sum common.Hash) {
	h := sha256.New()
	h.Write([]byte(domainTopics))
	for i := range leaves {
		h.Write(leaves[i][:])
	}
	h.Sum(sum[:0])
	return sum
}
