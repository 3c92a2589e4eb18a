package pushwire

import (
	"crypto/sha256"

	"github.com/ethereum/go-ethereum/common"
)

// Version is the version of the protocol, the first element of every message.
const Version = 2

// Fixed sizes, in bytes.
const (
	IDSize      = 16          // a request's ID, random
	CodeSize    = 16          // a challenge's code
	SealKeySize = 32          // an X25519 public or private key
	RootSize    = 32          // the root of a receiver's capabilities
	HandleSize  = 16          // names a registration in Notify, chosen by the receiver
	ProofSize   = sha256.Size // a capability, and a proof made with it
	PushKeySize = 33          // a compressed secp256k1 public key
	hashSize    = common.HashLength
)

// Limits of a message. A decoder checks each before it allocates. A server may
// allow less, and says so in Limits.
const (
	MaxRoutes       = 4    // routes of a registration
	MaxProviderName = 32   // bytes of a provider's name
	MaxToken        = 1024 // bytes of a device token or an endpoint's URL
	MaxKeys         = 4    // provider keys of a route
	MaxKey          = 256  // bytes of one of them
	MaxGroup        = 32   // bytes of a group id
	MaxChannels     = 4096 // channels in one message
	MaxRevoked      = 64   // revoked holders in one request
	MaxHeldChannels = 3700 // channels of a registration; a StatusReply names them all, besides MaxHeldRevoked holders
	MaxHeldRevoked  = 256  // revoked holders of a registration; a StatusReply names them all
	MaxVoucher      = 512  // bytes of a voucher
	MaxHolder       = 64   // bytes of a holder's name
	MaxFetch        = 64   // hashes in Fetch, Seen and FetchReply
	MaxText         = 256  // bytes of a reply's or status's sentence
	MaxProviders    = 32   // providers in an Offer
	MaxInfo         = 512  // bytes about one of them
	MaxEnode        = 512  // bytes of an enode URL or ENR
	MaxLogID        = 16   // bytes of the identity of an archive's log
)

// SizeClasses are the lengths, in bytes, to which the plaintext of a request
// or reply is padded: flags, payload, padding and signature together. The
// envelope's data is 113 bytes longer (ECIES).
var SizeClasses = [...]int{1 << 10, 4 << 10, 16 << 10, MaxPlaintext}

const (
	// MaxPlaintext is the largest size class.
	MaxPlaintext = 64 << 10
	// MaxData is the longest data field of a request's envelope; a server
	// drops longer ones before it decrypts.
	MaxData = MaxPlaintext + eciesOverhead
	// MaxPayload is the longest encoded request or reply.
	MaxPayload = MaxPlaintext - messageOverhead

	// messageOverhead is what a signed message adds to its payload: flags,
	// a payload size of two bytes, and the signature.
	messageOverhead = 1 + 2 + 65
	// eciesOverhead is public key, IV and MAC.
	eciesOverhead = 65 + 16 + 32
	// symmetricOverhead is nonce and tag of AES-GCM.
	symmetricOverhead = 12 + 16
)
