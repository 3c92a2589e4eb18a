package whisper

import "time"

// Limits on what the network may use of this node. Config overrides those named
// Default.
const (
	// DefaultPoolEnvelopes bounds the envelopes that are remembered until they expire.
	DefaultPoolEnvelopes = 1 << 20
	// DefaultPoolBytes bounds the memory of the pool, in bytes.
	DefaultPoolBytes = 512 << 20
	// DefaultPeerBytes is a generous budget of one peer, in payload bytes a second.
	DefaultPeerBytes = 128 << 20
	// DefaultPeerMessages is a generous budget of one peer, in envelopes a
	// second that are not duplicates.
	DefaultPeerMessages = 300_000
)

// Payload sizes by packet, checked before anything is read. A larger packet is
// discarded and counted.
const (
	maxStatusPacket          = 1 << 10 // 5 elements take some 90 bytes
	maxSettingPacket         = 1 << 7  // 64 bytes of bloom filter and a head
	maxRequestCompletePacket = 1 << 10 // 100 bytes, 180 with a proof, or an error text
	// maxMessagesPacket is the most that RLPx carries: a genuine node sends its
	// whole pool in one packet.
	maxMessagesPacket = 1 << 24
	// envelopeOverhead is added to the maximum message size for the RLP around it.
	envelopeOverhead = 64
)

const (
	// decodeBatch is how many envelopes of one packet are decoded and handled
	// together. At some 130 bytes each, it bounds the memory that a packet of tiny
	// envelopes takes.
	decodeBatch = 1 << 10
	// keptReadBuffer is the largest packet buffer that a peer keeps for the next packet.
	keptReadBuffer = 1 << 20

	// relayPacket is the size from which envelopes for a peer go into the next packet.
	// The buffers that devp2p keeps for each link grow to a few times this.
	relayPacket = 128 << 10
	// plausibleMaxPacket is the size that every peer accepts: a genuine node with
	// the default maximum message size closes the link on larger packets.
	plausibleMaxPacket = DefaultMaxMessageSize
	// relayQueueEnvelopes and relayQueueBytes bound the envelopes that wait for a
	// slow peer. The oldest is dropped, as the peer will get it from another node.
	relayQueueEnvelopes = 1 << 16
	relayQueueBytes     = 32 << 20
	// directQueue is how many calls of the Send methods wait for one peer's
	// link before the next one blocks.
	directQueue = 16
	// resyncEvery is how often a peer can make the node walk its pool, by
	// lowering its minimum PoW or widening its bloom filter.
	resyncEvery = time.Second
	// knownEnvelopes bounds each of the two generations of hashes of the
	// envelopes that a peer is known to have.
	knownEnvelopes = 1 << 15
	// knownLife is how long a generation collects: an envelope of the default
	// TTL is remembered for its whole life.
	knownLife = 60 * time.Second

	// candidateQueue bounds the envelopes that wait to be decrypted for one subscription.
	candidateQueue = 1 << 12

	handshakeTimeout = 5 * time.Second
	// maxThrottle bounds how long one packet can hold up its peer: a genuine
	// node closes the link when a write takes 20 s.
	maxThrottle = 10 * time.Second
)

const (
	// allowedSkew is how far ahead of the local clock an envelope may be sent (10 s).
	allowedSkew = 10
	// settingGrace is how long the previous minimum PoW and bloom filter are
	// honoured after a change, until peers have heard of it.
	settingGrace = 10 * time.Second
	// expireEvery is how often expired envelopes are removed from the pool.
	expireEvery = time.Second
)
