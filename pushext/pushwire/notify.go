package pushwire

import (
	"crypto/hmac"
	"crypto/sha256"

	"github.com/ethereum/go-ethereum/common"
)

// NotifyKind says why somebody is to be rung.
type NotifyKind uint8

// Kinds of Notify.
const (
	NotifyMessage NotifyKind = 1 // for an envelope on a topic that the receiver does not register
	NotifyMention NotifyKind = 2 // the receiver is mentioned
)

// Notify rings a receiver for an envelope:
// [handle, holder, hash, kind, proof].
//
// The sender holds a capability, which the receiver minted for him from the
// root of his registration and gave to him in private, with the handle. It is
// HMAC-SHA256(root, holder), and the proof is HMAC-SHA256(capability, hash ‖
// kind). Any key may sign the request. The reply is OK whether or not anybody
// is rung: a sender cannot find out that he was muted or revoked.
type Notify struct {
	Handle [HandleSize]byte
	Holder string // 1 to MaxHolder bytes, a name that means something to the receiver alone
	Hash   common.Hash
	Type   NotifyKind
	Proof  [ProofSize]byte
}

// Capability mints a holder's capability from a receiver's root.
func Capability(root []byte, holder string) [ProofSize]byte {
	mac := hmac.New(sha256.New, root)
	mac.Write([]byte(holder))
	return [ProofSize]byte(mac.Sum(nil))
}

// NewNotify makes the request of a sender who holds a capability.
func NewNotify(capability [ProofSize]byte, handle [HandleSize]byte, holder string, hash common.Hash, kind NotifyKind) *Notify {
	n := &Notify{Handle: handle, Holder: holder, Hash: hash, Type: kind}
	n.Proof = n.prove(capability)
	return n
}

// Verify says whether the proof was made with the capability that the holder
// has from root. It takes the same time for every wrong proof.
func (n *Notify) Verify(root []byte) bool {
	want := n.prove(Capability(root, n.Holder))
	return hmac.Equal(want[:], n.Proof[:])
}

func (n *Notify) prove(capability [ProofSize]byte) [ProofSize]byte {
	mac := hmac.New(sha256.New, capability[:])
	mac.Write(n.Hash[:])
	mac.Write([]byte{byte(n.Type)})
	return [ProofSize]byte(mac.Sum(nil))
}

// Kind is KindNotify.
func (*Notify) Kind() RequestKind { return KindNotify }

func (n *Notify) encode(w writer) {
	w.WriteBytes(n.Handle[:])
	w.WriteString(n.Holder)
	w.WriteBytes(n.Hash[:])
	w.WriteUint64(uint64(n.Type))
	w.WriteBytes(n.Proof[:])
}

func (n *Notify) decode(r *reader) {
	r.fixed("handle", n.Handle[:])
	n.Holder = string(r.bytes("holder", MaxHolder))
	r.fixed("hash", n.Hash[:])
	n.Type = NotifyKind(r.small("kind", 0xff))
	r.fixed("proof", n.Proof[:])
	switch {
	case r.err != nil:
	case n.Holder == "":
		r.fail(ErrMalformed, "notify without a holder")
	case n.Type != NotifyMessage && n.Type != NotifyMention:
		r.fail(ErrUnsupported, "notify kind %d", n.Type)
	}
}
