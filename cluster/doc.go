// Package cluster lets several nodes share the registrations of one push server, in one
// PostgreSQL database. Any node takes any request; no node keeps anything that another
// one needs.
//
// # Shards
//
// Registrations are divided into postgres.ShardCount shards by a hash of the
// registration key (ShardOf). A shard is a store of its own with a cursor and an outbox,
// and the node that has its lease runs a whole pushserver.Server on it, a core. Nodes
// beat; who joins, leaves or dies changes how many shards each is to have, and shards
// move (keeper.go). A core wakes nobody while its node does not know that the lease
// holds, and its writes carry the term of the lease, so that one which was paused and
// wakes up late changes nothing. The same goes for a node whose clock was set to a wrong
// time: it would end registrations, and let wake-ups expire, which have not (postgres/clock.go).
//
// # Requests
//
// A request is opened at the node that was asked, for the shard is known by who signed it,
// and handed to the core that has the shard: here, or at another node over a connection
// for that (gate.go, peer.go). The answer comes back the same way. The device's own link
// is known to the owner of its shard as one of the node that it is connected to, so it is
// rung over it from there; when the shard moves the new owner is told (present.go).
//
// # What crosses registrations
//
// Who shares an address, a group or a handle may be in any shard. All shards file them
// under the same keyed fingerprints, so a core reads in the database what the others have
// committed: how often an address was challenged, how many share a group or a handle, for
// which shards a Notify is. That an address was proved is a claim on the disk of its
// shard until every other shard's owner of the address has yielded it (claims.go). A Seen
// is on the disk of its shard before it is answered, until all shards that have devices of
// the group were told (tellings.go). Request ids are remembered by the owner of the shard, and a move forgets
// them as a restart does.
//
// # Limits
//
// What bounds all registrations, or what is sent to push services, is divided by the
// number of shards (limits.go), and so holds for all nodes together whoever owns what.
//
// # Goroutines
//
// Server owns: the beat, one keeper a shard, the gate's desk, the reader of the log, what
// settles claims, what tells Seens, and what tells other nodes of new envelopes, with one goroutine for each of them (herald.go);
// the listener with two goroutines for each connection, and one for each connection to another node. Stop waits for all.
package cluster
