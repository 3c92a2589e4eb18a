package pushwire

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"

	"github.com/ethereum/go-ethereum/common"
)

// NotifyKind says why a receiver is to be rung.
type NotifyKind uint8

// Kinds of Notify.
const (
	NotifyMessage NotifyKind = 1 // for an envelope on a topic that the receiver need not register
	NotifyMention NotifyKind = 2 // the receiver is mentioned
)

// Notify rings a receiver for an envelope:
// [handle, holder, hash, kind, proof].
//
// The sender holds a capability. The receiver minted it for them from the root of
// the registration and gave it to them in private, with the handle. It is
// HMAC-SHA256(root, holder), and the proof is HMAC-SHA256(capability, hash ‖ kind ‖
// push key 33), so that it rings at the server it is made for and at no other.
// Senders from before 2027 leave out the push key. Any key may sign the request.
// The reply is OK whether or not anybody is rung, so a sender cannot find out that
// they were muted or revoked.
type Notify struct {
	Handle [HandleSize]byte
	Holder string // 1 to MaxHolder bytes, a name that means something only to the receiver
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

// NewNotify makes the request of a sender who holds a capability, for the
// server with pushKey (compressed).
func NewNotify(capability [ProofSize]byte, handle [HandleSize]byte, holder string, hash common.Hash, kind NotifyKind, pushKey [PushKeySize]byte) *Notify {
	n := &Notify{Handle: handle, Holder: holder, Hash: hash, Type: kind}
	n.Proof = n.prove(capability, pushKey[:])
	return n
}

// Verify reports whether the proof was made with the capability that the holder
// has from root, for the server with pushKey or, as senders from before 2027 do,
// for no server. It takes the same time for every wrong proof.
func (n *Notify) Verify(root []byte, pushKey [PushKeySize]byte) bool {
	capability := Capability(root, n.Holder)
	bound, unbound := n.prove(capability, pushKey[:]), n.prove(capability, nil)
	return subtle.ConstantTimeCompare(bound[:], n.Proof[:])|subtle.ConstantTimeCompare(unbound[:], n.Proof[:]) == 1
}

func (n *Notify) prove(capability [ProofSize]byte, pushKey []byte) [ProofSize]byte {
	mac := hmac.New(sha256.New, capability[:])
	mac.Write(n.Hash[:])
	mac.Write([]byte{byte(n.Type)})
	mac.Write(pushKey)
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
