// Package pushserver wakes devices when the archive takes an envelope for them. A
// device registers how it is to be woken and for which topics; the server follows the
// archive's log and asks a push provider to wake each device that listens. It reads no
// payload and knows nothing of mail delivery; the command joins it with the archive.
//
// Below it are what its parts share: registration has their values, vault the sealed
// records on disk, and topics the index that an envelope is looked up in. Nobody else
// imports those.
//
// # Flow
//
// Registering: a packet 126 reaches Server.HandleRequest → protocol
// (decrypt, check, answer by packet 127) → registry (on disk, fsynced, then in
// the index of topics) → dispatcher (the challenge that proves an address).
//
// Ringing: the archive's Log → follower (from a durable cursor on) → index
// (topic to registrations) → outbox (what each device has not fetched yet) →
// dispatcher (when, and through which route) → a lane → Provider → verdict.
//
// Receipt: a Fetch or Seen → protocol → outbox, which cancels what is pending
// for those hashes.
//
// The parts, a file each: protocol*.go, registry*.go, record.go, newcomers.go
// and snapshot.go for registrations; follower.go, twins.go, outbox.go,
// receipt.go, device.go, early.go and commit.go for what is to be sent; dispatcher.go,
// schedule.go, lane.go, share.go, site.go, pace.go, budget.go, flight.go, face.go,
// settle.go, ladder.go, breaker.go, backoff.go and gate.go for the sending, health.go
// and way.go for what is told of it; challenge.go, codes.go and registry_challenge.go
// for the codes that prove addresses.
//
// # Promises
//
// A match ends in one of few ways, each counted with its reason: fetched, seen,
// expired, dead, gone, overflow, undeliverable. Until then, a wake-up for it is
// accepted by a provider at least once, or is still being tried. A crash repeats
// at most one wake-up per device, with the collapse id of the first: a start
// matches what was archived before it sends anything. Push sequence numbers are
// never used for two contents. A ladder of routes goes on after a restart;
// dismissals and challenges on their way do not.
//
// Memory runs ahead of the disk by 20 ms at most while the disk works; the
// outbox and the cursor are written in one synced batch, and what a crash
// takes is read from the log again. Registrations are synced before they are
// answered.
//
// # Disk
//
// One goleveldb database in Config.Dir, opened through package durable. The
// first byte of a key says whose it is:
//
//	m  vault, outbox.go, moved.go, twins.go, registry.go, snapshot.go: format, key check, cursor, run, generation, next id, record of the snapshot
//	d  device.go: what a registration has not fetched; numbers reserved
//	w  twins.go: keyed fingerprints of the messages that devices were woken for
//	r  registry.go: registrations and their channels, sealed
//	k a g h s e q  registry.go: secondary keys, by keyed fingerprints
//
// Beside goleveldb's files there is index.snapshot from a clean stop until the first
// change of a registration after it: the index in memory, which spares the next
// start reading all registrations.
//
// What holds an address, a key or the topics of a registration is sealed with
// XChaCha20-Poly1305 under Config.DiskKey, which is kept outside the database;
// the snapshot with AES-256-GCM under a key of its own, which is in its record.
//
// # Goroutines
//
// Server owns: the follower, the outbox's writer, the sweeper, the desk of the
// protocol and what retries its notifications; the dispatcher starts one goroutine an
// attempt, at most Delivery.MaxInFlight, and lobbySize more that look registrations up.
// Everything else is driven by timers. Stop waits for all.
package pushserver
