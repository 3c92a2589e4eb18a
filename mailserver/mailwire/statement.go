package mailwire

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
)

const (
	// SignatureSize is the length of a signature r ‖ s, in bytes.
	SignatureSize = 64
	proofSize     = 8 + 8 + SignatureSize
)

// Proof makes an end mark a statement that the mailserver cannot deny: what it sent is in its
// log, after After and not after the mark's cursor. It says nothing about what was not sent.
type Proof struct {
	After     uint64 // receive sequence after which the answer begins
	At        uint64 // when it was signed, Unix milliseconds
	Signature [SignatureSize]byte
}

// Statement is what a Proof signs.
type Statement struct {
	Log    LogID
	After  uint64 // receive sequence, exclusive
	UpTo   uint64 // receive sequence, inclusive; all of Hashes are in the log between After and UpTo
	At     uint64 // Unix milliseconds
	Hashes []common.Hash
}

// StatementOf returns what the proof of an end mark signs, if sent are the envelopes sent
// before it.
func StatementOf(end Cursor, p *Proof, sent []common.Hash) Statement {
	return Statement{Log: end.Log, After: p.After, UpTo: end.Seq, At: p.At, Hashes: sent}
}

// Digest is what the signature covers: Keccak-256("whisperpush/2 mail" ‖ log 16 ‖ after 8 ‖
// up to 8 ‖ at 8 ‖ SHA-256(hash ‖ …)).
func (s *Statement) Digest() []byte {
	b := append([]byte("whisperpush/2 mail"), s.Log[:]...)
	b = binary.BigEndian.AppendUint64(b, s.After)
	b = binary.BigEndian.AppendUint64(b, s.UpTo)
	b = binary.BigEndian.AppendUint64(b, s.At)
	sent := sha256.New()
	for i := range s.Hashes {
		sent.Write(s.Hashes[i][:])
	}
	return crypto.Keccak256(sent.Sum(b))
}

// SignedBy reports whether a key (compressed) signed the statement.
func (s *Statement) SignedBy(key []byte, signature [SignatureSize]byte) bool {
	return crypto.VerifySignature(key, s.Digest(), signature[:])
}

func (p *Proof) bytes() []byte {
	b := binary.BigEndian.AppendUint64(nil, p.After)
	b = binary.BigEndian.AppendUint64(b, p.At)
	return append(b, p.Signature[:]...)
}

func parseProof(b []byte) *Proof {
	return &Proof{After: binary.BigEndian.Uint64(b), At: binary.BigEndian.Uint64(b[8:]), Signature: [SignatureSize]byte(b[16:])}
}
