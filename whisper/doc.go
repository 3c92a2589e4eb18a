// Package whisper speaks shh/6, the Whisper protocol of EIP-627, over devp2p: as
// a protocol of go-ethereum's p2p.Server (package devp2p) or on a connection that
// a program dials (package uplink).
//
// # The path of an envelope
//
// Seal (message.go) signs, pads and encrypts a Draft and does its proof of work
// (pow.go); the result is an Envelope (envelope.go). Node.Post checks it, puts it
// into the pool and gives it to every peer that wants its topic (bloom.go). A
// peer's read loop takes the envelopes from the network the same way: decode,
// check, pool, relay, archive, subscriptions. A receiver opens the envelopes of a
// subscription with OpenSymmetric or OpenAsymmetric.
//
// Two packets do not follow this path. A request (126) is only for the
// mailserver at the other end of the link. A direct message (127) is its
// answer: it is accepted only from trusted peers and never passed on.
//
// # Hostile input
//
// Every byte of a packet comes from a stranger. Each decoder checks sizes
// before it allocates, aliases its input and never panics. A bad envelope is
// dropped and counted; the link stays, as the peer may only have passed it on.
//
// The package knows nothing of mail or push. It is wire-compatible with
// go-ethereum v1.9.20, the last release that had Whisper; testdata/genuine holds
// bytes made by that release.
package whisper
