// Package torture hurts a running node on purpose and counts what is lost.
//
// It has no code but tests. They start the real wnode program as a process of
// its own (the test binary runs itself again as wnode), with real LevelDB files
// and real devp2p over the loopback, and keep the oracle outside of it: an
// append-only log of what was acknowledged, and the log of the emulated FCM.
// Then they kill it, fill its disk, flip its bits, overload it, and hold what
// is there afterwards against the oracle.
//
// `make torture-short` takes about two minutes, `make torture` some more; both
// print the seed, and -torture.seed repeats a run as far as a run of several
// processes can be repeated. An ordinary `go test` does a few rounds of each.
//
// What needs to see inside a package is tested there: power cuts at every sync
// point, failing fsyncs and torn journals on the disk in memory of
// durable/faultstore, in durable, mailserver and pushext. docs/durability.md
// lists all of it.
package torture
