package pushserver

import (
	"whisperpush/pushext/pushserver/dispatch"
	"whisperpush/pushext/pushserver/measure"
	"whisperpush/pushext/pushserver/outbox"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/registry"
	"whisperpush/pushext/pushserver/requests"
)

// The types that a caller of New uses belong to the parts. Only this package imports
// those, so it names the types for everybody else.
type (
	// Limits bound everything about registrations and requests that a stranger can grow.
	Limits = registration.Limits
	// Delivery says how devices are woken.
	Delivery = dispatch.Delivery
	// Envelopes finds archived envelopes, to answer a Fetch.
	Envelopes = requests.Envelopes
	// Sender sends envelopes to one peer as packets 127.
	Sender = requests.Sender
	// Caller is where a request came from, and where its answer goes.
	Caller = requests.Caller
	// Keys are the push keys of a server.
	Keys = requests.Keys
	// FormerKey is a push key that a server had before.
	FormerKey = requests.FormerKey
	// KeyRecord is the written form of Keys.
	KeyRecord = requests.KeyRecord
	// FormerKeyRecord is the written form of a FormerKey.
	FormerKeyRecord = requests.FormerKeyRecord
	// Peer is the Caller for a devp2p peer.
	Peer = requests.Peer
	// Shard says which part of the registrations a server holds, if it does not hold all.
	Shard = registration.Shard
	// Others are the shards that hold the other registrations.
	Others = registration.Others
	// Claim is an address that a registration in a shard has proved.
	Claim = registration.Claim
	// Telling is a message to the other shards.
	Telling = outbox.Telling
	// Admission says what a registration has to be paid for.
	Admission = registry.Admission
	// ProviderState is what is known of a provider.
	ProviderState = dispatch.State
	// Moves tells the push database that envelopes were archived again under other
	// sequences.
	Moves = outbox.Moves
)

// MaxFormerKeys is how many former push keys a server knows.
const MaxFormerKeys = requests.MaxFormerKeys

// PromisedLatency is how soon after an envelope was archived the device's provider is to
// have accepted a wake-up for it.
const PromisedLatency = measure.PromisedLatency
