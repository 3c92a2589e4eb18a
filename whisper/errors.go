package whisper

import "errors"

// Reasons to refuse an envelope. An envelope from the network is dropped and
// counted by its reason; Post returns the reason, wrapped with the details.
var (
	// ErrKnown means that the pool already holds the envelope.
	ErrKnown = errors.New("whisper: envelope is known already")
	// ErrExpired means that the envelope's expiry has passed.
	ErrExpired = errors.New("whisper: envelope has expired")
	// ErrFuture means that the envelope was sent more than 10 s ahead of the local
	// clock.
	ErrFuture = errors.New("whisper: envelope was sent in the future")
	// ErrLifetime means that the TTL is larger than the expiry.
	ErrLifetime = errors.New("whisper: envelope has no valid lifetime")
	// ErrTooLarge means that the envelope is larger than the maximum message size.
	ErrTooLarge = errors.New("whisper: envelope is too large")
	// ErrLowPoW means that the envelope has less proof of work than this node asks for.
	ErrLowPoW = errors.New("whisper: envelope has too little proof of work")
	// ErrUnwanted means that the envelope's topic is outside this node's bloom filter.
	ErrUnwanted = errors.New("whisper: envelope is outside the bloom filter")
	// ErrPoolFull means that the pool is full of envelopes that expire sooner.
	ErrPoolFull = errors.New("whisper: pool is full")
)

var (
	// ErrNotConnected means that there is no completed handshake with the peer.
	ErrNotConnected = errors.New("whisper: peer is not connected")
	// ErrConnected means that there is another link to the same peer.
	ErrConnected = errors.New("whisper: peer is connected already")
	// ErrFull means that a link was closed in favour of another, because there
	// were more of them than Config.MaxInbound.
	ErrFull = errors.New("whisper: node has as many peers as it takes")
	// ErrNotRunning means that the node was not started, or was stopped.
	ErrNotRunning = errors.New("whisper: node is not running")
	// ErrHandshake means that a peer's status cannot be accepted.
	ErrHandshake = errors.New("whisper: handshake failed")
)
