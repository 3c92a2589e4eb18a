// Package genuinenode builds and drives the genuine Whisper node: go-ethereum
// v1.9.20, the last release that has one, as a subprocess. It is the peer that
// interop tests talk to and the rival that benchmarks run against.
//
// Two versions of go-ethereum cannot share a go.mod, so the node is a command of
// the nested module testutil/genuine: [Build] compiles it once into the user's
// cache directory, [Start] runs it on a loopback port and talks to it in JSON
// lines over its stdin and stdout. Nothing of v1.9.20 is linked into the caller.
//
// A typical test:
//
//	n := genuinenode.Run(t, genuinenode.Options{})
//	err := n.AddPeer(ctx, ourEnode) // returns once the Whisper handshake is over
//	sub, err := n.Subscribe(ctx, genuinenode.Filter{SymKey: key, Topics: [][4]byte{topic}})
//	// our node posts …
//	msg, err := sub.Next(ctx)
//
// The genuine node sends what is new to a peer every 300 ms, and redials a lost
// peer after 35 s at the earliest.
package genuinenode
