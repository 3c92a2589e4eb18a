// Package cluster lets several nodes share the registrations of one push server, in one
// PostgreSQL database. Any node takes any request, and no node keeps anything that another
// one needs.
//
// # Shards
//
// Registrations are divided into postgres.ShardCount shards by a hash of the registration
// key (ShardOf). A shard is a store of its own with a cursor and an outbox. The node that
// has its lease runs a whole pushserver.Server on it, a core. Nodes beat. When a node
// joins, leaves or dies, the number of shards that each node should have changes, and
// shards move (keeper.go). A core wakes nobody unless its node knows that the lease holds.
// Its writes carry the term of the lease, so a core that was paused and resumes late
// changes nothing. A node whose clock was set to a wrong time has no shards either: it
// would end registrations and let wake-ups expire too early (postgres/clock.go).
//
// # Requests
//
// The node that receives a request opens it, because the signer decides the shard. It
// hands the request to the core that has the shard: its own, or one at another node over a
// connection between the two (gate.go, peer.go). The answer comes back the same way. The
// owner of the shard knows the device's link as one at the node that the device is
// connected to, and rings the device through that node. When the shard moves, the new
// owner is told (present.go).
//
// # What crosses registrations
//
// Registrations that share an address, a group or a handle may be in any shard. All shards
// file them under the same keyed fingerprints, so a core reads in the database what the
// others have committed: how often an address was challenged, how many share a group or a
// handle, and for which shards a Notify is. When an address is proved, its shard keeps a
// claim on disk until every other shard that holds the address has yielded it (claims.go).
// A shard writes a Seen to its disk before answering it, and keeps it until all shards
// that have devices of the group were told (tellings.go). Request ids are remembered by
// the owner of the shard, and a move forgets them as a restart does.
//
// # Limits
//
// Limits on all registrations, and on what is sent to push services, are divided by the
// number of shards (limits.go). They therefore hold for all nodes together, whichever node
// owns a shard.
//
// # Goroutines
//
// Server owns: the beat, one keeper a shard, the gate's desk, the reader of the log, one
// that settles claims, one that tells Seens, one that reports new push keys, one that
// tidies the present devices, and one that tells other nodes of new envelopes, with one
// more for each of them (herald.go); the listener, one goroutine for each connection to or
// from another node, and those of the messages being worked on. Stop waits for all.
package cluster
