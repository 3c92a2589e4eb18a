// Package torture deliberately damages a running node and counts what is lost.
//
// It has only tests. They start the real wnode program as a process of its own
// (the test binary runs itself again as wnode), with real LevelDB files and
// real devp2p over the loopback. The oracle is kept outside of it: an
// append-only log of what was acknowledged, and the log of the emulated FCM.
// Then they kill the node, fill its disk, flip its bits, overload it, and
// compare what is left with the oracle.
//
// `make torture-short` takes about two minutes, `make torture` about a quarter
// of an hour. Both print the seed, and -torture.seed repeats a run as far as a
// run of several processes can be repeated. An ordinary `go test` does a few
// rounds of each.
//
// What needs to see inside a package is tested there: power cuts at every sync
// point, failing fsyncs and torn journals, on the in-memory disk of
// durable/faultstore, in durable, mailserver and pushext. docs/durability.md
// lists all of it.
package torture
