package whisper

// Identity of the protocol towards devp2p (EIP-627, "Packet Codes").
const (
	ProtocolName    = "shh" // capability name
	ProtocolVersion = 6     // capability version, and the mandatory first element of status
	ProtocolLength  = 128   // packet codes reserved, 0 to 127
)

// Packet codes (EIP-627, "Packet Codes"; 123 to 125 are extensions of status-go).
//
// After the status exchange, either side may send any other packet at any
// time. A node ignores codes that it does not know and keeps the link.
const (
	StatusPacket          = 0   // list [version, float64bits(minimum PoW), bloom 64 bytes, light node]
	MessagesPacket        = 1   // list of envelopes
	PoWPacket             = 2   // uint: float64bits(minimum PoW)
	BloomPacket           = 3   // bytes, exactly BloomSize
	SyncRequestPacket     = 123 // what one mailserver asks of another (list)
	SyncResponsePacket    = 124 // a part of the answer (list), from a trusted peer
	RequestCompletePacket = 125 // bytes: end of the answer to a mail request
	RequestPacket         = 126 // one envelope for a mailserver, or a plain mail request (list)
	DirectPacket          = 127 // one envelope, or a list of envelopes, from a trusted peer; never forwarded
)

// Sizes and times of EIP-627 and of the nodes in the field.
const (
	// EnvelopeHeaderSize is how many bytes an envelope counts for besides its
	// data: 4 (expiry) + 4 (TTL) + 4 (topic) + 8 (nonce).
	EnvelopeHeaderSize = 20
	// MaxMessageSizeLimit is the largest Size an envelope may have, in bytes,
	// on any node (10 MiB).
	MaxMessageSizeLimit = 10 << 20
	// DefaultMaxMessageSize is the largest Size accepted by default, in bytes (1 MiB).
	DefaultMaxMessageSize = 1 << 20
	// DefaultMinPoW is the least proof of work asked for by default.
	DefaultMinPoW = 0.2
	// DefaultTTL is how long an envelope lives by default, in seconds.
	DefaultTTL = 50
)
