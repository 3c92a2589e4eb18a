// Package whisper speaks shh/6, the Whisper protocol of EIP-627, over devp2p: as
// a protocol of go-ethereum's p2p.Server (package devp2p) or on a connection that
// a program dials (package uplink).
//
// # The way of an envelope
//
// Seal (message.go) signs, pads and encrypts a Draft and works for it (pow.go);
// the result is an Envelope (envelope.go). Node.Post hands it to the pool,
// which checks it, remembers its hash and gives it to every peer that wants its
// topic (bloom.go). A peer's read loop takes the envelopes that come from the
// network the same way: decode, check, pool, relay, archive, subscriptions. A
// receiver opens what they subscribed to with OpenSymmetric or OpenAsymmetric.
//
// Two packets leave this way. A request (126) is for the mailserver at the
// other end of the link alone, and a direct message (127) is its answer: it is
// taken from trusted peers only and never passed on.
//
// # Who may lie
//
// Every byte of a packet comes from a stranger. Each decoder checks sizes
// before it allocates, aliases what it was given, never panics, and an envelope
// that is wrong is dropped and counted while the link to the peer, who may only
// have passed it on, stays.
//
// The package knows nothing of mail or push. It is wire-compatible with
// go-ethereum v1.9.20, the last release that had Whisper; testdata/genuine holds
// bytes made by that release.
package whisper
