package pushwire

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
)

// confirmInfo begins what the proof of a Confirm covers.
const confirmInfo = "whisperpush/2 confirm"

// Confirm proves that the device received the challenge sent to its address:
// [code, proof].
//
// The code alone would serve anybody who learns it: a server that a device trusts
// could have the device answer another server's challenge, and pass the code on. So
// a device sends the proof, which is valid for one server and one registration only,
// and zeros for the code:
//
//	HMAC-SHA256(code, "whisperpush/2 confirm" ‖ push key 33 ‖ registration key 33)
//
// Devices from before 2027 send the code and no proof.
type Confirm struct {
	Code  [CodeSize]byte
	Proof []byte // ProofSize bytes, or empty
}

// NewConfirm answers a challenge of the server with pushKey for the
// registration under registrationKey, both compressed.
func NewConfirm(code [CodeSize]byte, pushKey, registrationKey [PushKeySize]byte) *Confirm {
	proof := proveCode(code, pushKey, registrationKey)
	return &Confirm{Proof: proof[:]}
}

// Proves reports whether the device knows the code. It takes the same time
// for every wrong code.
func (c *Confirm) Proves(code [CodeSize]byte, pushKey, registrationKey [PushKeySize]byte) bool {
	if len(c.Proof) == 0 {
		return subtle.ConstantTimeCompare(c.Code[:], code[:]) == 1
	}
	want := proveCode(code, pushKey, registrationKey)
	return hmac.Equal(want[:], c.Proof)
}

func proveCode(code [CodeSize]byte, pushKey, registrationKey [PushKeySize]byte) (proof [ProofSize]byte) {
	mac := hmac.New(sha256.New, code[:])
	mac.Write([]byte(confirmInfo))
	mac.Write(pushKey[:])
	mac.Write(registrationKey[:])
	mac.Sum(proof[:0])
	return proof
}

// Kind is KindConfirm.
func (*Confirm) Kind() RequestKind { return KindConfirm }

func (c *Confirm) encode(w writer) {
	w.WriteBytes(c.Code[:])
	w.tail(len(c.Proof) > 0, func() { w.WriteBytes(c.Proof) })
}

func (c *Confirm) decode(r *reader) {
	r.fixed("code", c.Code[:])
	c.Proof = r.maybe("proof", ProofSize)
}
