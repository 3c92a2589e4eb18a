// Package pushserver wakes devices when the archive takes an envelope for them. A
// device registers how it is to be woken and for which topics. The server follows the
// archive's log and asks a push provider to wake each device that listens. It reads no
// payload and knows nothing of mail delivery; the command connects it to the archive.
//
// Its parts are the packages below it, which no other package imports:
//
//	registration  values: how the parts describe one device's registration, and its limits
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
// Waking: the archive's Log → follow (from a durable cursor on) → topics (topic to
// registrations) → outbox (what each device has not fetched yet) → dispatch (when, and
// through which route) → a lane → Provider → verdict.
//
// Receipt: a Fetch or Seen → requests → outbox, which cancels what is pending
// for those hashes.
//
// # Promises
//
// A match ends in one of few ways, each counted with its reason: fetched, seen, expired,
// dead, gone, overflow, undeliverable. Until then, either a provider has accepted at least
// one wake-up for it, or the server keeps trying. A crash repeats at most one wake-up per
// device, with the collapse id of the first, because a start matches everything archived so
// far before it sends anything. A push sequence number is never used for two contents. A
// ladder of routes continues after a restart. Challenges on their way do not, and neither
// do dismissals: the server owes them to the device, and names them in the reply to its
// next Fetch, until the device says that it was told of them.
//
// Memory is at most 20 ms ahead of the disk while the disk works, or 1 s if only the
// cursor moved. The outbox and the cursor are written in one synced batch, and what a
// crash loses is read from the log again. Registrations are synced before they are
// answered.
//
// # Disk
//
// One durable.Store: a goleveldb database in Config.Dir, or Config.Store. The
// first byte of a key says which part owns it:
//
//	m  format, key check and wrapped key (vault); cursor, run, breaks, moved ranges, generation and, in a store made of shards, how far each shard had come (outbox); next id, record of the snapshot (registry); the record of Probe
//	d  outbox: what a registration has not fetched; reserved numbers; its ledger
//	t  outbox: what other shards are to be told
//	w  outbox: keyed fingerprints of the messages that devices were woken for
//	c  starts of chains, sealed: written by the registry, deleted by the outbox after the first wake-up
//	r l  registry: registrations and their channels, sealed
//	k a g h s e q v y  registry: secondary keys, all but e by keyed fingerprints
//
// Between a clean stop and the first change of a registration after it,
// index.snapshot lies beside goleveldb's files: the index in memory, which spares
// the next start from reading all registrations.
//
// Values that hold an address, a key or the topics of a registration are sealed
// with XChaCha20-Poly1305 under Config.DiskKey, which is kept outside the
// database. The snapshot is sealed with AES-256-GCM under a key of its own,
// which is in its record.
//
// # Goroutines
//
// Server owns the follower, the outbox's writer, the sweeper, the goroutine that
// reseals after an exchange of the disk key, the desk of the requests and the goroutine
// that retries their notifications. The dispatcher starts one goroutine per attempt, at
// most Delivery.MaxInFlight, and a few more that look registrations up. Everything else
// is driven by timers. Stop waits for all of them.
package pushserver
