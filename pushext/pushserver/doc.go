// Package pushserver wakes devices when the archive takes an envelope for them. A
// device registers how it is to be woken and for which topics; the server follows the
// archive's log and asks a push provider to wake each device that listens. It reads no
// payload and knows nothing of mail delivery; the command joins it with the archive.
//
// Below it are its parts, which nobody else imports:
//
//	registration  values: what the parts call one device's registration, and its limits
//	registry      registrations: checked, written, found
//	topics        the index that an envelope is looked up in
//	vault         sealed records on disk, and keyed fingerprints
//	outbox        what each device has still to be woken for, durably
//	follow        the archive's log, from a durable cursor on
//	dispatch      when and by which provider a device is woken
//	requests      what devices ask, and the answers
//	transfer      from one store to the shards of a cluster, and back
//	measure       metrics, and spacing, the pauses and budgets of all of these
//
// # Flow
//
// Registering: a packet 126 reaches Server.HandleRequest → requests (decrypt, check,
// answer by packet 127) → registry (on disk, fsynced, then in the index of topics) →
// dispatch (the challenge that proves an address).
//
// Ringing: the archive's Log → follow (from a durable cursor on) → topics (topic to
// registrations) → outbox (what each device has not fetched yet) → dispatch (when, and
// through which route) → a lane → Provider → verdict.
//
// Receipt: a Fetch or Seen → requests → outbox, which cancels what is pending
// for those hashes.
//
// # Promises
//
// A match ends in one of few ways, each counted with its reason: fetched, seen,
// expired, dead, gone, overflow, undeliverable. Until then, a wake-up for it is
// accepted by a provider at least once, or is still being tried. A crash repeats
// at most one wake-up per device, with the collapse id of the first: a start
// matches what was archived before it sends anything. Push sequence numbers are
// never used for two contents. A ladder of routes goes on after a restart;
// challenges on their way do not, nor do dismissals, which the device is owed until it says
// that it was told of them: the reply to its next Fetch names them.
//
// Memory runs ahead of the disk by 20 ms at most while the disk works; the
// outbox and the cursor are written in one synced batch, and what a crash
// takes is read from the log again. Registrations are synced before they are
// answered.
//
// # Disk
//
// One durable.Store: a goleveldb database in Config.Dir, or Config.Store. The
// first byte of a key says whose it is:
//
//	m  format, key check and wrapped key (vault); cursor, run, breaks, generation and how far shards had come that it was made of (outbox); next id, record of the snapshot (registry)
//	d  outbox: what a registration has not fetched; numbers reserved; its ledger
//	t  outbox: what other shards are to be told
//	w  outbox: keyed fingerprints of the messages that devices were woken for
//	r l  registry: registrations and their channels, sealed
//	k a g h s e q y  registry: secondary keys, by keyed fingerprints
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
// requests and what retries their notifications; the dispatcher starts one goroutine an
// attempt, at most Delivery.MaxInFlight, and a few more that look registrations up.
// Everything else is driven by timers. Stop waits for all.
package pushserver
