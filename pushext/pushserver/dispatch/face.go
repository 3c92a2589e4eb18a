package dispatch

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"

	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushwire"
)

// Lengths in bytes of what push services see, before base64url.
const (
	collapseSize = 18
	nonceSize    = 16
)

// face is what a push service sees of a wake-up besides its address. Nobody can recognise
// it at another service, or at another address of the same device.
type face struct {
	collapse string // Notification.CollapseID
	id       string // Notification.ID
}

// faceOf derives the face of a wake-up from the registration's secret and the wake-up's
// nonce. The same kind through the same route has the same collapse id. Dismissals have
// one of their own, because a dismissal must not replace a wake-up that waits for the
// device; challenges have that of wake-ups.
//
// A sum over the secret, whose length is fixed, and the text after it is a keyed hash as
// long as only part of the sum is seen. HMAC would take three sums, and this is done for
// every attempt.
func faceOf(secret string, kind pushwire.Kind, to registration.Route, nonce string) face {
	label := "wake-up"
	if kind == pushwire.Dismiss {
		label = "dismissal"
	}
	var room [512]byte
	text := append(room[:0], secret...)
	for _, part := range [...]string{label, to.Provider, to.Address.Token} {
		text = append(append(text, part...), 0) // 0 occurs in no part but the last
	}
	sum := sha256.Sum256(text)
	id := sha256.Sum256(append(append(room[:0], sum[:]...), nonce...))
	return face{
		collapse: base64.RawURLEncoding.EncodeToString(sum[:collapseSize]),
		id:       base64.RawURLEncoding.EncodeToString(id[:nonceSize]),
	}
}

// nonce is 128 random bits in 22 characters.
func nonce() string {
	var b [nonceSize]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}
